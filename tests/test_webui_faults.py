"""Faults in the real webui, over its API: whatever happens, nothing is left behind."""

import numpy as np
import pytest

from tests.webui import BOTH, NEEDS_WEBUI, SLOTHFUL
from tests.webui_hosts import CHECKPOINTS, NEVER_CALLED
from tests.webui_probe.probe_faults import CALLBACKS, DENOISER_CALLBACKS

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

HIRES = dict(enable_hr=True, hr_scale=1.25, denoising_strength=0.7, hr_upscaler="Latent")


@pytest.mark.parametrize("options", [{}, HIRES], ids=["base", "hires"])
def test_a_neighbour_that_fails_in_any_callback_changes_nothing(webui, options):
    picture = webui.generate(SLOTHFUL, **options)[0][0]
    for callback in {*CALLBACKS, *DENOISER_CALLBACKS} - NEVER_CALLED:
        said = len(webui.log.read_text())
        again = webui.generate(SLOTHFUL, fault=callback, **options)[0][0]
        if callback != "before_hr" or options:
            assert "planned fault" in webui.log.read_text()[said:], callback
        assert np.array_equal(again, picture), callback
        assert webui.hooks() == 0, callback


@pytest.mark.parametrize("fault", ["unet", "memory"])
@pytest.mark.parametrize("call", [2, 5], ids=["base", "hires"])
def test_an_exception_inside_sampling_leaves_nothing_behind(webui, fault, call):
    with pytest.raises(RuntimeError, match="planned fault"):
        webui.generate(BOTH, fault=f"{fault} {call}", **HIRES)
    assert webui.hooks() == 0


@pytest.mark.parametrize("event", ["interrupt", "skip"])
@pytest.mark.parametrize("options", [{}, HIRES], ids=["base", "hires"])
def test_stopped_from_inside(webui, event, options):
    pictures, _ = webui.generate(BOTH, fault=f"{event} 2", **options)
    assert len(pictures) == 1
    assert webui.hooks() == 0


def test_the_checkpoint_is_switched_between_generations(webui):
    pictures = {}
    for name in (*CHECKPOINTS, CHECKPOINTS[0]):
        checkpoint = {"override_settings": {"sd_model_checkpoint": name}}
        before = webui.generate(**checkpoint)[0][0]
        pictures.setdefault(name, webui.generate(SLOTHFUL, **checkpoint)[0][0])
        assert not np.array_equal(pictures[name], before)
        assert np.array_equal(webui.generate(SLOTHFUL, **checkpoint)[0][0], pictures[name])
        assert np.array_equal(webui.generate(**checkpoint)[0][0], before)
        assert webui.hooks() == 0
