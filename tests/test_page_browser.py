"""The page in a headless Chromium: the embedded host's, and with WEBUI_DIR the real webui's too."""

import base64
import json

import numpy as np

from slothful import FAMILY_SITES, KNOWN_SITES, Settings
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.infotext import write_infotext
from tests.browser import NEEDS_CHROMIUM, opened, read_picture
from tests.webui import REQUEST, encode

pytestmark = NEEDS_CHROMIUM

CHANGED = Settings(
    method="Near-sighted Attention", peak_time=0.25, time_axis="pass progress", keep_middle=False,
    in_mode="1D_MAX", out_slothful=12.5, tile_size=20, passes="hires", min_size=512,
    block_weights={"IN01": 0.5, "M00": 2, "OUT11": 0},
)  # fmt: skip
STRONG = Settings(time_decay=0, in_slothful=12, out_slothful=9)
PASTED = f"{REQUEST}, Slothful Attention: {write_infotext(CHANGED)}, Version: v1.10.1"


def names_shown(page):
    return [name for name in KNOWN_SITES if page.control(name).is_visible()]


# -- the controls


def test_both_tabs_have_every_control_once_with_its_default(page):
    for page.tab in ("txt2img", "img2img"):
        assert not page.enabled
        for control in CONTROLS:
            assert page.control(control.name).count() == 1, control.name
        assert page.values() == values_of(Settings())


def test_only_what_the_method_uses_is_shown(page):
    page.open_groups()
    for method in reversed(Settings.parameter("method").choices):
        page.choose("method", method)
        uses = {
            c.name: not c.parameter.methods or method in c.parameter.methods
            for c in CONTROLS
            if not c.is_site
        }

        def agrees(uses=uses):
            page.open_groups()  # also those that have just come
            return uses == {name: page.control(name).is_visible() for name in uses}

        page.wait_until(agrees)


def test_another_type_of_checkpoint_has_other_blocks(page, panel):
    page.wait_until(lambda: names_shown(page) == list(FAMILY_SITES["SD1, SD2"]))
    cells = panel.locator(".slothful-cell > span")
    for name, family in (("sdxl", "SDXL"), ("small", "SD1, SD2")):
        page.choose_checkpoint(name)
        names = list(FAMILY_SITES[family])
        page.wait_until(lambda names=names: names_shown(page) == names)
        page.wait_until(lambda names=names: sorted(cells.all_inner_texts()) == sorted(names))


def test_a_pasted_infotext_restores_every_control(page):
    page.paste(PASTED)
    page.wait_until(lambda: page.enabled and page.values() == values_of(CHANGED))
    page.paste(f"{REQUEST}, Version: v1.10.1")
    page.wait_until(lambda: not page.enabled)
    assert page.values() == values_of(CHANGED)


def test_what_a_paste_left_out_is_named_on_the_page_until_the_next_one(page):
    note = page.control("left_out")
    page.paste(PASTED.replace("; ", "; global_ratio=9; from_the_future=1; ", 1))
    page.wait_until(lambda: page.enabled and page.values() == values_of(CHANGED))
    page.wait_until(lambda: "unknown parameter 'from_the_future'" in note.inner_text())
    assert "Left out of the pasted parameters:" in note.inner_text()
    page.wait_until(lambda: "Global ratio must be between 0 and 1, got '9'" in note.inner_text())
    page.paste(PASTED)
    page.wait_until(note.is_hidden)
    # nothing of this is ours: all is left, switched off, and the closed accordion hides no note
    page.paste(f"{REQUEST}, Slothful Attention: !!!, Version: v1.10.1")
    page.wait_until(lambda: not page.enabled and "'!!!' is not of the form" in note.inner_text())
    assert page.values() == values_of(CHANGED)


def test_a_picture_is_sent_from_png_info(page, tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "made.png").write_bytes(base64.b64decode(encode(picture, PASTED)))
    page.go_to("PNG Info")
    page.page.locator("#pnginfo_image input[type=file]").set_input_files(tmp_path / "made.png")
    page.wait_until(lambda: "Slothful Attention: v2" in page.reads("#tab_pnginfo"))
    page.page.locator("#tab_pnginfo #img2img_tab").click()
    page.tab = "img2img"
    page.wait_until(lambda: page.enabled and page.values() == values_of(CHANGED))


