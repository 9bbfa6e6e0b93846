"""The first view of the page, in a headless Chromium: its size, one strength, pairs of a batch.

On the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import json

import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from slothful_webui.infotext import write_infotext
from tests.browser import NEEDS_CHROMIUM, opened, read_picture
from tests.webui import REQUEST

pytestmark = NEEDS_CHROMIUM

MOST_HEIGHT = {1400: 600, 390: 900}
"""Pixels of the whole accordion when it is opened, by the window's width."""

SMALL_ONES = """accordion => [...accordion.querySelectorAll(
        "button, input, select, textarea, [role=button], [role=slider]")]
    .filter(one => one.offsetParent || one.ownerSVGElement?.parentElement?.offsetParent)
    .filter(one => { // a box is hit by its label, too, and a line by what lies around it
        const hit = one.querySelector(".slothful-grip");
        const {width, height} = (one.closest("label") || one).getBoundingClientRect();
        const wide = hit ? parseFloat(getComputedStyle(hit).strokeWidth) : width;
        return Math.min(wide, height) < 24;
    }).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def first(page):
    """The panel with Advanced folded up."""
    return page.open_first_view()


@pytest.mark.parametrize("width", MOST_HEIGHT)
def test_the_first_view_fits_and_fingers_can_hit_it(host, width):
    with opened(host.port, width=width, theme="light") as page:
        panel = page.open_first_view()
        page.wait_until(lambda: "Saves" in panel.inner_text())
        accordion = page.control("enable")
        assert accordion.bounding_box()["height"] <= MOST_HEIGHT[width]
        for words in ("Lazy", "Strength", "Presets", "Tokens per key over time", "Compare"):
            assert words in panel.inner_text()
        assert page.control("method").is_hidden()
        assert panel.evaluate("p => p.scrollWidth <= p.clientWidth")
        assert accordion.evaluate(SMALL_ONES) == []
        page.open_groups()
        assert accordion.evaluate(SMALL_ONES) == []


def test_one_strength_moves_both_sides_and_keeps_what_lies_between(page, first):
    slider = first.get_by_role("slider", name="Strength")
    shown = lambda: (page.value("in_slothful"), page.value("out_slothful"))  # noqa: E731
    slider.focus()
    slider.press("ArrowRight")
    page.wait_until(lambda: shown() == (12.5, 12.5))
    page.set_hidden("out_slothful", "8")
    page.wait_until(lambda: "input 12.5, output 8" in first.inner_text())
    box = first.get_by_role("spinbutton", name="Strength")
    box.fill("4")  # on the way the smaller one reaches the end of its range
    page.wait_until(lambda: shown() == (4, 0))
    box.fill("20")
    page.wait_until(lambda: shown() == (20, 15.5))
    box.press("Tab")
    page.wait_until(lambda: "input 20, output 15.5" in first.inner_text())


@pytest.mark.parametrize(
    ("changes", "label", "name"),
    [
        ({"method": "Token Merging"}, "Merge ratio", "merge_ratio"),
        ({"method": "Near-sighted Tile"}, "Tile size", "tile_size"),
        ({"method": "Sleep only", "sleep": "deep blocks"}, "Awake every", "sleep_every"),
    ],
)
def test_where_there_are_no_sides_it_is_what_says_how_strong(page, first, changes, label, name):
    settings = Settings.from_mapping(changes)
    page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(settings)}")
    page.wait_until(lambda: page.values() == values_of(settings))
    slider = first.get_by_role("slider", name=label, exact=True)
    page.wait_until(slider.is_enabled)
    slider.press("ArrowRight")
    page.wait_until(lambda: page.value(name) > getattr(settings, name))


def test_help_is_a_line_and_all_of_it_for_who_asks(page, panel):
    kept = page.control("kept_token")
    parameter = Settings.parameter("kept_token")
    more = kept.get_by_role("button", name="more")
    assert parameter.help not in kept.inner_text()
    more.click()
    assert parameter.help in kept.inner_text()
    kept.get_by_role("button", name="less").click()
    assert parameter.help not in kept.inner_text()
    # a box stands above its help
    box = page.control("only_where_it_pays")
    places = [box.locator(part).bounding_box()["y"] for part in ("input", ".slothful-more")]
    assert places == sorted(places)
    assert all(len(each.short_help) <= 85 for each in Settings.parameters())


def test_every_pair_of_a_batch_is_compared_at_the_top(page, first):
    strong = Settings(time_decay=0, in_slothful=12, out_slothful=9)
    page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(strong)}")
    page.wait_until(lambda: page.values() == values_of(strong))
    page.page.locator("#txt2img_batch_count input[type=number]").fill("2")
    page.page.locator("#txt2img_batch_count input[type=number]").press("Tab")
    button = first.get_by_role("button", name="Compare off / on")
    assert button.bounding_box()["height"] >= 36
    button.click()
    compared = first.locator(".slothful-compare")
    page.wait_until(compared.is_visible)
    page.wait_until_idle()
    assert compared.bounding_box()["y"] < first.locator(".slothful-lazy").bounding_box()["y"]
    pictures = lambda: [  # noqa: E731
        read_picture(image.get_attribute("src")).tobytes()
        for image in compared.locator("img").all()
    ]
    seen = {"1 / 2": pictures()}
    compared.get_by_role("button", name="Next pair").click()
    page.wait_until(lambda: "2 / 2" in compared.inner_text())
    seen["2 / 2"] = pictures()
    assert len({image for pair in seen.values() for image in pair}) == 4
    info = json.loads(page.page.locator("#generation_info_txt2img textarea").input_value())
    made = ["Slothful Attention: v2" in text for text in info["infotexts"]]
    assert made[-4:] == [False, True, False, True]
    compared.get_by_role("button", name="Close").click()
    assert compared.is_hidden()
