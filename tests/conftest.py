"""Real, small U-Nets for the tests: the SD1, SD2 and SDXL layouts, with random weights."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from standalone.attention import sdpa_attention
from tests.unets import make_unet


@pytest.fixture(scope="session")
def sd1_unet():
    """SD1's layout with 8 heads everywhere."""
    return make_unet("sd1")


@pytest.fixture(scope="session", params=["sd1", "sd2", "sdxl"])
def any_unet(request):
    """Each of the three layouts in turn."""
    return make_unet(request.param)


@pytest.fixture(autouse=True)
def _fast_attention_and_no_gradients(request):
    # ldm's own attention needs full precision and much memory; the webui never uses it either
    training = "training" in request.module.__name__
    with torch.set_grad_enabled(training), sdpa_attention():
        yield
