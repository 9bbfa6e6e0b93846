"""Presets on the page, in a headless Chromium.

On the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from slothful_webui.infotext import write_infotext
from slothful_webui.presets import ROW, SHIPPED, PresetFolders
from tests.browser import NEEDS_CHROMIUM
from tests.webui import REQUEST

pytestmark = NEEDS_CHROMIUM

SOFT = PresetFolders([SHIPPED]).load("soft").settings
PASTED = f"{REQUEST}, Slothful Attention: {write_infotext(Settings(tile_size=20))}"


def is_pressed(button):
    return button.get_attribute("aria-pressed") == "true"


def test_presets_are_loaded_saved_deleted_and_reset(page, host, panel):
    notice = page.page.locator(".toast-wrap")
    page.preset("soft").click()
    page.wait_until(lambda: page.values() == values_of(SOFT))
    page.type_number("OUT09", "0.25")
    page.save_preset("my own")
    file = host.folder / "slothful-presets" / "my own.json"
    page.wait_until(file.is_file)
    own = page.preset("my own")
    page.wait_until(lambda: is_pressed(own) and not is_pressed(page.preset("soft")))
    assert "your own" in own.inner_text()
    assert "your own" not in page.preset("soft").inner_text()
    page.click_in_presets("Reset")
    page.wait_until(lambda: page.values() == values_of(Settings()) and not is_pressed(own))
    delete = page.control("preset_buttons").get_by_role("button", name="Delete", exact=True)
    assert delete.is_hidden()
    own.click()
    mine = SOFT.replace(block_weights={**SOFT.block_weights, "OUT09": 0.25})
    page.wait_until(lambda: page.values() == values_of(mine) and delete.is_visible())
    delete.click()
    page.wait_until(lambda: "deleted the preset 'my own'" in notice.inner_text())
    page.wait_until(lambda: own.count() == 0)
    assert not file.exists()
    assert page.values() == values_of(mine)


@pytest.mark.parametrize("change", ["reset", "paste", "slider", "type"])
def test_a_button_is_pressed_until_a_value_is_moved(page, panel, change):
    button = page.preset("soft")
    for _ in range(2 if change == "type" else 1):  # it can be clicked again
        button.click()
        page.wait_until(lambda: page.values() == values_of(SOFT) and is_pressed(button))
        assert "Softer" in page.control("preset_buttons").inner_text()
        if change == "reset":
            page.click_in_presets("Reset")
        elif change == "paste":
            page.paste(PASTED)
        elif change == "slider":
            page.drag_slider("peak_time", 0.4, 0.6)
        else:
            page.type_number("OUT09", "0.25")
        page.wait_until(lambda: not is_pressed(button))
        assert "Softer" not in page.control("preset_buttons").inner_text()


def test_the_row_is_in_order_and_every_preset_is_told_apart_without_hovering(page, panel):
    presets = PresetFolders([SHIPPED])
    row = page.control("preset_buttons").locator("[data-preset]")
    page.wait_until(lambda: row.count() >= len(ROW))
    shown = [button.get_attribute("data-preset") for button in row.all()]
    assert [name for name in shown if name in presets.names()] == list(ROW)
    drawings = []
    for name in presets.names():
        button = page.preset(name)
        preset = presets.load(name)
        assert preset.brief in button.inner_text()
        assert button.get_attribute("title") == preset.description
        drawings.append(button.locator("svg").inner_html())
    assert len(set(drawings)) == len(drawings)
    folded = page.control("details").locator("[data-preset^='like ']")
    assert folded.count() == 4


def test_a_name_that_leaves_the_folder_is_refused_with_a_notice(page, panel):
    page.save_preset("../up")
    notice = page.page.locator(".toast-wrap")
    page.wait_until(lambda: "a preset cannot be named '../up': use 1" in notice.inner_text())


def test_what_is_typed_is_the_name_whatever_presets_contain_it(page, host, panel):
    """Not completed to "hard contrast", and no shipped preset is replaced."""
    notice = page.page.locator(".toast-wrap")
    page.save_preset("hard con")
    page.wait_until(lambda: "saved the preset 'hard con'" in notice.inner_text())
    page.wait_until(page.preset("hard con").is_visible)
    form = page.control("preset_buttons").locator("form")
    page.wait_until(form.is_hidden)
    page.save_preset("soft")
    page.wait_until(lambda: "'soft' comes with the extension and is kept" in notice.inner_text())
    assert form.is_visible()
    form.locator("input").press("Escape")
    assert form.is_hidden()
    (host.folder / "slothful-presets" / "hard con.json").unlink()
