"""Takes the README's images of the page, in the browser that the tests use.

python -m tests.page_pictures
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from slothful_webui.infotext import KEY, write_infotext
from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.checkpoint import SMALL, load
from standalone.server import Server, make_app
from tests.browser import HostPage, close_browser, opened

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def main() -> None:
    """Take all pictures."""
    models = {"small": lambda: load(SMALL)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(make_app(models, Path(folder))) as server,
        Server(make_app(models, Path(folder), "ja_JP")) as japanese,
    ):
        with opened(server.port, width=1400, theme="light") as page:
            _first_view(page, "accordion")
            _two_passes(page)
            _save(page.control("drawings").locator(".slothful-parts"), "drawings-light")
        with opened(server.port, width=390, theme="dark") as page:
            _first_view(page, "drawings-phone")
        with opened(japanese.port, width=1400, theme="dark") as page:
            _first_view(page, "japanese")
        with opened(server.port, height=900, theme="dark") as page:
            _compare(page)
            _save(page.page, "page", 760)


def _first_view(page: HostPage, name: str) -> None:
    """The accordion as it is opened."""
    page.set_size(512, 512)
    page.enable()
    page.page.wait_for_timeout(500)  # which may unfold it
    page.open_first_view()
    page.page.wait_for_timeout(1500)
    _save(page.control("enable"), name)


def _two_passes(page: HostPage) -> None:
    """Near-sighted Attention on a base and a hires pass, with different sides."""
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    page.set_size(768, 512)
    page.choose("method", "Near-sighted Attention")
    page.type_number("out_slothful", "4")
    legend = page.control("drawings").locator(".slothful-key")
    page.wait_until(lambda: legend.count() == 2)
    page.page.wait_for_timeout(1000)


def _compare(page: HostPage) -> None:
    """A comparison of the preset "soft", at more strength."""
    soft = PresetFolders([SHIPPED]).load("soft").settings
    strong = write_infotext(soft.replace(in_slothful=16, out_slothful=16))
    page.paste(
        "a striped blue circle on a yellow background\n"
        f"Steps: 20, Sampler: Euler, CFG scale: 5, Seed: 3, Size: 256x256, {KEY}: {strong}"
    )
    page.wait_until(lambda: page.value("out_slothful") == 16)
    panel = page.control("drawings")
    page.wait_until(panel.is_visible)
    panel.get_by_role("button", name="Compare off / on").click()
    page.wait_until(panel.locator(".slothful-compare").is_visible)
    page.wait_until_idle()
    page.page.evaluate("window.scrollTo(0, 0)")
    page.page.set_viewport_size({"width": 1280, "height": 1880})
    page.page.wait_for_timeout(1000)


def _save(what, name: str, width: int = 0) -> None:
    """Write a picture, in few colours: of an element, or of all that the window shows, made smaller
    to a width.
    """
    picture = Image.open(io.BytesIO(what.screenshot())).convert("RGB")
    if width:
        height = picture.height * width // picture.width
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture = picture.quantize(256 if width else 64, dither=Image.Dither.NONE)
    path = FOLDER / f"{name}.png"
    picture.save(path, optimize=True)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    try:
        main()
    finally:
        close_browser()
