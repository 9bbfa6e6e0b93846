"""Every family of models, and whatever else acts on a U-Net, in the real webui over its API."""

import numpy as np
import pytest

from tests.webui import BOTH, METHODS, NEEDS_WEBUI, SLOTHFUL, TILES, encode
from tests.webui_hosts import (
    NEEDS_FAMILIES,
    NEEDS_HYPERNETWORKS,
    NEEDS_HYPERTILE,
    NEEDS_OPTIMIZATIONS,
)

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

OPTIMIZATIONS = (
    "None", "Doggettx", "sdp-no-mem - scaled dot product without memory efficient attention",
    "sdp - scaled dot product", "sub-quadratic", "V1 - original v1", "InvokeAI",
)  # fmt: skip


def checkpoint(name):
    return {"override_settings": {"sd_model_checkpoint": name}}


def said_while(webui, *args, **body):
    """(picture, what the webui wrote to its log meanwhile)."""
    before = len(webui.log.read_text())
    picture = webui.generate(*args, **body)[0][0]
    return picture, webui.log.read_text()[before:]


@NEEDS_FAMILIES
@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("method", METHODS)
def test_other_families(webui, family, method):
    size = dict(width=512, height=384) if family == "sdxl" else {}
    plain = webui.generate(**checkpoint(family), **size)[0][0]
    changed, said = said_while(webui, METHODS[method], **checkpoint(family), **size)
    assert not np.array_equal(changed, plain)
    assert ": skipped " not in said
    assert "nothing was applied" not in said
    assert webui.hooks() == 0
    assert np.array_equal(webui.generate(**checkpoint(family), **size)[0][0], plain)


@pytest.mark.parametrize("refiner", ["other", pytest.param("sd2", marks=NEEDS_FAMILIES)])
def test_a_refiner_is_followed(webui, refiner):
    """Peak at the end: only the refiner's steps can differ."""
    options = dict(refiner_checkpoint=refiner, refiner_switch_at=0.5, steps=6)
    late = [{**SLOTHFUL[0], "peak_time": 1, "time_decay": 4}]
    plain = webui.generate(**options)[0][0]
    changed, said = said_while(webui, late, **options)
    assert not np.array_equal(changed, plain)
    assert "nothing was applied" not in said
    assert webui.hooks() == 0


def test_a_checkpoint_for_the_hires_pass_is_followed(webui):
    options = dict(
        enable_hr=True, hr_scale=1.25, denoising_strength=0.7, hr_upscaler="Latent",
        hr_checkpoint_name="other",
    )  # fmt: skip
    plain = webui.generate(**options)[0][0]
    changed = webui.generate([{**SLOTHFUL[0], "passes": "hires"}], **options)[0][0]
    assert not np.array_equal(changed, plain)
    assert webui.hooks() == 0


@NEEDS_OPTIMIZATIONS
def test_the_results_of_all_optimizations_agree(webui):
    present = webui.get("/sdapi/v1/options")["cross_attention_optimization"]
    pictures = []
    try:
        for name in OPTIMIZATIONS:
            webui.post("/sdapi/v1/options", {"cross_attention_optimization": name})
            pictures.append(webui.generate(BOTH)[0][0].astype(int))
    finally:
        webui.post("/sdapi/v1/options", {"cross_attention_optimization": present})
    for name, picture in zip(OPTIMIZATIONS, pictures):
        assert np.abs(picture - pictures[0]).max() <= 2, name


HYPERNETWORK = pytest.param("<hypernet:probe:1>", marks=NEEDS_HYPERNETWORKS)


@pytest.mark.parametrize("network", ["<lora:probe:1>", HYPERNETWORK])
def test_extra_networks_compose(webui, network):
    prompt = "a red circle on a blue background"
    settings = [{**SLOTHFUL[0], "in_v_blend": 0.5, "out_v_blend": 0.5}]
    pictures = [
        webui.generate(args, prompt=text)[0][0]
        for args in (None, settings)
        for text in (prompt, f"{prompt} {network}")
    ]
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[i + 1 :])


