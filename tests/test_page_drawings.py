"""The drawings of the page, in a headless Chromium: schedules, map, tiles, arithmetic, notes.

On the embedded host's page, and with WEBUI_DIR on the real webui's too.
"""

import re

import pytest

from slothful import Moment, Settings, plan_site, shape_of
from slothful_webui.infotext import write_infotext
from tests.browser import NEEDS_CHROMIUM

pytestmark = NEEDS_CHROMIUM


def curve(panel, side, index=0):
    """The points of a drawn curve as (time, tokens per key), read off its pixels and the scale."""
    path = panel.locator(f"path.slothful-curve.slothful-{side}").nth(index)
    points = re.findall(r"([\d.]+),([\d.]+)", path.get_attribute("d"))
    field = panel.locator("rect.slothful-field").nth(index)
    x, y, width, height = (float(field.get_attribute(n)) for n in ("x", "y", "width", "height"))
    top = max(float(t) for t in panel.locator("svg text").all_text_contents() if t.isdigit())
    return [((float(a) - x) / width, (y + height - float(b)) / height * top) for a, b in points]


def test_the_curves_are_what_the_core_plans(page, panel, sd1_unet):
    sites = {own.site.name: own.site for own in shape_of(sd1_unet).sites}

    def planned(name, time):
        plan = plan_site(settings, Moment(0, time), sites[name], (32, 32))
        return 1 if plan is None else plan.tokens / plan.key_count

    page.set_size(256, 256)
    settings = Settings.from_mapping({"peak_time": 0.7, "time_decay": 3, "in_slothful": 20})
    for name, value in settings.changed().items():
        page.type_number(name, str(value))
    page.wait_until(lambda: panel.locator("path.slothful-curve").count() == 2)
    most = max(planned("IN01", time) for time, _ in curve(panel, "in"))
    page.wait_until(lambda: abs(max(s for _, s in curve(panel, "in")) - most) < 0.5)
    for side, name in (("in", "IN01"), ("out", "OUT11")):
        for time, tokens in curve(panel, side):
            # half a pixel is 0.2
            assert tokens == pytest.approx(planned(name, time), abs=0.5)


@pytest.mark.parametrize("method", ["Slothful Attention", "Near-sighted Attention"])
def test_the_chart_says_what_the_map_says(page, panel, method):
    page.set_size(512, 512)
    page.choose("method", method)
    page.type_number("in_slothful", "5")
    word = panel.locator("svg text", has_text="moment: ")
    scrub = panel.get_by_role("slider", name="Moment")
    cells = lambda *names: max(  # noqa: E731
        float(panel.get_by_role("button", name=re.compile(f"^{name}: ")).locator("b").inner_text())
        for name in names
    )
    page.wait_until(lambda: " / " in word.text_content())
    scrub.focus()
    for _ in range(3):
        scrub.press("ArrowLeft")
        said = lambda: (  # noqa: E731
            f"moment: {cells('IN01', 'IN02'):g} / {cells('OUT09', 'OUT10', 'OUT11'):g}"
        )
        page.wait_until(lambda said=said: word.text_content() == said())


def test_the_curve_follows_a_dragged_slider_and_a_dragged_peak_its_slider(page, panel):
    before = curve(panel, "in")
    page.drag_slider("peak_time", 0.4, 0.9)
    moved = page.value("peak_time")
    assert moved > 0.7
    page.wait_until(lambda: curve(panel, "in") != before)
    middle = lambda: [time for time, height in curve(panel, "in")  # noqa: E731
                      if height == max(s for _, s in curve(panel, "in"))]  # fmt: skip
    page.wait_until(lambda: min(middle()) <= moved + 0.05 and max(middle()) >= moved - 0.05)
    # and the other way: the knob moves the slider
    panel.scroll_into_view_if_needed()
    knob = panel.locator(".slothful-knob").bounding_box()
    field = panel.locator("rect.slothful-field").bounding_box()
    middle = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.drag(*middle, field["x"] + 0.2 * field["width"])
    page.wait_until(lambda: page.value("peak_time") == 0.2)


def test_the_peak_moves_by_keys_and_says_where_it_is(page, panel):
    peak = panel.locator(".slothful-peak")
    peak.focus()
    for key, expected in (("ArrowRight", 0.45), ("ArrowDown", 0.4), ("End", 1), ("Home", 0)):
        peak.press(key)
        page.wait_until(lambda expected=expected: page.value("peak_time") == expected)
        page.wait_until(
            lambda expected=expected: float(peak.get_attribute("aria-valuenow")) == expected
        )
    assert peak.get_attribute("aria-label") == "Peak time"


