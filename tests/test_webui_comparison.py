"""Comparisons, and images on which nothing was applied, in the real webui over its API."""

import re

import numpy as np
import pytest

from tests.test_webui_faults import HIRES
from tests.test_webui_interface import entries
from tests.webui import NEEDS_WEBUI, SLOTHFUL, encode
from tests.webui_hosts import NEEDS_HYPERTILE

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

COMPARED = {"Slothful Attention": {"args": [{**SLOTHFUL[0], "compare": True}]}}
SMALL = dict(width=128, height=128, steps=2)


def compared(webui, **body):
    """(prompt, seed, whether the infotext has our key) of each image; a grid of all is left out."""
    pictures, info = webui.post_generation(alwayson_scripts=COMPARED, **{**SMALL, **body})
    texts = info["infotexts"][info["index_of_first_image"] :]
    assert len(pictures) == len(info["infotexts"])
    return [
        (text.splitlines()[0], int(re.search(r"Seed: (\d+)", text)[1]), "Slothful Att" in text)
        for text in texts
    ]


def pairs_of(*seeds, prompt="a red circle on a blue background"):
    return [(prompt, seed, effect) for seed in seeds for effect in (False, True)]


def test_each_image_comes_without_the_effect_and_with_it(webui, off):
    assert compared(webui, n_iter=2) == pairs_of(1, 2)
    assert compared(webui, **HIRES) == pairs_of(1)
    assert compared(webui, init_images=[encode(off)], denoising_strength=0.5) == pairs_of(1)


SCRIPTS = {
    "prompt matrix": {},
    "loopback": {},
    "outpainting mk2": {1: 64, 3: ["left"]},
    "poor man's outpainting": {0: 64, 3: ["left"]},
    "sd upscale": {0: None, 2: "None"},
}
"""The webui's own scripts that make requests, and which of their arguments differ from the default.
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gets_the_images_that_it_asks_for(webui, off, name):
    """The same as with the effect and without a comparison."""
    script = entries(webui, name)[-1]
    values = [SCRIPTS[name].get(i, entry["value"]) for i, entry in enumerate(script)]
    body = dict(script_name=name, script_args=values, steps=2, denoising_strength=0.5)
    if name == "prompt matrix":
        body["prompt"] = "a red circle|a blue background"
    else:
        body["init_images"] = [encode(off)]
    scripts = {"Slothful Attention": {"args": SLOTHFUL}}
    # the first run of Loopback differs from all later ones, with no extension installed too
    for _ in range(2):
        plain, info = webui.post_generation(alwayson_scripts=scripts, **body)
    said = len(webui.log.read_text())
    pictures, asked = webui.post_generation(alwayson_scripts=COMPARED, **body)
    assert "not compared: the script" in webui.log.read_text()[said:]
    assert asked["infotexts"] == info["infotexts"]
    assert all(np.array_equal(one, other) for one, other in zip(pictures, plain, strict=True))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"in_slothful": 1, "out_slothful": 1}, "the strength never exceeds 1"),
        ({"passes": "hires"}, "in the hires pass only, and there is no hires pass"),
        ({"min_size": 512}, "below the minimum"),
    ],
)
def test_where_nothing_is_applied_the_infotext_says_nothing_and_the_log_why(
    webui, off, settings, reason
):
    said = len(webui.log.read_text())
    pictures, infotext = webui.generate([settings])
    assert np.array_equal(pictures[0], off)
    assert "Slothful Attention" not in infotext
    log = webui.log.read_text()
    assert re.search(f"Slothful Attention: nothing was applied: .*{reason}", log[said:])


@NEEDS_HYPERTILE
def test_hypertile_with_a_tile_as_large_as_the_image_leaves_it_to_us(webui):
    overrides = {"hypertile_enable_unet": True, "hypertile_max_depth_unet": 3}
    said = len(webui.log.read_text())
    plain = webui.generate(override_settings=overrides, **SMALL)[0][0]
    changed = webui.generate(SLOTHFUL, override_settings=overrides, **SMALL)[0][0]
    assert not np.array_equal(changed, plain)
    assert "HyperTile is used" not in webui.log.read_text()[said:]
