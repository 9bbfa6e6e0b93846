"""Sleep in the real webui, over its API, and whatever else happens to the U-Net meanwhile."""

import re

import numpy as np
import pytest

from slothful import Settings
from slothful_webui.presets import SHIPPED, PresetFolders
from tests.test_webui_faults import HIRES
from tests.test_webui_interface import plot
from tests.test_webui_models import checkpoint, said_while
from tests.webui import NEEDS_WEBUI, encode
from tests.webui_hosts import (
    NEEDS_FAMILIES,
    NEEDS_HYPERNETWORKS,
    NEEDS_HYPERTILE,
    NEEDS_INFOTEXT,
)

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

SMALL = dict(width=128, height=128, steps=12)
TINY = dict(width=64, height=64)
DEEP = {"method": "Sleep only", "sleep": "deep blocks"}
TOLD = re.compile(r"asleep in (\d+) of (\d+) steps; (\d+) % of the U-Net was computed")
PROMPT = "a red circle on a blue background"
LONG = "a red circle, " * 60
BOTH = "a red circle AND a square"


def told(said):
    """(steps asleep, steps, share that was computed in percent) of the line under an image; that of
    each batch says the same.
    """
    (numbers,) = set(TOLD.findall(said))
    return tuple(map(int, numbers))


def overridden(**settings):
    return {"override_settings": settings}


HYPERTILE = overridden(hypertile_enable_unet=True, hypertile_max_tile_unet=64)
BESIDE = {
    "LoRA": ("attention", dict(prompt=f"{PROMPT} <lora:probe:1>")),
    "hypernetwork": ("attention", dict(prompt=f"{PROMPT} <hypernet:probe:1>")),
    "HyperTile": ("self-attention", HYPERTILE),
    "token merging": ("transformers", overridden(token_merging_ratio=0.5)),
    "refiner": ("deep blocks", dict(refiner_checkpoint="other", refiner_switch_at=0.5)),
    "NGMS": ("deep blocks", dict(s_min_uncond=4.0)),
    "early": ("whole calls", overridden(skip_early_cond=0.5)),
    "padded": ("attention", dict(prompt=LONG, **overridden(pad_cond_uncond=True))),
    "two calls a step": ("deep blocks", dict(prompt=LONG, **overridden(pad_cond_uncond=False))),
    "AND, split": ("deep blocks", dict(prompt=BOTH, **overridden(batch_cond_uncond=False))),
    "editing": ("whole calls", dict(prompt="[a red circle:two squares:0.5] on a background")),
    "batch": ("transformers", dict(batch_size=2, n_iter=2)),
    "hires": ("deep blocks", HIRES),
    "SDXL": ("deep blocks", checkpoint("sdxl")),
    "v": ("whole calls", checkpoint("sd2")),
    "second order": ("whole calls", dict(sampler_name="DPM++ SDE")),
    "Restart": ("deep blocks", dict(sampler_name="Restart", steps=20, **TINY)),
    "adaptive": ("deep blocks", dict(sampler_name="DPM adaptive", **TINY)),
    "UniPC": ("whole calls", dict(sampler_name="UniPC")),
    "DDIM": ("deep blocks", dict(sampler_name="DDIM")),
}
"""What asks for the U-Net in its own way, or changes it, and what sleeps beside it."""


NEEDS = {
    "hypernetwork": NEEDS_HYPERNETWORKS, "HyperTile": NEEDS_HYPERTILE, "SDXL": NEEDS_FAMILIES,
    "v": NEEDS_FAMILIES,
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "options"),
    [pytest.param(*BESIDE[name], marks=NEEDS.get(name, ()), id=name) for name in BESIDE],
)
def test_beside_others_sleep_saves_and_every_step_awake_changes_nothing(webui, part, options):
    options = {**SMALL, **options}
    plain = webui.generate(**options)[0]
    settings = {**DEEP, "sleep": part}
    awake = webui.generate([{**settings, "sleep_every": 1}], **options)[0]
    assert all(np.array_equal(a, b) for a, b in zip(awake, plain, strict=True))
    changed, said = said_while(webui, [settings], **options)
    assert not np.array_equal(changed, plain[0])
    assert "Traceback" not in said
    asleep, steps, share = told(said)
    assert 0 < asleep < steps
    assert share < 100


def test_merged_tokens_are_not_repeated(webui):
    """Their order is another one in the next step."""
    options = {**SMALL, **BESIDE["token merging"][1]}
    said = said_while(webui, [{**DEEP, "sleep": "attention"}], **options)[1]
    assert "skipped IN01, IN02, OUT09, OUT10, OUT11 (its tokens are already merged" in said