def test_steps_and_both_passes_are_drawn(page, panel):
    dots = panel.locator(".slothful-dot.slothful-in")
    steps = int(page.page.locator("#txt2img_steps input[type=number]").input_value())
    page.wait_until(lambda: dots.count() == steps)
    assert panel.locator(".slothful-start").count() == 0
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    page.wait_until(lambda: dots.count() == 2 * steps)
    assert panel.locator("rect.slothful-field").count() == 2
    # the second one begins inside the axis of the noise level, and at the start of the pass' own
    assert panel.locator(".slothful-start").count() == 1
    # of both passes and of the whole image
    assert page.control("details").locator("tbody tr").count() == 3
    page.choose("time_axis", "pass progress")
    page.wait_until(lambda: panel.locator(".slothful-start").count() == 0)


def test_the_hires_pass_is_drawn_with_the_sampler_of_its_own_field(page, panel):
    """The embedded host lacks the webui's field, so it is put there."""
    page.page.locator("#txt2img_hr-visible-checkbox").check()
    dots = panel.locator(".slothful-dot.slothful-in")
    page.wait_until(lambda: dots.count() == 40)
    places = lambda: [dot.get_attribute("cx") for dot in dots.all()]  # noqa: E731
    before = places()
    page.page.evaluate(
        """() => {
            if (!document.querySelector("#hr_sampler")) {
                document.body.insertAdjacentHTML("beforeend", "<p id=hr_sampler><input></p>");
            }
            const base = document.querySelector("#txt2img_sampling input").value;
            document.querySelector("#hr_sampler input").value =
                base === "Euler" ? "DPM++ 2M" : "Euler";
        }"""
    )
    page.wait_until(lambda: places() != before)
    assert places()[:20] == before[:20]


def test_the_start_of_img2img_is_marked(page):
    page.go_to("img2img")
    page.tab = "img2img"
    page.open_groups()
    panel = page.control("drawings")
    page.wait_until(lambda: panel.locator(".slothful-start").count() == 1)


def test_the_map_shows_the_moment_and_edits_weights(page, panel):
    cell = panel.get_by_role("button", name=re.compile("^IN01: "))
    page.type_number("in_slothful", "6")
    page.wait_until(lambda: float(cell.locator("b").inner_text()) > 4)
    scrub = panel.get_by_role("slider", name="Moment")
    scrub.focus()
    scrub.press("End")
    page.wait_until(lambda: cell.locator("b").inner_text() == "off"
                    or float(cell.locator("b").inner_text()) < 4)  # fmt: skip
    assert re.match(r"base, step (\d+) of \1, noise", scrub.get_attribute("aria-valuetext"))
    cell.click()
    weight = panel.get_by_role("slider", name="Block weight")
    weight.press("Home")
    page.wait_until(lambda: page.value("IN01") == 0)
    page.wait_until(lambda: "weight 0" in cell.get_attribute("aria-label"))
    weight.press("Escape")
    assert weight.is_hidden()
    assert cell.evaluate("cell => cell === document.activeElement")


def test_the_map_tells_agents_from_keys_and_how_many_channels_there_are(page, panel):
    cell = panel.get_by_role("button", name=re.compile("^IN01: "))
    page.choose("method", "Agent Attention")
    page.wait_until(lambda: re.search(r"tokens per agent, \d+ agents", cell.get_attribute("title")))
    page.choose("method", "Sleep only")
    page.open_group("Fewer channels")
    page.type_number("channels_depth_1", "0.5")
    page.wait_until(lambda: "keys, 50 % of the channels" in cell.get_attribute("title"))


def test_tiles_are_drawn_with_their_shift(page, panel):
    page.set_size(512, 256)
    page.choose("method", "Near-sighted Tile")
    page.open_group("Tiles")
    page.type_number("tile_size", "32")
    tiles = page.control("details").locator(".slothful-tiles")
    lines = tiles.locator("path.slothful-windows")
    page.wait_until(lambda: "1x2 tiles on 32x64 tokens" in tiles.inner_text())
    assert lines.get_attribute("d") == "M32 0V32"
    page.choose("tile_shift", "alternating")
    page.wait_until(lambda: "tiles on 32x64" in tiles.inner_text()
                    and lines.get_attribute("d") == "M16 0V32M48 0V32")  # fmt: skip
    scrub = panel.get_by_role("slider", name="Moment")
    scrub.focus()
    scrub.press("ArrowRight")
    page.wait_until(lambda: lines.get_attribute("d") == "M32 0V32")


def test_arithmetic_left_and_the_warning_of_few_keys(page, panel):
    page.set_size(256, 256)
    page.wait_until(lambda: "base 256x256" in panel.locator(".slothful-chart").text_content())
    share = lambda: int(page.control("details").locator("tbody td").first.inner_text().split()[0])  # noqa: E731
    page.wait_until(lambda: 0 < share() < 100)
    strong = share()
    page.type_number("in_slothful", "4")
    page.type_number("out_slothful", "4")
    page.wait_until(lambda: share() > strong)
    weak = share()
    page.type_number("in_slothful", "12")
    page.type_number("out_slothful", "12")
    page.wait_until(lambda: share() < weak)
    assert panel.locator(".slothful-notes").is_hidden()
    page.type_number("in_slothful", "50")
    page.type_number("out_slothful", "50")
    page.wait_until(lambda: "Too few keys:" in panel.inner_text())


