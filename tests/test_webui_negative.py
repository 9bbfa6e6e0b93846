"""The negative side asleep in the real webui, over its API: however it composes its batches."""

import re

import numpy as np
import pytest

from tests.test_webui_faults import HIRES
from tests.test_webui_models import checkpoint, said_while
from tests.webui import NEEDS_WEBUI, encode
from tests.webui_hosts import NEEDS_FAMILIES

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
