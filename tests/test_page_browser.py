"""The page in a headless Chromium: the embedded host's, and with WEBUI_DIR the real webui's too."""

import base64
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from slothful import FAMILY_SITES, KNOWN_SITES, Settings
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.infotext import write_infotext
from slothful_webui.presets import SHIPPED, PresetFolders
from tests.browser import NEEDS_CHROMIUM, opened, read_picture
from tests.webui import REQUEST, encode

pytestmark = NEEDS_CHROMIUM

ROOT = Path(__file__).resolve().parents[1]

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


# -- presets


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


# -- for everybody


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_in_both_themes_and_on_phones(host, theme, width):
    with opened(host.port, width=width, theme=theme) as page:
        page.open_groups()
        panel = page.control("drawings")
        page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
        panel.locator(".slothful-cell").first.click()
        assert panel.evaluate("p => p.scrollWidth <= p.clientWidth")
        found = Axe().run(
            page.page,
            context={"include": [["#script_txt2img_slothful_attention_enable"]]},
            options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
        )
        faults = [
            f"{fault['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
            for fault in found.response["violations"]
            for node in fault["nodes"]
        ]
        assert not faults, "\n".join(faults)


def test_every_control_is_reached_by_keyboard_with_focus_to_be_seen(page, panel):
    page.page.locator("#script_txt2img_slothful_attention_enable-visible-checkbox").focus()
    reached, unseen = set(), []
    for _ in range(200):
        page.page.keyboard.press("Tab")
        state = page.page.evaluate(
            """id => {
                const here = document.activeElement;
                const inside = document.getElementById(id).contains(here);
                const style = getComputedStyle(here);
                const knob = here.querySelector?.(".slothful-knob");
                const seen = style.outlineStyle !== "none" || style.boxShadow !== "none"
                    || (knob && getComputedStyle(knob).strokeWidth === "4px");
                const block = here.closest("[id^=script_]");
                return {inside, seen, id: block?.id ?? "", tag: here.outerHTML.slice(0, 120)};
            }""",
            "script_txt2img_slothful_attention_enable",
        )
        if not state["inside"]:
            break
        reached.add(state["id"].removeprefix("script_txt2img_slothful_attention_"))
        if not state["seen"]:
            unseen.append(state["tag"])
    shown = {c.name for c in CONTROLS if page.control(c.name).is_visible()}
    assert shown <= reached
    assert {"preset", "preset_buttons", "drawings"} <= reached
    assert unseen == []


def test_a_drag_is_drawn_on_its_way_once_a_frame_and_asks_the_server_one_thing_at_a_time(
    page, panel
):
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    page.choose("method", "Near-sighted Attention")
    page.wait_until(lambda: panel.locator("tbody tr").count() == 2)
    page.page.evaluate(
        """() => {
            const seen = window.seen = {frames: 0, asking: 0, mostAsking: 0};
            const count = () => { seen.frames += 1; requestAnimationFrame(count); };
            requestAnimationFrame(count);
            const fetch = window.fetch;
            window.fetch = (address, ...rest) => {
                const reply = fetch(address, ...rest);
                if (String(address).includes("slothful-attention/drawing")) {
                    seen.mostAsking = Math.max(seen.mostAsking, ++seen.asking);
                    reply.finally(() => { seen.asking -= 1; });
                }
                return reply;
            };
            performance.clearMeasures();
        }"""
    )
    peak, mouse = panel.locator(".slothful-peak"), page.page.mouse
    drawn = lambda: float(peak.get_attribute("aria-valuenow"))  # noqa: E731
    mouse.move(*page.slider_point("peak_time", 0.1))
    mouse.down()
    for part in (0.3, 0.5, 0.7, 0.9):
        mouse.move(*page.slider_point("peak_time", part), steps=20)
        page.wait_until(lambda part=part: abs(drawn() - part) < 0.06)  # the mouse is still down
    mouse.up()
    draws, seen = page.page.evaluate(
        "() => [performance.getEntriesByName('slothful-draw').length, window.seen]"
    )
    assert 4 <= draws <= seen["frames"] + 1
    page.wait_until(lambda: page.page.evaluate("window.seen.mostAsking") == 1)


def test_the_page_in_japanese(tmp_path):
    from standalone.checkpoint import SMALL, load
    from standalone.server import Server, make_app

    app = make_app({"small": lambda: load(SMALL)}, tmp_path, "ja_JP")
    with Server(app) as server, opened(server.port) as page:
        page.open_groups()
        panel = page.control("drawings")
        page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
        for words in ("入力ブロック", "残る計算量"):
            assert words in panel.inner_text()
        assert panel.locator(".slothful-peak").get_attribute("aria-label") == "効果のピーク時刻"
        button = page.page.locator("#tab_txt2img [data-preset='soft']")
        assert button.inner_text() == "ソフト"
        assert "平均" in button.get_attribute("title")
        page.wait_until(lambda: "効果のピーク時刻" in page.control("peak_time").inner_text())
        _choices_in_japanese(page)
        _messages_in_japanese(page, panel)


