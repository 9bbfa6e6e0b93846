"""Generation with the extension in the real webui, over its API. Needs WEBUI_DIR."""

import threading
import time

import numpy as np
import pytest

from tests.webui import BOTH, METHODS, NEEDS_WEBUI, SLOTHFUL, TILES, encode

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]


@pytest.mark.parametrize("args", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ SDE", "DDIM"])
def test_every_method_with_every_kind_of_sampler(webui, args, sampler):
    options = dict(sampler_name=sampler)
    plain = webui.generate(**options)[0][0]
    said = len(webui.log.read_text())
    pictures, infotext = webui.generate(args, **options)
    assert not np.array_equal(pictures[0], plain)
    assert "Slothful Attention: v2" in infotext
    assert ": skipped " not in webui.log.read_text()[said:]
    again = webui.generate(args, **options)[0][0]
    assert np.array_equal(pictures[0], again)


def test_an_object_a_json_string_and_positions_mean_the_same(webui):
    by_name = webui.generate([{"peak_time": 0.1, "time_decay": 1}])[0][0]
    as_text = webui.generate(['{"peak_time": 0.1, "time_decay": 1}'])[0][0]
    in_order = webui.generate([True, "Slothful Attention", 0.1, 1])[0][0]
    assert np.array_equal(by_name, as_text)
    assert np.array_equal(by_name, in_order)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([{"in_kblend": 1}], "unknown parameter 'in_kblend'; did you mean 'in_k_blend'?"),
        ([{"in_k_blend": 3}], "in_k_blend must be between 0 and 1, got 3"),
        ([{"method": "None"}], "method must be one of Slothful Attention, Near-sighted Tile"),
        (['{"method"'], "the arguments are not valid JSON"),
        ([True, "Slothful Attention", 7], "peak_time must be between 0 and 1, got 7"),
    ],
)
def test_the_caller_is_told_of_bad_input(webui, args, message):
    with pytest.raises(RuntimeError, match="500: Slothful Attention") as error:
        webui.generate(args)
    assert message in str(error.value)


def test_hires_fix_with_a_pass_of_ones_choice(webui):
    options = dict(enable_hr=True, hr_scale=1.5, denoising_strength=0.7, hr_upscaler="Latent")
    plain = webui.generate(**options)[0][0]
    made = {
        passes: webui.generate([{**SLOTHFUL[0], "passes": passes}], **options)[0][0]
        for passes in ("base", "hires", "both")
    }
    pictures = [plain, *made.values()]
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[i + 1 :])


@pytest.mark.parametrize("axis", ["noise level", "pass progress"])
def test_img2img(webui, off, axis):
    options = dict(init_images=[encode(off)], denoising_strength=0.6)
    plain = webui.generate(**options)[0][0]
    changed = webui.generate([{**SLOTHFUL[0], "time_decay": 2, "time_axis": axis}], **options)[0][0]
    assert not np.array_equal(plain, changed)


def test_batches_give_what_single_pictures_give(webui):
    pictures = webui.generate(SLOTHFUL, n_iter=2, batch_size=1)[0]
    assert len(pictures) >= 2
    alone = webui.generate(SLOTHFUL, seed=2)[0][0]
    assert np.array_equal(pictures[-1], alone)


def test_odd_sizes(webui):
    options = dict(width=264, height=200)
    for args in (SLOTHFUL, TILES, BOTH):
        picture = webui.generate(args, **options)[0][0]
        assert picture.shape == (200, 264, 3)


def test_several_prompts_and_a_longer_one(webui):
    for prompt in ("a red circle AND a blue square", "a red circle, " * 60):
        plain = webui.generate(prompt=prompt)[0][0]
        changed = webui.generate(BOTH, prompt=prompt)[0][0]
        assert not np.array_equal(plain, changed)


def test_interrupted(webui):
    answers = []
    job = threading.Thread(target=lambda: answers.append(webui.generate(BOTH, steps=40)))
    job.start()
    while webui.get("/sdapi/v1/progress")["state"]["sampling_step"] < 1 and job.is_alive():
        time.sleep(0.2)
    webui.post("/sdapi/v1/interrupt", {})
    job.join(timeout=900)
    assert len(answers) == 1
    assert webui.hooks() == 0


def test_token_merging_wins_where_it_acts_and_the_page_says_so(webui):
    merging = {"override_settings": {"token_merging_ratio": 0.5}}
    alone = webui.generate(**merging)[0][0]
    picture = webui.generate(SLOTHFUL, **merging)[0][0]
    assert not np.array_equal(picture, alone)
    said = "skipped IN01, IN02, OUT09, OUT10, OUT11 (its tokens are already merged"
    assert said in webui.log.read_text()
