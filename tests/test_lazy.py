"""The wish "lazy": over the API, in a plot, and on the page."""

import copy
import types

import pytest

import slothful
from slothful import Settings, SettingsError
from slothful_webui import axes
from slothful_webui.arguments import read_arguments
from slothful_webui.controls import values_of
from slothful_webui.infotext import KEY, write_infotext
from slothful_webui.lazy import choose_for, choose_for_request, fields_of
from slothful_webui.passes import Fields
from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner, find_host_modules
from tests.browser import NEEDS_CHROMIUM
from tests.test_axes import AxisOption

find_host_modules()
ASLEEP = Settings(method="Sleep only", sleep="deep blocks", sleep_every=3)


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def choose(level):
    """What is chosen for any request."""
    return {"off": Settings(method="Sleep only"), "balanced": ASLEEP}[level]


# -- over the API


def test_a_wish_gives_the_values_and_those_that_are_named_go_before_them():
    assert read_arguments([{"lazy": "balanced"}], None, choose) == ASLEEP
    assert read_arguments(['{"lazy": "Balanced "}'], None, choose) == ASLEEP
    named = read_arguments([{"lazy": "balanced", "sleep_every": 2}], None, choose)
    assert named == ASLEEP.replace(sleep_every=2)
    assert read_arguments([{"lazy": "balanced", "enabled": False}], None, choose) is None


@pytest.mark.parametrize("none", ["custom", None])
def test_custom_chooses_nothing(none):
    assert read_arguments([{"lazy": none, "peak_time": 0.7}], None, choose) == Settings(
        peak_time=0.7
    )


@pytest.mark.parametrize("level", ["x", 3, True, ["off"], {"a": 1}, "x" * 5000])
def test_a_wish_that_is_none_is_refused_by_name_and_value(level):
    with pytest.raises(SettingsError, match="lazy must be one of off, gentle, balanced, strong"):
        read_arguments([{"lazy": level}], None, choose)


def test_a_wrong_value_beside_a_wish_is_refused():
    with pytest.raises(SettingsError, match="peak_time must be between 0 and 1, got 7"):
        read_arguments([{"lazy": "balanced", "peak_time": 7}], None, choose)


def test_a_request_gets_what_the_page_would_and_its_infotext_the_explicit_values(model):
    request = Processing(model, width=128, height=128, steps=20, enable_hr=True, hr_scale=1.5)
    fields = fields_of(request)
    assert fields.hires_size == (192, 192)
    expected = choose_for("balanced", fields, model)
    assert choose_for_request("balanced", request, model) == expected
    assert expected.sleep == "deep blocks"
    made = process_images(request, ScriptRunner([{"lazy": "balanced"}]))
    assert f"{KEY}: {write_infotext(expected)}" in made.infotexts[0]
    assert "lazy" not in made.infotexts[0]
    # what is written makes the same image again
    again = Processing(model, width=128, height=128, steps=20, enable_hr=True, hr_scale=1.5)
    explicit = process_images(again, ScriptRunner([expected.changed()]))
    assert explicit.images[0].tobytes() == made.images[0].tobytes()


def test_off_changes_nothing_and_says_so(model):
    request = Processing(model, width=64, height=64, steps=3)
    made = process_images(request, ScriptRunner([{"lazy": "off"}]))
    plain = process_images(Processing(model, width=64, height=64, steps=3), ScriptRunner([]))
    assert made.images[0].tobytes() == plain.images[0].tobytes()
    assert KEY not in made.infotexts[0]
    assert "nothing was applied: no method is chosen" in made.comments[0]


def test_a_refused_wish_fails_the_request(model):
    request = Processing(model, width=64, height=64, steps=2)
    with pytest.raises(RuntimeError, match="lazy must be one of"):
        process_images(request, ScriptRunner([{"lazy": "much"}]))


def test_passes_of_few_steps_are_left_alone(model):
    for level in ("gentle", "balanced", "strong"):
        chosen = choose_for(level, Fields(width=128, height=128, steps=4), model)
        assert slothful.why_nothing(chosen, (), []) is not None
        assert chosen == Settings(method="Sleep only")
    assert choose_for("strong", Fields(), None) == Settings(method="Sleep only")


# -- in a plot


def test_a_plot_has_an_axis_of_wishes(tmp_path):
    module = types.SimpleNamespace(axis_options=[], AxisOption=AxisOption)
    data = types.SimpleNamespace(path="/webui/scripts/xyz_grid.py", module=module)
    axes.add_axes([data], PresetFolders([SHIPPED, tmp_path]))
    found = {option.label: option for option in module.axis_options}
    option = found["[Slothful] Lazy"]
    assert option.choices() == ["off", "gentle", "balanced", "strong", "custom"]
    with pytest.raises(SettingsError, match="lazy must be one of"):
        option.confirm(None, ["off", "much"])
    cell = copy.copy(types.SimpleNamespace())
    option.apply(cell, "balanced", [])
    moved = values_of(Settings(peak_time=0.9, sleep="transformers"))
    # the page's list holds values that nobody has moved, too
    assert read_arguments([False, *moved], axes.overrides_of(cell), choose) == ASLEEP
    found["[Slothful] Awake every"].apply(cell, 4.0, [])
    chosen = read_arguments([False, *moved], axes.overrides_of(cell), choose)
    assert chosen == ASLEEP.replace(sleep_every=4)


# -- on the page


@NEEDS_CHROMIUM
def test_a_wish_sets_the_values_and_a_value_moved_by_hand_ends_it(page, panel):
    def button(level):
        return page.page.locator(f"#tab_txt2img [data-level='{level}']")

    def pressed(level):
        return button(level).get_attribute("aria-pressed") == "true"

    page.set_size(256, 256)
    assert pressed("custom")
    button("strong").click()
    page.wait_until(lambda: page.values() == values_of(ASLEEP))
    page.page.wait_for_timeout(800)
    assert pressed("strong")
    page.type_number("sleep_every", "2.5")
    page.wait_until(lambda: pressed("custom"))
    assert not pressed("strong")
    button("off").click()
    page.wait_until(lambda: page.values() == values_of(Settings(method="Sleep only")))


@NEEDS_CHROMIUM
def test_other_steps_get_other_values_while_a_wish_holds(page, panel):
    button = page.page.locator("#tab_txt2img [data-level='gentle']")
    asleep = Settings(method="Sleep only", sleep="deep blocks")
    page.set_size(256, 256)
    button.click()
    page.wait_until(lambda: page.values() == values_of(asleep))
    steps = page.page.locator("#txt2img_steps input[type=number]")
    steps.fill("4")
    steps.press("Tab")
    page.wait_until(lambda: page.values() == values_of(Settings(method="Sleep only")))
    assert button.get_attribute("aria-pressed") == "true"
    steps.fill("20")
    steps.press("Tab")
    page.wait_until(lambda: page.values() == values_of(asleep))
