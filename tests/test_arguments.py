"""The script's arguments: lists, objects and texts, of this version's page and of older ones."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import Settings, SettingsError
from slothful_webui import infotext, layouts
from slothful_webui.arguments import read_arguments, wants_comparison
from slothful_webui.controls import CONTROLS, named, values_of
from tests.test_settings import UNREADABLE, Unreadable, any_settings


@given(any_settings)
def test_all_forms_of_arguments_mean_the_same(settings):
    values = settings.as_dict()
    assert read_arguments([True, *values_of(settings)]) == settings
    assert read_arguments([values]) == settings
    assert read_arguments([{**values, "enabled": True}]) == settings
    assert read_arguments([json.dumps(values)]) == settings


def test_a_json_string_is_read_like_an_object():
    assert read_arguments(['{"peak_time": 0.1}']) == Settings(peak_time=0.1)
    with pytest.raises(SettingsError, match="not valid JSON"):
        read_arguments(['{"peak_time"'])


def test_switched_off_means_nothing_is_applied_and_nothing_is_checked():
    assert read_arguments([]) is None
    assert read_arguments(None) is None
    assert read_arguments([None]) is None
    assert read_arguments([False, "nonsense", -1]) is None
    assert read_arguments([{"enabled": False, "peak_time": 9}]) is None


def test_missing_positions_keep_their_defaults():
    assert read_arguments([True, "Near-sighted Tile"]) == Settings(method="Near-sighted Tile")


def test_errors_name_the_parameter_in_every_form():
    for arguments in ([True, "Slothful Attention", 7], [{"peak_time": 7}], ['{"peak_time": 7}']):
        with pytest.raises(SettingsError, match="peak_time must be between 0 and 1, got 7"):
            read_arguments(arguments)
    with pytest.raises(SettingsError, match="enabled must be true or false, got 'maybe'"):
        read_arguments(["maybe"])


def test_an_error_in_a_slider_of_a_block_names_the_block():
    values = [True, *values_of(Settings())]
    values[46] = 7
    with pytest.raises(
        SettingsError, match=r"block_weights\[OUT11\] must be between 0 and 2, got 7"
    ):
        read_arguments(values)


# -- whatever a request holds


class UnreadableMapping(dict):
    """Fails while it is read."""

    def keys(self):
        raise RuntimeError("unreadable")

    __iter__ = items = keys


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_no_value_can_switch_the_effect_off_silently(value):
    for arguments in (
        [value], [True, value], [True, "Slothful Attention", value], [{"peak_time": value}],
        [{"enabled": value}], [{"block_weights": value}], [{"block_weights": {"IN01": value}}],
        [{}, value], [{"peak_time": 0.1}, "Slothful Attention", 0.4, value],
    ):  # fmt: skip
        with pytest.raises(SettingsError) as error:
            read_arguments(arguments)
        said = str(error.value)
        named = r"enabled|method|peak_time|time_decay|block_weights|unknown parameter"
        assert re.match(rf"({named})\b.* (must be|has no block|'0') ?", said)
        assert len(said.splitlines()) == 1
        assert len(said) < 500
    for arguments in ([{"compare": value}], [True, *values_of(Settings()), value]):
        with pytest.raises(SettingsError, match="compare must be true or false, got "):
            wants_comparison(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [UnreadableMapping()],
        ["{" + "[" * 100_000],
        ['{"peak_time": ' + "[" * 100_000],
        ['{"peak_time": ' + "9" * 5000 + "}"],
        ['{"peak_time": 0.1} and more'],
        ["{\ud800"],
    ],
)
def test_what_cannot_even_be_taken_apart_is_refused_too(arguments):
    for read in (read_arguments, wants_comparison):
        with pytest.raises(
            SettingsError, match=r"^the arguments (cannot be read|are not valid JSON)"
        ):
            read(arguments)


def test_an_object_that_fails_in_a_way_of_its_own_is_refused_by_name():
    for arguments in ([True, Unreadable()], [{"method": Unreadable()}]):
        with pytest.raises(SettingsError, match=r"^method must be one of .*, got <Unreadable"):
            read_arguments(arguments)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
any_named = st.dictionaries(
    st.sampled_from([p.name for p in Settings.parameters()] + ["enabled", "compare"]), any_json
)


@given(st.lists(any_json) | st.lists(any_named | any_named.map(json.dumps), max_size=2))
def test_every_list_is_off_or_settings_or_a_refusal(arguments):
    for read in (read_arguments, wants_comparison):
        try:
            answer = read(arguments)
        except SettingsError as error:
            answer = str(error)
        assert answer is None or isinstance(answer, (bool, Settings)) or 10 < len(answer) < 1000


# -- what follows an object


@given(any_settings)
def test_behind_an_object_the_webui_puts_the_pages_defaults_or_what_an_infotext_says(settings):
    values = [{"peak_time": 0.1}]
    expected = Settings(peak_time=0.1)
    assert read_arguments([*values, *values_of(Settings()), False]) == expected
    assert read_arguments([*values, *[None] * 80]) == expected
    _, *targets = infotext.paste_targets(list)
    text = {infotext.KEY: infotext.write_infotext(settings)}
    pasted = [target(text) for target in targets]
    assert read_arguments([*values, *pasted, False]) == expected
    # a value of the request itself among them
    pasted[1] = 0.33
    with pytest.raises(SettingsError, match=r"^peak_time must be among the values of the object"):
        read_arguments([*values, *pasted, False])


@pytest.mark.parametrize("position", range(1, len(CONTROLS) + 3))
@pytest.mark.parametrize("first", [{"time_decay": 1}, '{"time_decay": 1}'])
def test_anything_else_behind_an_object_is_refused_by_name(first, position):
    names = [*layouts.LAYOUT, f"argument {len(CONTROLS) + 3}"]
    arguments = [first, *values_of(Settings()), False][:position]
    for value in ({"peak_time": 0.5}, "ignored", [], 77):
        with pytest.raises(SettingsError) as error:
            read_arguments([*arguments, value])
        assert str(error.value).startswith(f"{names[position - 1]} must be among the values of")
    # off is off
    assert read_arguments([{"enabled": False}, *arguments[1:], "ignored"]) is None


# -- lists of older pages

HEAD = [
    "method", "peak_time", "time_decay", "time_axis", "keep_middle",
    "in_mode", "in_depth_decay", "in_slothful", "in_k_blend", "in_v_blend",
    "out_mode", "out_depth_decay", "out_slothful", "out_k_blend", "out_v_blend",
    "rounding", "tiling_max_depth", "tile_size", "global_ratio", "base_tile_size",
    "peak_tile_size", "base_global_ratio", "peak_global_ratio", "tile_shift", "passes", "min_size",
]  # fmt: skip
SITES = [
    "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00",
    "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09",
    "OUT10", "OUT11",
]  # fmt: skip
OTHERS = [
    "kept_token", "tile_halo", "plain_tile_size", "plain_scale_depth", "plain_max_depth",
    "plain_swap", "merge_ratio", "merge_ratio_img2img", "merge_ratio_hires", "merge_depth_decay",
    "merge_max_downsample", "merge_stride_x", "merge_stride_y", "merge_random", "merge_attention",
    "merge_cross", "merge_mlp", "merge_keys_only", "merge_proportional", "downsample_mode",
    "downsample_depth_1", "downsample_depth_2", "downsample_depth_3", "min_width", "min_height",
    "vae_tiles", "vae_tile_size",
]  # fmt: skip
PAYS = "only_where_it_pays"
RELEASED = {
    28: [*HEAD, "block_weights"],
    46: [*HEAD, *SITES],
    47: [*HEAD, PAYS, *SITES],
    48: [*HEAD, PAYS, *SITES, "compare"],
    74: [*HEAD, PAYS, *SITES, *OTHERS],
    75: [*HEAD, PAYS, *SITES, *OTHERS, "compare"],
}
"""What the arguments behind "enabled" were, by the length of a page's list, as pages sent them."""