@pytest.mark.parametrize("network", ["", "<lora:probe:1>", HYPERNETWORK])
@pytest.mark.parametrize("method", [SLOTHFUL, TILES, BOTH], ids=lambda args: args[0].get("method"))
def test_an_optimization_that_is_left_out_would_answer_the_same(webui, method, network):
    """One that somebody wraps is asked in every call."""
    options = dict(prompt=f"a red circle {network}", steps=4)
    image = webui.generate(method, **options)[0][0]
    asked = webui.generate(method, fault="attention", **options)[0][0]
    assert webui.get("/probe/hooks")["asked"] > 0
    assert np.array_equal(asked, image)
    assert not np.array_equal(webui.generate(**options)[0][0], image)
    assert webui.hooks() == 0


@pytest.mark.parametrize("network", ["<lora:probe:1>", HYPERNETWORK])
def test_fewer_channels_are_those_of_the_weights_that_act(webui, network):
    """Nearly all of the channels: the image is nearer to the network's than to the one without."""
    few = [{"method": "Sleep only", **{f"channels_depth_{i}": 0.9 for i in (1, 2, 3)}}]
    prompts = {name: dict(prompt=f"a red circle {n}") for name, n in (("with", network), ("", ""))}
    plain = {name: webui.generate(**p)[0][0].astype(float) for name, p in prompts.items()}
    # one after the other on one U-Net, to and fro
    for name in ("with", "", "with"):
        changed, said = said_while(webui, few, **prompts[name])
        away = {other: np.abs(changed - image).mean() for other, image in plain.items()}
        assert 0 < away[name] < 0.5 * away["" if name else "with"]
        assert ": skipped " not in said
    assert webui.hooks() == 0


@NEEDS_HYPERTILE
def test_hypertile_wins_where_it_acts_and_the_page_says_so(webui):
    overrides = {"hypertile_enable_unet": True, "hypertile_max_depth_unet": 0}
    options = dict(override_settings=overrides, width=512, height=512)
    plain = webui.generate(**options)[0][0]
    changed, said = said_while(webui, SLOTHFUL, **options)
    assert "skipped IN01, IN02, OUT09, OUT10, OUT11 (the webui's HyperTile is used there)" in said
    assert "applied in IN04, IN05" in said
    assert not np.array_equal(changed, plain)


@pytest.mark.parametrize(
    "options",
    [
        dict(s_min_uncond=4.0, steps=6),
        {"override_settings": {"skip_early_cond": 0.5}, "steps": 6},
        {"override_settings": {"batch_cond_uncond": False}, "prompt": "a red circle AND a square"},
        dict(sampler_name="Heun"),
        dict(sampler_name="Restart", steps=20, width=128, height=128),
        dict(sampler_name="DPM fast"),
        dict(sampler_name="UniPC"),
        dict(sampler_name="LCM"),
        dict(batch_size=3),
    ],
    ids=["ngms", "early", "split", "heun", "restart", "fast", "unipc", "lcm", "batch"],
)
def test_however_often_and_with_whatever_batch_the_model_is_called(webui, options):
    axis = dict(time_axis="pass progress", time_decay=1)
    plain = webui.generate(**options)[0]
    changed, again = (webui.generate([{**BOTH[0], **axis}], **options)[0] for _ in range(2))
    assert not np.array_equal(changed[0], plain[0])
    assert all(np.array_equal(a, b) for a, b in zip(changed, again))


def test_inpainting(webui, off):
    mask = np.zeros_like(off)
    mask[64:192, 64:192] = 255
    options = dict(init_images=[encode(off)], mask=encode(mask), denoising_strength=0.8,
                   mask_blur=0, inpainting_fill=1)  # fmt: skip
    plain = webui.generate(**options)[0][0]
    changed = webui.generate(SLOTHFUL, **options)[0][0]
    outside = mask == 0
    assert not np.array_equal(changed, plain)
    assert np.array_equal(changed[outside], plain[outside])
