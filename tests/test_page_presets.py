"""Presets on the page, in a headless Chromium.

On the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from slothful_webui.infotext import write_infotext
from slothful_webui.presets import SHIPPED, PresetFolders
from tests.browser import NEEDS_CHROMIUM
from tests.webui import REQUEST

pytestmark = NEEDS_CHROMIUM

PASTED = f"{REQUEST}, Slothful Attention: {write_infotext(Settings(tile_size=20))}"


def test_presets_are_loaded_saved_and_reset(page, host, panel):
    soft = PresetFolders([SHIPPED]).load("soft").settings
    page.choose("preset", "soft")
    page.control("preset_load").click()
    page.wait_until(lambda: page.values() == values_of(soft))
    page.type_number("OUT09", "0.25")
    page.choose("preset", "my own")
    page.control("preset_save").click()
    file = host.folder / "slothful-presets" / "my own.json"
    page.wait_until(file.is_file)
    page.wait_until(lambda: page.page.locator("#tab_txt2img [data-preset='my own']").count())
    page.control("preset_reset").click()
    page.wait_until(lambda: page.values() == values_of(Settings()))
    # the new one has a button too
    page.page.locator("#tab_txt2img [data-preset='my own']").click()
    mine = soft.replace(block_weights={**soft.block_weights, "OUT09": 0.25})
    page.wait_until(lambda: page.values() == values_of(mine))
    file.unlink()


def test_a_preset_can_be_clicked_again_after_a_value_was_moved(page, panel):
    soft = values_of(PresetFolders([SHIPPED]).load("soft").settings)
    button = page.page.locator("#tab_txt2img [data-preset='soft']")
    name = page.control("preset").locator("textarea, input").first
    for _ in range(2):
        button.click()
        page.wait_until(lambda: button.get_attribute("aria-pressed") == "true")
        assert page.values() == soft
        assert name.input_value() == "soft"
        page.type_number("OUT09", "0.25")
        page.wait_until(lambda: button.get_attribute("aria-pressed") == "false")
        page.wait_until(lambda: name.input_value() == "")


def test_every_preset_has_a_drawing_and_explains_itself_on_hover(page, panel):
    presets = PresetFolders([SHIPPED])
    for name in presets.names():
        button = page.page.locator(f"#tab_txt2img [data-preset='{name}']")
        assert button.locator("svg path").count() >= 1
        words = presets.load(name).description
        assert button.get_attribute("title") == words
        button.hover()
        assert words in page.control("preset_buttons").inner_text()


def test_a_name_that_leaves_the_folder_is_refused_with_a_notice(page, panel):
    page.choose("preset", "../up")
    page.control("preset_save").click()
    notice = page.page.locator(".toast-wrap")
    page.wait_until(lambda: "a preset cannot be named '../up': use 1" in notice.inner_text())


def test_what_is_typed_is_the_name_whatever_presets_contain_it(page, host, panel):
    """Not completed to "hard contrast", and no shipped preset is replaced."""
    notice = page.page.locator(".toast-wrap")
    page.choose("preset", "hard con")
    assert page.value("preset") == "hard con"
    page.control("preset_save").click()
    page.wait_until(lambda: "saved the preset 'hard con'" in notice.inner_text())
    own = page.page.locator("#tab_txt2img [data-preset='hard con']")
    page.wait_until(own.is_visible)
    assert "your own" in own.inner_text()
    assert "your own" not in page.page.locator("[data-preset='soft']").first.inner_text()
    page.choose("preset", "soft")
    page.control("preset_save").click()
    page.wait_until(lambda: "'soft' comes with the extension and is kept" in notice.inner_text())
    page.choose("preset", "hard con")
    page.control("preset_delete").click()
    page.wait_until(lambda: "deleted the preset 'hard con'" in notice.inner_text())
    page.wait_until(lambda: own.count() == 0)
    assert page.value("preset") == ""
    assert not (host.folder / "slothful-presets" / "hard con.json").exists()


@pytest.mark.parametrize("change", ["reset", "paste", "slider"])
def test_the_name_of_a_preset_goes_when_its_values_do(page, panel, change):
    page.page.locator("#tab_txt2img [data-preset='soft']").click()
    soft = PresetFolders([SHIPPED]).load("soft").settings
    page.wait_until(lambda: page.values() == values_of(soft))
    page.page.wait_for_timeout(1000)
    assert page.value("preset") == "soft"
    if change == "reset":
        page.control("preset_reset").click()
    elif change == "paste":
        page.paste(PASTED)
    else:
        page.drag_slider("peak_time", 0.4, 0.6)
    page.wait_until(lambda: page.value("preset") == "")
    # a name that is typed, as for saving these values under it, stays
    page.choose("preset", "soft")
    page.page.wait_for_timeout(1000)
    assert page.value("preset") == "soft"
