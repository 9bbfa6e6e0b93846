"""The negative side in the real webui, over its API: however it composes its batches."""

import itertools
import re

import numpy as np
import pytest

from tests.test_webui_faults import HIRES
from tests.test_webui_models import OPTIMIZATIONS, checkpoint, said_while
from tests.webui import METHODS, NEEDS_WEBUI, encode
from tests.webui_hosts import NEEDS_FAMILIES, NEEDS_OPTIMIZATIONS, SPLITS_SIDES

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

HALF = {
    "method": "Sleep only", "negative": "asleep", "negative_first": 0, "negative_last": 0,
    "sleep_min_steps": 1,
}  # fmt: skip
ASKED = dict(steps=4, negative_prompt="a green square")
SDXL = dict(**checkpoint("sdxl"), width=384, height=320)
LONG = "a red circle, " * 40
COMPOSED = {
    "one image": {},
    "three": dict(batch_size=3),
    "AND": dict(prompt="a red circle AND a blue square :0.6", batch_size=2),
    "two steps a step": dict(sampler_name="Heun"),
    "with noise": dict(sampler_name="DPM++ SDE"),
    "DDIM": dict(sampler_name="DDIM", steps=5),
    "hires": HIRES,
    "split": dict(override_settings={"batch_cond_uncond": False}),
    "long prompt": dict(prompt=LONG),
    "long prompt, padded": dict(prompt=LONG, override_settings={"pad_cond_uncond": True}),
}


@pytest.mark.parametrize(
    "options",
    [*COMPOSED.values(), pytest.param(SDXL, marks=NEEDS_FAMILIES)],
    ids=[*COMPOSED, "SDXL"],
)
def test_it_sleeps_however_the_calls_are_composed(webui, options):
    asked = {**ASKED, **options}
    plain = webui.generate(**asked)[0][0]
    half, said = said_while(webui, [HALF], **asked)
    asleep, steps = map(int, re.search(r"negative side asleep in (\d+) of (\d+)", said).groups())
    assert 2 * asleep in (steps, steps - 1, steps - 2)
    assert "negative side awake" not in said
    assert not np.array_equal(half, plain)
    assert webui.hooks() == 0
    # with nothing asleep it is the same image
    awake, said = said_while(webui, [{**HALF, "negative_every": 1}], **asked)
    assert np.array_equal(awake, plain)
    assert "nothing was applied: no method is chosen, and every step is awake" in said


ITSELF = "the webui itself leaves out the negative prompt in some steps (NGMS, Skip Early CFG)"
COMPUTED = {
    "NGMS": dict(override_settings={"s_min_uncond": 4.0}),
    "skip early": dict(override_settings={"skip_early_cond": 0.3}),
}


@pytest.mark.parametrize("options", COMPUTED.values(), ids=COMPUTED)
def test_elsewhere_both_sides_are_computed_and_it_is_said_why(webui, options):
    asked = {**ASKED, **options}
    plain = webui.generate(**asked)[0][0]
    half, said = said_while(webui, [HALF], **asked)
    assert np.array_equal(half, plain)
    assert f"nothing was applied: {ITSELF}" in said


def test_images_of_a_batch_and_img2img(webui, off):
    """Each image of a batch is what it is alone, but for rounding."""
    alone = webui.generate([HALF], **ASKED)[0][0].astype(int)
    together = webui.generate([HALF], **ASKED, batch_size=2)[0]
    assert np.abs(together[-2].astype(int) - alone).max() <= 2
    options = dict(init_images=[encode(off)], denoising_strength=0.8, steps=8)
    _, said = said_while(webui, [HALF], **{**ASKED, **options})
    assert "negative side asleep in" in said


def test_a_fault_while_it_sleeps(webui):
    with pytest.raises(RuntimeError, match="planned fault"):
        webui.generate([HALF], fault="unet 2", **ASKED)
    assert webui.hooks() == 0
    webui.generate([HALF], fault="interrupt 2", **ASKED)
    assert webui.hooks() == 0


WITHIN = {
    "method": "Sleep only", "negative": "in the attention", "negative_first": 0, "negative_last": 0,
}  # fmt: skip
ALL = re.compile(r"negative prompt in the attention in (\d+) of \1 steps")
NETWORKS = {
    "LoRA": dict(prompt="a red circle <lora:probe:1>"),
    "hypernetwork": dict(prompt="a red circle <hypernet:probe:1>"),
    "refiner": dict(refiner_checkpoint="other", refiner_switch_at=0.5),
    "CFG 1": dict(cfg_scale=1),
}


WITH_FAMILIES = [*COMPOSED.values(), *NETWORKS.values(), pytest.param(SDXL, marks=NEEDS_FAMILIES)]


@pytest.mark.parametrize("form", ["NAG", "VSF"])
@pytest.mark.parametrize("options", WITH_FAMILIES, ids=[*COMPOSED, *NETWORKS, "SDXL"])
def test_the_negative_prompt_acts_in_the_attention(webui, options, form):
    asked, settings = {**ASKED, **options}, {**WITHIN, "negative_form": form}
    plain = webui.generate(**asked)[0][0]
    image, said = said_while(webui, [settings], **asked)
    assert ALL.search(said)
    assert "not in the attention" not in said
    other = webui.generate([settings], **{**asked, "negative_prompt": "a blue background"})[0][0]
    assert not np.array_equal(image, plain)
    assert not np.array_equal(image, other)
    assert webui.hooks() == 0
    # with both sides computed in all steps it is the same image
    both = webui.generate([{**settings, "negative_first": 1}], **asked)[0][0]
    assert np.array_equal(both, plain)