# -- what is refused


def test_a_value_out_of_range_is_named_and_what_is_drawn_is_faded_meanwhile(page, panel):
    page.control("peak_time").locator("input[type=number]").fill("7")
    said = "Peak time must be between 0 and 1, got 7"
    page.wait_until(lambda: said in panel.inner_text())
    assert said in page.control("peak_time").inner_text()
    opacity = "parts => getComputedStyle(parts).opacity"
    chart = panel.locator(".slothful-parts")
    assert float(chart.evaluate(opacity)) < 0.6
    page.click_in_presets("Reset")
    page.wait_until(lambda: "must be" not in page.control("enable").inner_text())
    assert float(chart.evaluate(opacity)) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("peak_time", "7", "Peak time must be between 0 and 1, got 7"),
        ("OUT09", "-1", "Block weight OUT09 must be between 0 and 2, got -1"),
    ],
)
def test_the_control_of_a_refused_value_is_shown(page, name, value, said):
    """As a stored value may be, in a group that is folded up."""
    page.control("enable").locator(".label-wrap").first.click()
    panel = page.control("drawings")
    page.wait_until(lambda: panel.locator(".slothful-cell").count() > 0)
    control = page.control(name)
    assert control.is_hidden()
    page.set_hidden(name, value)
    page.wait_until(control.is_visible)
    assert said in control.inner_text()
    # it can be folded up again
    page.control("enable").locator(".label-wrap.open").last.click()
    page.page.wait_for_timeout(1000)
    assert control.is_hidden()


# -- what has no effect


NOTHING = [
    ({"passes": "hires"}, "it is set to apply in the hires pass only, and"),
    ({"min_size": 512}, "the shorter side of the image is below"),
    ({"in_slothful": 1, "out_slothful": 1}, "the strength never exceeds 1"),
    ({"method": "Plain Tiles"}, "the tiles are at least as large as the image"),
    ({"method": "Token Merging", "merge_attention": False}, "merging is off for"),
]


def test_nothing_will_change_is_said_before_with_the_reason(page, panel):
    for values, reason in NOTHING:
        page.paste("x\nSteps: 8, Size: 256x256, Slothful Attention: "
                   + write_infotext(Settings.from_mapping(values)))  # fmt: skip
        said = f"Nothing will change: {reason}"
        page.wait_until(lambda said=said: said in panel.inner_text())
        page.wait_until(lambda: set(panel.locator(".slothful-cell b").all_inner_texts()) == {"off"})
        assert panel.locator(".slothful-dot, .slothful-key").count() == 0
        assert panel.locator(".slothful-saved").is_hidden()
        page.click_in_presets("Reset")
        page.wait_until(lambda: "Nothing will change" not in panel.inner_text())
        page.wait_until(lambda: panel.locator(".slothful-saved").is_visible())


def test_a_control_without_effect_says_what_stands_in_its_way(page, panel):
    note = lambda name: page.control(name).locator(".slothful-note")  # noqa: E731
    for side in ("in", "out"):
        said = "Only 1D or 2D matters while key blend is 0 and value blend is 0."
        page.wait_until(lambda side=side: note(f"{side}_mode").count() > 0)
        assert note(f"{side}_mode").inner_text() == said
    page.type_number("in_v_blend", "0.5")
    page.wait_until(note("in_mode").is_hidden)
    assert note("out_mode").is_visible()
    assert note("vae_tile_size").inner_text() == "No effect while Tile the VAE is off."
    page.control("vae_tiles").locator("input").check()
    page.wait_until(note("vae_tile_size").is_hidden)
    page.type_number("time_decay", "0")
    page.wait_until(lambda: note("peak_time").count() > 0)
    assert note("peak_time").inner_text() == "No effect while Time decay is 0."


def test_the_legend_says_what_is_drawn_and_nothing_else(page, panel):
    legend = lambda: panel.locator(".slothful-key").all_inner_texts()  # noqa: E731
    page.wait_until(lambda: legend() == ["input and output"])
    page.type_number("out_slothful", "4")
    page.wait_until(lambda: legend() == ["input blocks", "output blocks"])
    assert panel.locator(".slothful-dot.slothful-out").count() == 20
    page.type_number("out_slothful", "0")
    page.wait_until(lambda: legend() == ["input blocks"])
    assert panel.locator(".slothful-dot.slothful-out").count() == 0
    page.choose("sleep", "deep blocks")
    page.wait_until(lambda: legend() == ["input blocks", "asleep"])