def test_after_reload_of_the_page_all_is_as_in_the_beginning(page):
    page.paste(PASTED)
    page.wait_until(lambda: page.values() == values_of(CHANGED))
    page.open()
    assert page.values() == values_of(Settings())
    page.open_groups()
    page.wait_until(lambda: page.control("drawings").locator(".slothful-cell").count() > 0)


# -- generating


def test_a_comparison_is_two_pictures_with_a_divider(page, panel):
    page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(STRONG)}, Version: v1.10.1")
    page.wait_until(lambda: page.values() == values_of(STRONG))
    with_effect = page.generate()
    panel.get_by_role("button", name="Compare off / on").click()
    pictures = panel.locator(".slothful-compare img")
    page.wait_until(lambda: panel.locator(".slothful-compare").is_visible())
    page.wait_until_idle()
    off, on = (read_picture(image.get_attribute("src")) for image in pictures.all())
    assert np.array_equal(on, with_effect)
    assert not np.array_equal(off, on)
    info = page.page.locator("#generation_info_txt2img textarea").input_value()
    made = ["Slothful Attention: v2" in text for text in json.loads(info)["infotexts"]]
    assert made[-2:] == [False, True]
    gallery = page.page.locator("#txt2img_gallery .thumbnail-item img")
    # in the preview and in the grid behind it
    shown = lambda: {image.get_attribute("src") for image in gallery.all()}  # noqa: E731
    page.wait_until(lambda: len(shown()) == len(made))
    divider = panel.get_by_role("slider", name="Divider between off and on")
    divider.press("End")
    cut = panel.locator(".slothful-pictures").evaluate("p => p.style.cssText")
    assert "--slothful-cut: 100%" in cut
    # and the next picture is a single one, without the effect if the box is off
    page.enable(False)
    assert np.array_equal(page.generate(), off)
    page.wait_until(lambda: len(shown()) == 1)


LATER = """
    const click = HTMLElement.prototype.click;
    HTMLElement.prototype.click = function() {
        const press = () => click.call(this);
        if (this.id === "txt2img_generate") {
            requestAnimationFrame(() => requestAnimationFrame(press));
        } else {
            press();
        }
    };
"""
"""A host that takes the values of a request a little later, as one with gradio 4 does."""


def test_a_comparison_where_the_host_takes_its_values_later(host):
    with opened(host.port, before=LATER) as page:
        page.paste(REQUEST)
        page.open_groups()
        panel = page.control("drawings")
        page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
        panel.get_by_role("button", name="Compare off / on").click()
        page.wait_until(lambda: panel.locator(".slothful-compare").is_visible())
        page.wait_until_idle()
        assert not page.control("compare").locator("input").is_checked()
        page.enable(False)
        assert page.generate() is not None
        info = page.page.locator("#generation_info_txt2img textarea").input_value()
        assert len(json.loads(info)["infotexts"]) == 1


def test_a_script_that_is_chosen_is_not_compared(page, panel):
    """The embedded host lacks the webui's list of scripts, so it is put there."""
    button = panel.get_by_role("button", name="Compare off / on")
    page.page.evaluate(
        """() => {
            if (!document.querySelector("#txt2img_script_container")) {
                document.body.insertAdjacentHTML("beforeend", "<div id=txt2img_script_container>"
                    + "<p id=script_list><input></p></div>");
            }
        }"""
    )
    for script in ("Prompt matrix", "None"):
        page.page.evaluate(
            """(script) => {
                document.querySelector("#txt2img_script_container #script_list input").value =
                    script;
            }""",
            script,
        )
        refused = script != "None"
        page.wait_until(lambda refused=refused: button.is_disabled() == refused)
        said = "cannot be compared while the script Prompt matrix is chosen"
        assert (said in panel.inner_text()) == refused
