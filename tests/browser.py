"""The page of the webui or of the embedded host in a headless Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import functools
import io
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from slothful_webui.controls import CONTROLS
from tests import chromium

CHROMIUM = chromium.find()
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT = 300_000
"""Milliseconds after which a page is taken for stuck; far more than it needs on a busy machine."""

VALUE = """id => {
    const input = document.querySelector(`#${id} input[type=number]`)
        || document.querySelector(`#${id} input`);
    const named = {number: input.valueAsNumber, checkbox: input.checked};
    return input.type in named ? named[input.type] : input.value;
}"""
"""What a control shows, by its element's id."""


class HostPage:
    """The page of a host, with the extension's controls by their names."""

    def __init__(self, page, port: int):
        self.page = page
        self._port = port
        self.tab = "txt2img"
        self.errors: list[str] = []
        page.set_default_timeout(TIMEOUT)
        page.on("console", self._note)
        page.on("pageerror", self._note_error)
        self._sockets: list = []
        page.on("websocket", self._note_socket)

    def _note(self, message) -> None:
        # the webui asks for fonts and scripts of other servers
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _note_error(self, error) -> None:
        # the webui's page has this one of gradio's without any extension, when a size changes
        stack = error.stack or ""
        known = "reading 'props'" in str(error) and "/assets/Blocks-" in stack
        if not known or "slothful" in stack:
            self.errors.append(f"{error} {stack}")

    def _note_socket(self, socket) -> None:
        self._sockets.append(socket)

    def open(self, theme: str = "dark") -> None:
        """Load the page and wait until it can be used."""
        self.page.goto(f"http://127.0.0.1:{self._port}/?__theme={theme}")
        self.page.wait_for_selector("#txt2img_prompt textarea")
        # the first answer of the server to the extension's own request
        self.page.wait_for_function(
            "id => !document.querySelector(id)?.offsetParent",
            arg=f"#{self._id('OUT00')}",
        )

    def _id(self, name: str) -> str:
        return f"script_{self.tab}_slothful_attention_{name}"

    def control(self, name: str):
        """The element of a control, or of another part of the accordion."""
        return self.page.locator(f"#{self._id(name)}")

    def enable(self, on: bool = True) -> None:
        """Tick the box in the accordion's header."""
        self.page.locator(f"#{self._id('enable')}-visible-checkbox").set_checked(on)

    @property
    def enabled(self) -> bool:
        return self.page.locator(f"#{self._id('enable')}-visible-checkbox").is_checked()

    def go_to(self, tab: str) -> None:
        """Open one of the webui's tabs by its title."""
        self.page.locator("#tabs > .tab-nav button", has_text=tab).click()

    def open_first_view(self):
        """Unfold the accordion and nothing in it; its panel, with all that there is to draw."""
        panel = self.control("drawings")

        def is_shown() -> bool:
            if panel.is_hidden():
                self.control("enable").locator(".label-wrap").first.click()
                self.page.wait_for_timeout(500)
            return panel.locator(".slothful-cell").count() > 0

        self.wait_until(is_shown)
        self.preset("soft")
        self.page.wait_for_timeout(500)
        return panel

    def open_groups(self) -> None:
        """Unfold the accordion and everything in it."""
        # in one go, because the page may be showing and hiding groups meanwhile
        unfold = """(accordion) => {
            const closed = [...accordion.querySelectorAll(".label-wrap:not(.open)")]
                .filter((header) => header.offsetParent !== null);
            closed.forEach((header) => header.click());
            return closed.length;
        }"""
        while self.control("enable").evaluate(unfold):
            self.page.wait_for_timeout(200)

    def open_group(self, heading: str) -> None:
        """Unfold one group of the accordion as soon as it is shown."""
        if heading != "Advanced":
            self.open_group("Advanced")
        header = self.control("enable").locator(".label-wrap", has_text=heading).last
        self.wait_until(header.is_visible)
        if "open" not in header.get_attribute("class").split():
            header.click()

    def _shown(self, element):
        """Unfolds what an element is in: a group may have been hidden when all were unfolded."""

        def is_shown() -> bool:
            if not element.is_visible():
                self.open_groups()
            return element.is_visible()

        self.wait_until(is_shown)
        return element

    def preset(self, name: str):
        """The button of a preset, unfolded where it is folded up."""
        button = self.control("enable").locator(f"[data-preset='{name}']")
        self.wait_until(lambda: button.count() > 0)
        return self._shown(button)

    def click_in_presets(self, words: str) -> None:
        """Press one of the buttons beside the presets."""
        self.control("preset_buttons").get_by_role("button", name=words, exact=True).click()

    def save_preset(self, name: str) -> None:
        """Save the values under a name."""
        form = self.control("preset_buttons").locator("form")
        if form.is_hidden():
            self.click_in_presets("Save as")
        form.locator("input").fill(name)
        self.click_in_presets("Save")

    def value(self, name: str):
        """A control's value, as a person reads it."""
        return self.page.evaluate(VALUE, self._id(name))

    def choose(self, name: str, choice: str) -> None:
        """Take one choice of a dropdown."""
        box = self._shown(self.control(name).locator("input"))
        box.click()
        box.fill(choice)
        box.press("Enter")
        box.press("Tab")

    def type_number(self, name: str, text: str) -> None:
        """Write into a slider's number field."""
        box = self._shown(self.control(name).locator("input[type=number]"))
        box.fill(text)
        box.press("Tab")

    def set_hidden(self, name: str, text: str) -> None:
        """Put a number into a slider's field that may not be seen, as a stored value is put."""
        box = self.control(name).locator("input[type=number]")
        box.evaluate("(box, text) => { box.value = text; updateInput(box); }", text)

    def wait_until(self, condition, limit: int = TIMEOUT) -> None:
        """Wait for what the server answers, `limit` milliseconds at most; `condition` is asked
        again and again.
        """
        for _ in range(limit // 100):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("it did not come true")

    def values(self) -> list:
        """What all controls show, in their order."""
        ids = [self._id(control.name) for control in CONTROLS]
        return self.page.evaluate(f"ids => ids.map({VALUE})", ids)

    def choose_checkpoint(self, name: str) -> None:
        """Take a checkpoint whose name begins so."""
        box = self.page.locator("#setting_sd_model_checkpoint input")
        box.click()
        box.fill(name)
        box.press("Enter")

    def set_size(self, width: int, height: int) -> None:
        """Write the size of the picture, in pixels."""
        for name, value in (("width", width), ("height", height)):
            box = self.page.locator(f"#{self.tab}_{name} input[type=number]")
            box.fill(str(value))
            box.press("Tab")

    def drag(self, x: float, y: float, to_x: float, moves: int = 20) -> None:
        """Press at a point of the window, in pixels, move along a line and release."""
        mouse = self.page.mouse
        mouse.move(x, y)
        mouse.down()
        for index in range(1, moves + 1):
            mouse.move(x + (to_x - x) * index / moves, y)
            self.page.wait_for_timeout(20)
        mouse.up()

    def drag_slider(self, name: str, start: float, end: float, moves: int = 20) -> None:
        """Drag a slider from a part of its length in [0, 1] to another."""
        (x, y), (to_x, _) = (self.slider_point(name, part) for part in (start, end))
        self.drag(x, y, to_x, moves)

    def slider_point(self, name: str, part: float) -> tuple[float, float]:
        """Where a slider's knob is, in the window's pixels, at a part of its length in [0, 1]."""
        slider = self.control(name).locator("input[type=range]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        return box["x"] + 8 + (box["width"] - 16) * part, box["y"] + box["height"] / 2

    def reads(self, selector: str) -> str:
        """The text of an element, with what stands in its text boxes."""
        words = "e => e.innerText + [...e.querySelectorAll('textarea')].map(t => t.value).join()"
        return self.page.locator(selector).evaluate(words)

    def paste(self, infotext: str) -> None:
        """Paste an infotext with the webui's arrow button."""
        self.page.locator("#txt2img_prompt textarea").fill(infotext)
        self.page.locator("#txt2img_tools #paste").click()

    def generate(self) -> np.ndarray:
        """Press Generate; the picture in the gallery."""
        gallery = f"#{self.tab}_gallery img"
        before = {image.get_attribute("src") for image in self.page.locator(gallery).all()}
        self.page.locator(f"#{self.tab}_generate").click()

        def source():
            images = self.page.locator(gallery)
            new = images.count() and images.first.get_attribute("src")
            return new if new and new not in before and "live" not in new else None

        self.wait_until(source)
        self.wait_until_idle()
        return read_picture(source())

    def wait_until_answered(self) -> None:
        """Wait until the server has answered all that gradio has asked it."""
        self.page.wait_for_timeout(500)  # gradio asks a moment after what it is asked for
        self.wait_until(lambda: all(socket.is_closed() for socket in self._sockets))

    def wait_until_idle(self) -> None:
        """Wait for the end of a generation."""
        self.wait_until(lambda: self.page.locator(f"#{self.tab}_interrupt").is_hidden())


def read_picture(address: str) -> np.ndarray:
    """The picture at an address, (height, width, 3)."""
    with urllib.request.urlopen(address) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))


@functools.cache
def _context():
    """The browser's pages share what it has read and compiled."""
    from playwright.sync_api import sync_playwright

    playwright = _open.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
    _open.callback(browser.close)
    return browser.new_context()


_open = contextlib.ExitStack()


def close_browser() -> None:
    """End the browser that `opened` has started; the next page starts another one."""
    _context.cache_clear()
    _open.close()


@contextlib.contextmanager
def opened(
    port: int, width: int = 1280, height: int = 1000, theme: str = "dark", before: str = ""
) -> Iterator[HostPage]:
    """A page of a host at a port of this machine; asserts that no script failed on it. `before` is
    a script that runs before the page's own. The browser stays until `close_browser`.
    """
    page = HostPage(_context().new_page(), port)
    try:
        page.page.set_viewport_size({"width": width, "height": height})
        page.page.add_init_script(before)
        page.open(theme)
        yield page
        assert page.errors == [], page.errors
    finally:
        page.page.close()
