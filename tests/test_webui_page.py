"""The page of the real webui in a headless Chromium. Needs WEBUI_DIR and Chromium."""

import base64

import numpy as np
import pytest

from slothful import FAMILY_SITES, KNOWN_SITES, Settings
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.infotext import write_infotext
from slothful_webui.presets import SHIPPED, PresetFolders
from tests.browser import NEEDS_CHROMIUM, opened
from tests.webui import BOTH, NEEDS_WEBUI, REQUEST, encode

pytestmark = [NEEDS_WEBUI, NEEDS_CHROMIUM, pytest.mark.usefixtures("leaves_nothing")]

CHANGED = Settings(
    method="Near-sighted Attention", peak_time=0.25, time_axis="pass progress", keep_middle=False,
    in_mode="1D_MAX", out_slothful=12.5, tile_size=20, passes="hires", min_size=512,
    block_weights={"IN01": 0.5, "M00": 2, "OUT11": 0},
)  # fmt: skip


@pytest.fixture
def page(webui):
    with opened(webui.port) as page:
        yield page


def shown(page):
    return [page.value(control.name) for control in CONTROLS]


def names_shown(page):
    return [name for name in KNOWN_SITES if page.control(name).is_visible()]


def test_both_tabs_have_every_control_once_with_its_default(page):
    for page.tab in ("txt2img", "img2img"):
        assert not page.enabled
        for control in CONTROLS:
            assert page.control(control.name).count() == 1, control.name
        assert shown(page) == values_of(Settings())


def test_only_what_the_method_uses_is_shown(page):
    page.open_groups()
    for method in ("Near-sighted Tile", "Near-sighted Attention", "Slothful Attention"):
        page.choose("method", method)
        uses = {
            c.name: not c.parameter.methods or method in c.parameter.methods
            for c in CONTROLS
            if not c.is_site and c.parameter.group != "tiling"
        }
        page.wait_until(
            lambda uses=uses: uses == {name: page.control(name).is_visible() for name in uses}
        )


def test_the_blocks_are_those_of_the_loaded_model(page):
    page.open_groups()
    assert names_shown(page) == list(FAMILY_SITES["SD1, SD2"])
    model = page.page.locator("#setting_sd_model_checkpoint input")
    for name, family in (("sdxl", "SDXL"), ("small", "SD1, SD2")):
        model.click()
        model.fill(name)
        model.press("Enter")
        page.wait_until(lambda family=family: names_shown(page) == list(FAMILY_SITES[family]))


def test_presets_are_loaded_saved_and_reset(page, webui):
    page.open_groups()
    soft = PresetFolders([SHIPPED]).load("soft").settings
    page.choose("preset", "soft")
    page.control("preset_load").click()
    page.wait_until(lambda: shown(page) == values_of(soft))
    page.type_number("OUT09", "0.25")
    page.choose("preset", "my own")
    page.control("preset_save").click()
    file = webui.folder / "slothful-presets" / "my own.json"
    page.wait_until(file.is_file)
    page.control("preset_reset").click()
    page.wait_until(lambda: shown(page) == values_of(Settings()))
    page.control("preset_load").click()
    mine = soft.replace(block_weights={**soft.block_weights, "OUT09": 0.25})
    page.wait_until(lambda: shown(page) == values_of(mine))


def test_a_name_that_leaves_the_folder_is_refused_with_a_notice(page):
    page.open_groups()
    page.choose("preset", "../up")
    page.control("preset_save").click()
    notice = page.page.locator(".toast-wrap")
    page.wait_until(lambda: "a preset's name has 1 to 64 letters" in notice.inner_text())


def test_a_pasted_infotext_restores_every_control(page):
    page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(CHANGED)}, Version: v1.10.1")
    page.wait_until(lambda: shown(page) == values_of(CHANGED))
    assert page.enabled
    page.paste(f"{REQUEST}, Version: v1.10.1")
    page.wait_until(lambda: not page.enabled)
    assert shown(page) == values_of(CHANGED)


def test_a_picture_is_sent_from_png_info(page, webui, off, tmp_path):
    text = f"{REQUEST}, Slothful Attention: {write_infotext(CHANGED)}, Version: v1.10.1"
    (tmp_path / "made.png").write_bytes(base64.b64decode(encode(off, text)))
    page.go_to("PNG Info")
    page.page.locator("#pnginfo_image input[type=file]").set_input_files(tmp_path / "made.png")
    page.page.wait_for_selector("text=Slothful Attention: v1")
    page.page.locator("#tab_pnginfo #img2img_tab").click()
    page.tab = "img2img"
    page.wait_until(lambda: shown(page) == values_of(CHANGED))
    assert page.enabled


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
    page.wait_until(lambda: shown(page) == values_of(settings))
    assert page.enabled


def test_after_reload_ui_all_is_there_once(page, webui, off):
    page.go_to("Settings")
    page.page.locator("#settings_restart_gradio").click()
    webui.wait_for_start(2)
    page.errors.clear()  # of the connection that went away
    page.open()
    assert shown(page) == values_of(Settings())
    plot = next(e for e in webui.get("/sdapi/v1/script-info") if e["name"] == "x/y/z plot")
    axes = plot["args"][0]["choices"]
    assert len(axes) == len(set(axes))
    assert sum(axis.startswith("[Slothful]") for axis in axes) == len(Settings.parameters()) + 2
    assert not np.array_equal(webui.generate(BOTH)[0][0], off)
