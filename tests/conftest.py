"""What the tests share: small U-Nets with random weights of each layout, the hosts, their pages."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

# One thread, here and in what the tests start: how work is shared out between threads changes the
# last bits, and on a busy machine all of them wait for the one that has no core.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, load
from standalone.model.install_into_webui import install
from standalone.runner import load_script_class
from tests import chromium
from tests.browser import close_browser, opened
from tests.comfy_server import Comfy
from tests.sprites import write_sprites
from tests.unets import make_unet
from tests.webui import NEEDS_WEBUI, Webui
from tests.webui_models import (
    install_extra_networks,
    install_families,
    install_lora,
    install_sdxl_for_comfy,
)

# how long an example takes, or to think of one, says nothing about what it shows
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_terminal_summary(terminalreporter):
    """A line that nobody overlooks where the page could not be tested."""
    if chromium.find() is None:
        terminalreporter.section(chromium.MISSING, sep="!", red=True, bold=True)


@pytest.fixture(scope="session")
def sprites(tmp_path_factory):
    """Pictures of things, in the place of those that are fetched for training."""
    path = tmp_path_factory.mktemp("sprites") / "sprites.zip"
    write_sprites(path)
    before = os.environ.get("SLOTHFUL_SPRITES")
    os.environ["SLOTHFUL_SPRITES"] = str(path)
    yield path
    if before is None:
        del os.environ["SLOTHFUL_SPRITES"]
    else:
        os.environ["SLOTHFUL_SPRITES"] = before


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


@pytest.fixture(scope="session")
def webui(tmp_path_factory):
    """The real webui with this extension, the small model and one of each other family."""
    folder = tmp_path_factory.mktemp("webui")
    (folder / "models" / "Stable-diffusion").mkdir(parents=True)
    checkpoint = install(folder, SMALL)
    install_families(folder)
    install_extra_networks(folder)
    server = Webui(folder, ("--ckpt", str(checkpoint)))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def comfy(tmp_path_factory):
    """The real ComfyUI with the nodes, the small model, a LoRA and a model of SDXL's layout."""
    folder = tmp_path_factory.mktemp("comfy")
    install_lora(folder / "models" / "loras")
    install_sdxl_for_comfy(folder / "models" / "checkpoints")
    server = Comfy(folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def comfy_off(comfy):
    """The image without any of our nodes, made before anything else."""
    return comfy.image()


@pytest.fixture
def leaves_nothing_in_comfy(comfy, comfy_off):
    """Afterwards nothing is on the models, and off gives the very same image as at first, which is
    computed anew.
    """
    yield
    assert comfy.get("/probe/left") == []
    assert np.array_equal(comfy.image(("ProbeFresh", {})), comfy_off)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    """The embedded host's page, with the small model and a U-Net of SDXL's layout."""
    pytest.importorskip("gradio", reason="the page's tests need gradio")
    load_script_class()  # puts the host's `modules` where they can be imported
    from modules import paths

    from standalone.server import Server, make_app

    folder = tmp_path_factory.mktemp("embedded")
    paths.data_path = str(folder)
    sdxl = SimpleNamespace(model=SimpleNamespace(diffusion_model=make_unet("sdxl")))
    models = {"small": lambda: load(SMALL), "sdxl": lambda: sdxl}
    with Server(make_app(models, folder / "pictures")) as server:
        server.folder = folder
        yield server


@pytest.fixture(params=["embedded", pytest.param("webui", marks=NEEDS_WEBUI)])
def host(request):
    """The server of each host in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", autouse=True)
def _one_browser_for_a_file():
    yield
    close_browser()


@pytest.fixture
def page(host):
    with opened(host.port) as page:
        yield page


@pytest.fixture
def panel(page):
    """The accordion's panel, unfolded, with the server's answer drawn."""
    page.open_groups()
    panel = page.control("drawings")
    page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
    return panel


@pytest.fixture(scope="session")
def off(webui):
    """The picture without the extension, made before anything else."""
    return webui.generate()[0][0]


@pytest.fixture
def leaves_nothing(webui, off):
    """Afterwards no hook is left, and off gives the very same picture as in the beginning."""
    yield
    assert webui.hooks() == 0
    assert np.array_equal(webui.generate()[0][0], off)
