"""The page for everybody: themes, phones, keyboards, languages, older browsers, busy servers.

In a headless Chromium, on the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import re
import threading
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from slothful import Settings
from slothful_webui.controls import CONTROLS
from tests.browser import NEEDS_CHROMIUM, opened

pytestmark = NEEDS_CHROMIUM

ROOT = Path(__file__).resolve().parents[1]


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
    for _ in range(350):
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
    assert {"preset_buttons", "drawings", "details"} <= reached
    assert unseen == []


def test_a_drag_is_drawn_on_its_way_once_a_frame_and_asks_the_server_one_thing_at_a_time(
    page, panel
):
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    page.choose("method", "Near-sighted Attention")
    page.wait_until(lambda: page.control("details").locator("tbody tr").count() == 3)
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
        for words in ("入力と出力", "節約", "変化の小さい順", "キーあたりのトークン数"):
            page.wait_until(lambda words=words: words in panel.inner_text())
        assert "残る計算量" in page.control("details").inner_text()
        assert panel.locator(".slothful-peak").get_attribute("aria-label") == "効果のピーク時刻"
        button = page.page.locator("#tab_txt2img [data-preset='soft']")
        assert button.locator("b").inner_text() == "ソフト"
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
    page.set_hidden("peak_time", "7")
    refused = "効果のピーク時刻は0 から 1 の範囲で指定してください"
    page.wait_until(lambda: refused in panel.inner_text())
    page.click_in_presets("リセット")
    page.wait_until(lambda: refused not in panel.inner_text())
    notice = page.page.locator(".toast-wrap")
    page.click_in_presets("名前を付けて保存")
    form = page.control("preset_buttons").locator("form")
    form.locator("input").fill("soft")
    form.locator("input").press("Enter")
    page.wait_until(lambda: "Attention: 'soft' は拡張機能に付属する" in notice.inner_text())
    assert "警告" in notice.inner_text()
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
        page.wait_until(lambda: page.value("time_decay") == 0)
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

    model, calls = load(SMALL), []
    model.model.diffusion_model.register_forward_hook(lambda *_: calls.append(None))
    server = Server(make_app({"small": lambda: model}, tmp_path))
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
    assert 0 < len(calls) < 150  # it did not wait for the picture