@pytest.mark.parametrize(
    ("prompt", "scales"),
    # at a scale of 1, Forge multiplies by the sum of an AND's weights, whatever is applied
    [("a red circle", (1, 7)), ("a red circle AND a blue square :0.6", (3, 7))],
)
def test_the_cfg_scale_has_no_effect_there(webui, prompt, scales):
    images = [webui.generate([WITHIN], **ASKED, prompt=prompt, cfg_scale=scale)[0][0].astype(int)
              for scale in scales]  # fmt: skip
    assert np.abs(images[0] - images[1]).max() <= 2


def test_half_of_the_rows_are_run(webui):
    _, said = said_while(webui, [WITHIN], **ASKED, batch_size=2)
    share = int(re.search(r"(\d+) % of the U-Net was computed", said)[1])
    assert 50 <= share <= 52


@NEEDS_OPTIMIZATIONS
@pytest.mark.parametrize("settings", [WITHIN, {**WITHIN, "negative_form": "VSF"},
                                      {"mix": "push"}, {"mix": "share"}], ids=str)  # fmt: skip
def test_the_results_of_all_optimizations_agree_there(webui, settings):
    present = webui.get("/sdapi/v1/options")["cross_attention_optimization"]
    images = []
    try:
        for name in OPTIMIZATIONS:
            webui.post("/sdapi/v1/options", {"cross_attention_optimization": name})
            images.append(webui.generate([settings], **ASKED)[0][0].astype(int))
    finally:
        webui.post("/sdapi/v1/options", {"cross_attention_optimization": present})
    for name, image in zip(OPTIMIZATIONS, images):
        assert np.abs(image - images[0]).max() <= 2, name


@pytest.mark.parametrize("settings", [WITHIN, {"method": "Sleep only", "mix": "push"}], ids=str)
@pytest.mark.parametrize("options", COMPUTED.values(), ids=COMPUTED)
def test_where_the_webui_leaves_it_out_itself_nothing_is_done(webui, options, settings):
    asked = {**ASKED, **options}
    plain = webui.generate(**asked)[0][0]
    image, said = said_while(webui, [settings], **asked)
    assert np.array_equal(image, plain)
    assert f"nothing was applied: {ITSELF}" in said


@pytest.mark.parametrize("settings", [WITHIN, {"method": "Sleep only", "mix": "share"}], ids=str)
def test_batches_img2img_and_masks(webui, off, settings):
    alone = webui.generate([settings], **ASKED)[0][0].astype(int)
    together = webui.generate([settings], **ASKED, batch_size=2)[0]
    assert np.abs(together[-2].astype(int) - alone).max() <= 2
    mask = np.zeros_like(off)
    mask[64:192, 64:192] = 255
    options = dict(init_images=[encode(off)], mask=encode(mask), denoising_strength=0.8,
                   mask_blur=0, inpainting_fill=1, steps=8)  # fmt: skip
    plain = webui.generate(**{**ASKED, **options})[0][0]
    image = webui.generate([settings], **{**ASKED, **options})[0][0]
    assert not np.array_equal(image, plain)
    assert np.array_equal(image[mask == 0], plain[mask == 0])


@pytest.mark.parametrize(
    ("options", "mix"),
    [*zip([*COMPOSED.values(), NETWORKS["refiner"]], itertools.cycle(["push", "share", "repel"]))],
    ids=[*COMPOSED, "refiner"],
)
def test_keys_are_mixed(webui, options, mix):
    asked, settings = {**ASKED, **options}, {"method": "Sleep only", "mix": mix}
    plain = webui.generate(**asked)[0][0]
    image, said = said_while(webui, [settings], **asked)
    apart = options in (COMPOSED["split"], COMPOSED["long prompt"]) and SPLITS_SIDES
    assert ("only one of the two sides is in the batch" in said) == apart
    assert np.array_equal(image, plain) == apart
    none = webui.generate([{**settings, "mix_amount": 0}], **asked)[0][0]
    assert np.array_equal(none, plain)
    assert webui.hooks() == 0


@pytest.mark.parametrize("method", METHODS)
def test_with_each_method_and_with_sleep(webui, method):
    settings = METHODS[method][0]
    asked = {**ASKED, "width": 384, "height": 320}
    plain = webui.generate([settings], **asked)[0][0]
    asleep = dict(sleep="deep blocks", sleep_min_steps=1)
    for changes in ({"mix": "push"}, {"mix": "share", **asleep}, {**WITHIN, **asleep}):
        changed = {**settings, **changes, "method": settings.get("method", "Slothful Attention")}
        assert not np.array_equal(webui.generate([changed], **asked)[0][0], plain)
        assert webui.hooks() == 0


@pytest.mark.parametrize("settings", [WITHIN, {"mix": "push"}, {"mix": "repel"}], ids=str)
def test_a_fault_with_the_negative_prompt(webui, settings):
    with pytest.raises(RuntimeError, match="planned fault"):
        webui.generate([settings], fault="unet 2", **ASKED)
    assert webui.hooks() == 0
    webui.generate([settings], fault="interrupt 2", **ASKED)
    assert webui.hooks() == 0