def _choices_in_japanese(page):
    """They are shown so, and sent as they are."""
    kept = page.control("kept_token")
    cover = kept.locator(".slothful-choice")
    page.wait_until(lambda: "似たトークンを代表" in cover.inner_text())
    assert page.value("kept_token") == "merged"
    kept.locator("input").click()
    items = kept.locator("li")
    page.wait_until(lambda: "最初" in kept.inner_text())
    assert all(name not in items.all_inner_texts() for name in ("first", "jittered", "merged"))
    items.filter(has_text="最初").click()
    page.wait_until(lambda: page.value("kept_token") == "first")
    page.wait_until(lambda: "最初" in cover.inner_text())
    page.wait_until(lambda: page.control("drawings").locator(".slothful-notes").is_hidden())


def _messages_in_japanese(page, panel):
    page.type_number("peak_time", "7")
    refused = "効果のピーク時刻は0 から 1 の範囲で指定してください"
    page.wait_until(lambda: refused in panel.inner_text())
    page.control("preset_reset").click()
    page.wait_until(lambda: refused not in panel.inner_text())
    notice = page.page.locator(".toast-wrap")
    page.choose("preset", "soft")
    page.control("preset_save").click()
    page.wait_until(lambda: "Attention: 'soft' は拡張機能に付属する" in notice.inner_text())
    assert "エラー" in notice.inner_text()
    note = page.control("in_mode").locator(".slothful-note")
    page.wait_until(lambda: "1D か 2D か" in note.inner_text())
    page.choose("passes", "hires")
    page.wait_until(lambda: "高解像度パスだけに適用する設定" in panel.inner_text())


NEWER = """
    for (const [owner, names] of [
        [Array.prototype, ["findLast", "findLastIndex", "at", "toSorted", "toReversed",
            "toSpliced", "with", "group"]],
        [String.prototype, ["at", "replaceAll", "isWellFormed"]],
        [Object, ["hasOwn", "groupBy"]], [Promise, ["any", "withResolvers"]],
        [window, ["structuredClone"]], [Element.prototype, ["checkVisibility"]],
        [URL, ["canParse"]], [Set.prototype, ["union", "intersection", "difference"]],
        [AbortSignal, ["timeout", "any"]],
    ]) {
        names.forEach((name) => delete owner[name]);
    }
"""
"""Functions that browsers of 2021 lack, taken away."""


def test_the_page_on_a_browser_without_newer_functions(embedded):
    with opened(embedded.port, before=NEWER) as page:
        page.open_groups()
        panel = page.control("drawings")
        page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
        page.page.locator("#tab_txt2img [data-preset='soft']").click()
        page.wait_until(lambda: page.value("preset") == "soft")
        for method in reversed(Settings.parameter("method").choices):
            page.choose("method", method)
            page.wait_until(lambda method=method: page.value("method") == method)
            page.page.wait_for_timeout(500)
        page.set_hidden("peak_time", "7")
        page.wait_until(lambda: "must be between" in panel.inner_text())


def test_the_scripts_are_written_for_the_browsers_that_gradio_runs_on():
    """Syntax of after 2020, which would keep a script from being read."""
    newer = re.compile(r"\?\?=|\|\|=|&&=|\b\d+_\d|^\s*(static )?#\w|\(\?<[=!]", re.MULTILINE)
    for path in (ROOT / "javascript").glob("*.js"):
        assert not newer.search(path.read_text(encoding="utf-8")), path.name
    style = (ROOT / "style.css").read_text(encoding="utf-8")
    assert not re.search(r":(has|is|where)\(|aspect-ratio|inset:|@layer|@container", style)


def test_the_host_ends_though_a_page_was_left_while_a_picture_was_made(tmp_path):
    from standalone.checkpoint import SMALL, load
    from standalone.server import Server, make_app

    server = Server(make_app({"small": lambda: load(SMALL)}, tmp_path))
    server.__enter__()
    with opened(server.port) as page:
        page.page.locator("#txt2img_steps input[type=number]").fill("150")
        page.page.locator("#txt2img_generate").click()
        page.wait_until(page.page.locator("#txt2img_interrupt").is_visible)
        page.wait_until(page.page.locator("#txt2img_progress progress").is_visible)
    ending = threading.Thread(target=server.__exit__, daemon=True)
    ending.start()
    ending.join(900)
    assert not ending.is_alive()
    assert list(tmp_path.glob("**/*.png")) == []  # it did not wait for the picture