def sent(names, settings, compare):
    """What a page with these controls sends."""
    weights = Settings.parameter("block_weights").format(settings.block_weights)
    own = {**settings.as_dict(), "block_weights": weights, "compare": compare}
    return [own[n] if n in own else settings.block_weights.get(n, 1) for n in names]


def told(names, settings):
    """The settings that a page with these controls can tell."""
    known = {n: v for n, v in settings.as_dict().items() if n in names or n == "block_weights"}
    return Settings(**known)


@pytest.mark.parametrize("length", RELEASED)
@given(settings=any_settings, compare=st.booleans())
def test_the_list_of_every_page_that_there_was_keeps_its_meaning(length, settings, compare):
    names = RELEASED[length]
    arguments = [True, *sent(names, settings, compare)]
    assert len(arguments) == length
    page = [False, *values_of(Settings()), False]
    # as it was sent, and filled up by the webui's API with this page's defaults
    for whole in (arguments, arguments + page[length:]):
        assert read_arguments(whole) == told(names, settings)
        assert wants_comparison(whole) == (compare and "compare" in names)


HIDDEN = {p.name for p in Settings.parameters() if not p.used_by(Settings().method)}
"""What the default method does not use, and where nothing is an error."""


@pytest.mark.parametrize("length", RELEASED)
def test_an_error_in_an_older_list_names_what_lies_there(length):
    names = RELEASED[length]
    # by what lies at the first place where the lists differ they are told apart
    sign = next((i for i, name in enumerate(names) if name != layouts.LAYOUT[i]), None)
    for place, name in enumerate(names):
        if place == sign or name in HIDDEN:
            continue
        arguments = [True, *sent(names, Settings(), False)]
        arguments[1 + place] = [7]
        read = wants_comparison if name == "compare" else read_arguments
        with pytest.raises(SettingsError, match=rf"^(block_weights\[)?{name}\]? must be .* \[7\]$"):
            read(arguments)


def test_texts_say_the_same_as_values():
    for names in RELEASED.values():
        values = sent(names, Settings(peak_time=0.1, block_weights={"IN01": 0.5}), True)
        texts = [str(value) for value in values]
        assert read_arguments(["true", *texts]) == read_arguments([True, *values])
        assert wants_comparison(["true", *texts]) == ("compare" in names)


def test_positions_never_change_their_meaning():
    """Requests written for an earlier version rely on this order; new names go to the end."""
    names = [control.name for control in CONTROLS]
    assert names[: len(RELEASED[74])] == RELEASED[74]


def test_this_versions_list_is_told_from_every_older_one():
    """A parameter that is added where an older page has its box must not be a switch."""
    for layout in layouts.OLDER_LAYOUTS:
        if layout == layouts.LAYOUT[: len(layout)]:
            continue
        place = next(i for i, name in enumerate(layout) if name != layouts.LAYOUT[i])
        if layout[place] == "compare":
            control = CONTROLS[place]
            assert control.is_site or control.parameter.kind != "bool"
    released = [list(names) for names in RELEASED.values()]
    assert all(list(layout) in released for layout in layouts.OLDER_LAYOUTS)


@given(any_settings, st.booleans())
def test_this_pages_own_list_is_never_taken_for_an_older_one(settings, compare):
    values = [*values_of(settings), compare]
    assert layouts.layout_of(values) == layouts.LAYOUT
    assert Settings.from_mapping(named(values)) == settings
