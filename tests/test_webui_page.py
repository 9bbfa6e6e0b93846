"""What only the page of the real webui can show. Needs WEBUI_DIR and Chromium.

What it shares with the embedded host's page is in test_page_*.py of this folder.
"""

import numpy as np
import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from slothful_webui.infotext import write_infotext
from tests.browser import NEEDS_CHROMIUM, opened
from tests.webui import BOTH, NEEDS_WEBUI, REQUEST

pytestmark = [NEEDS_WEBUI, NEEDS_CHROMIUM, pytest.mark.usefixtures("leaves_nothing")]


@pytest.fixture
def page(webui):
    with opened(webui.port) as page:
        yield page
        # gradio's queue may never end what a page that went away has asked it
        page.wait_until_answered()


def test_generated_on_the_page_as_over_the_api(page, webui, off):
    page.paste(REQUEST)
    page.wait_until(lambda: page.page.locator("#txt2img_seed input").input_value() == "1")
    assert np.array_equal(page.generate(), off)
    settings = Settings.from_mapping(BOTH[0])
    page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(settings)}")
    page.wait_until(lambda: page.enabled)
    assert np.array_equal(page.generate(), webui.generate(BOTH)[0][0])
    page.page.locator("#txt2img_send_to_img2img").click()
    page.tab = "img2img"
    page.wait_until(lambda: page.values() == values_of(settings))
    assert page.enabled


def test_after_reload_ui_all_is_there_once(page, webui, off):
    page.go_to("Settings")
    page.wait_until_answered()  # what it was asked before keeps the server from its reload
    page.page.locator("#settings_restart_gradio").click()
    webui.wait_for_start(2)
    page.page.goto("about:blank")
    page.errors.clear()  # of the connection that went away
    page.open()
    assert page.values() == values_of(Settings())
    plot = next(e for e in webui.get("/sdapi/v1/script-info") if e["name"] == "x/y/z plot")
    axes = plot["args"][0]["choices"]  # one for each parameter, for presets, on and off, and Lazy
    assert len(axes) == len(set(axes))
    assert sum(axis.startswith("[Slothful]") for axis in axes) == len(Settings.parameters()) + 3
    assert not np.array_equal(webui.generate(BOTH)[0][0], off)