def test_few_steps_sleep_only_where_they_are_asked_to(webui):
    options = dict(SMALL, sampler_name="LCM", steps=4)
    picture, said = said_while(webui, [DEEP], **options)
    assert np.array_equal(picture, webui.generate(**options)[0][0])
    assert "the pass has fewer steps than sleep needs" in said
    assert told(said_while(webui, [{**DEEP, "sleep_min_steps": 1}], **options)[1])[1] == 4


@pytest.mark.parametrize("part", ["deep blocks", "whole calls"])
def test_img2img_and_its_mask(webui, part):
    options = dict(SMALL, init_images=[encode(webui.generate(**SMALL)[0][0])], steps=20)
    mask = np.zeros((128, 128, 3), np.uint8)
    mask[32:96, 32:96] = 255
    masked = dict(mask=encode(mask), mask_blur=0, inpainting_fill=1)
    for changes in ({}, masked):
        body = {**options, "denoising_strength": 0.8, **changes}
        plain = webui.generate(**body)[0][0]
        picture, said = said_while(webui, [{**DEEP, "sleep": part}], **body)
        asleep, steps, _ = told(said)
        assert 0 < asleep < steps <= 20
        assert not np.array_equal(picture, plain)
    assert np.array_equal(picture[mask == 0], plain[mask == 0])


@pytest.mark.parametrize("part", ["attention", "deep blocks"])
@pytest.mark.parametrize("fault", ["unet 2", "interrupt 3"])
def test_a_fault_leaves_nothing_that_sleeps(webui, part, fault):
    settings = [{**DEEP, "sleep": part, "sleep_first": 0, "sleep_every": 3}]
    if fault.startswith("unet"):
        with pytest.raises(RuntimeError, match="planned fault"):
            webui.generate(settings, fault=fault, **SMALL)
    else:
        webui.generate(settings, fault=fault, **SMALL)
    assert webui.hooks() == 0


@pytest.mark.parametrize("part", ["attention", "deep blocks"])
def test_residuals_of_another_extension_have_an_effect_while_it_sleeps(webui, part):
    """As ControlNet adds them, but in one call only."""
    settings = [{**DEEP, "sleep": part, "sleep_first": 0, "sleep_every": 10}]
    picture, said = said_while(webui, settings, fault="residuals 99", **SMALL)
    assert told(said)[:2] == (10, 12)  # all but the first and the tenth behind it
    assert np.array_equal(webui.generate(settings, **SMALL)[0][0], picture)
    changed = webui.generate(settings, fault="residuals 3", **SMALL)[0][0]
    assert not np.array_equal(changed, picture)


def test_a_plot_of_when_and_what_sleeps(webui):
    axes = [
        ("[Slothful] What sleeps", ["nothing", "attention", "deep blocks"]),
        ("[Slothful] Awake every", "1, 3"),
    ]
    scripts = {"Slothful Attention": {"args": [{"method": "Sleep only"}]}}
    pictures, info = plot(webui, axes, alwayson_scripts=scripts, **SMALL)
    cells = [picture.tobytes() for picture in pictures[1:]]
    awake = webui.generate(**SMALL)[0][0].tobytes()
    assert [cell == awake for cell in cells] == [True, True, True, True, False, False]
    assert len(set(cells)) == 3
    texts = [text.partition("Slothful Attention: ")[2] for text in info["infotexts"][1:]]
    assert [bool(text) for text in texts] == [False] * 4 + [True] * 2


@NEEDS_INFOTEXT
def test_an_infotext_with_sleep_gives_the_image_that_it_describes(webui):
    settings = {
        **DEEP, "sleep_every": 2.5, "sleep_first": 0.2, "sleep_last": 0.1, "sleep_peak_time": 0.7,
        "sleep_time_decay": 0.5, "sleep_awake_blocks": 2, "sleep_forecast": "last",
        "sleep_threshold": 0.5, "sleep_min_steps": 3, "sleep_every_hires": 4,
    }  # fmt: skip
    pictures, infotext = webui.generate([settings], **SMALL)
    again, described = webui.generate(infotext=infotext, **SMALL)
    assert np.array_equal(pictures[0], again[0])
    assert described == infotext
    assert all(f"{name}=" in infotext for name in settings)


def test_the_presets_sleep(webui):
    presets = PresetFolders([SHIPPED])
    names = [name for name in presets.names() if name.startswith("asleep")]
    shares = []
    for name in names:
        settings = presets.load(name).settings
        assert isinstance(settings, Settings)
        _, said = said_while(webui, [settings.changed()], **{**SMALL, "steps": 20})
        shares.append(told(said)[2])
    assert len(shares) == 3
    assert all(share < 90 for share in shares)
