"""Takes the README's pictures of the page, in the browser that the tests use.

python -m tests.page_pictures
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from standalone.checkpoint import SMALL, load
from standalone.server import Server, make_app
from tests.browser import HostPage, opened

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def main() -> None:
    """Take all pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(make_app({"small": lambda: load(SMALL)}, Path(folder))) as server,
    ):
        with opened(server.port, theme="light") as page:
            _two_passes(page)
            _save(page.control("drawings"), "drawings-light")
            _save(page.control("preset_buttons"), "presets")
        with opened(server.port, width=390, theme="dark") as page:
            _two_passes(page)
            _save(page.control("drawings"), "drawings-phone")
        with opened(server.port, height=900, theme="dark") as page:
            _compare(page)
            _save(page.page, "page")


def _two_passes(page: HostPage) -> None:
    """Near-sighted Attention on a base and a hires pass, with the alternating shift."""
    page.open_groups()
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    for name, size in (("width", 768), ("height", 512)):
        page.page.locator(f"#txt2img_{name} input[type=number]").fill(str(size))
    page.choose("method", "Near-sighted Attention")
    page.choose("tile_shift", "alternating")
    page.type_number("out_v_blend", "0.5")
    panel = page.control("drawings")
    page.wait_until(lambda: "tiles on" in panel.inner_text())
    page.page.wait_for_timeout(1000)


def _compare(page: HostPage) -> None:
    """A comparison of the preset "soft", at more strength."""
    page.page.locator("#txt2img_seed input").fill("3")
    page.page.locator("#txt2img_prompt textarea").fill(
        "a striped blue circle on a yellow background"
    )
    page.control("enable").locator(".label-wrap").first.click()
    page.page.locator("#tab_txt2img [data-preset='soft']").click()
    page.wait_until(lambda: page.value("out_v_blend") == 0.5)
    for name in ("in_slothful", "out_slothful"):
        page.type_number(name, "16")
    panel = page.control("drawings")
    panel.get_by_role("button", name="Compare off / on").click()
    page.wait_until(lambda: panel.locator(".slothful-compare").is_visible())
    page.wait_until_idle()
    panel.scroll_into_view_if_needed()
    page.page.mouse.wheel(0, 420)
    page.page.wait_for_timeout(500)


def _save(what, name: str) -> None:
    """Write a picture of an element, or of all that the window shows, in few colours."""
    picture = Image.open(io.BytesIO(what.screenshot())).convert("RGB")
    path = FOLDER / f"{name}.png"
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
