"""Settings: validation, parsing and the errors a person gets to read."""

import copy
import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import KNOWN_SITES, METHODS, Settings, SettingsError, echo


def values_of(parameter):
    """A strategy for every allowed value of a parameter."""
    if parameter.kind == "bool":
        return st.booleans()
    if parameter.kind == "choice":
        return st.sampled_from(parameter.choices)
    if parameter.kind == "int":
        return st.integers(int(parameter.minimum), int(parameter.maximum))
    numbers = st.floats(parameter.minimum, parameter.maximum)
    if parameter.least is not None:
        numbers = st.just(0.0) | st.floats(parameter.least, parameter.maximum)
    if parameter.kind == "weights":
        return st.dictionaries(st.sampled_from(KNOWN_SITES), numbers)
    return numbers


def within_the_limit_of_merging(values):
    """The one limit that several parameters share."""
    limit = 1 - 1 / (values.get("merge_stride_x", 2) * values.get("merge_stride_y", 2))
    ratios = {n: min(values.get(n, d), limit) for n, d in MERGE_RATIOS.items()}
    return {**values, **ratios}


MERGE_RATIOS = {"merge_ratio": 0.5, "merge_ratio_img2img": 0.0, "merge_ratio_hires": 0.0}
any_settings = (
    st.fixed_dictionaries({}, optional={p.name: values_of(p) for p in Settings.parameters()})
    .map(within_the_limit_of_merging)
    .map(Settings.from_mapping)
)


@given(any_settings)
def test_settings_survive_being_written_as_values_or_as_text(settings):
    assert Settings.from_mapping(settings.as_dict()) == settings
    as_text = {p.name: p.format(getattr(settings, p.name)) for p in Settings.parameters()}
    assert Settings.from_mapping(as_text) == settings
    assert Settings.from_mapping(settings.changed()) == settings


def using(parameter):
    """Settings that use a parameter: a method of which it is."""
    return {"method": parameter.methods[0]} if parameter.methods else {}


@pytest.mark.parametrize("parameter", Settings.parameters(), ids=lambda p: p.name)
def test_values_outside_the_range_are_refused_by_name_and_range(parameter):
    bad = [None, [], "nonsense=", math.nan, math.inf]
    if parameter.minimum is not None and parameter.kind != "weights":
        bad += [parameter.minimum - 1, parameter.maximum + 0.01, str(parameter.maximum + 1), True]
    if parameter.least is not None:
        bad += [0.1, parameter.least - 0.01]
    if parameter.kind == "int":
        bad.append(parameter.minimum + 0.5)
    for value in bad:
        with pytest.raises(SettingsError) as error:
            Settings(**{**using(parameter), parameter.name: value})
        message = str(error.value)
        assert parameter.name in message
        if parameter.kind != "weights":
            assert repr(value) in message
            assert parameter.range_text in message


@pytest.mark.parametrize("name", MERGE_RATIOS)
def test_more_than_the_destinations_leave_cannot_be_merged(name):
    values = dict(merge_stride_x=2, merge_stride_y=3, merge_ratio=0.1)
    with pytest.raises(SettingsError, match=f"{name} must be between 0 and 0.833333 .* got 0.85"):
        Settings(method="Token Merging", **{**values, name: 0.85})
    allowed = Settings(method="Token Merging", **{**values, name: 0.8})
    assert getattr(allowed, name) == 0.8
    # a value that the method does not use is no error
    Settings(**{**values, name: 0.85})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(SettingsError, match="unknown parameter 'in_kblend'; did you mean 'in_k_bl"):
        Settings.from_mapping({"in_kblend": 0.5})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"IN01": 2.5}, r"block_weights\[IN01\] must be between 0 and 2, got 2.5"),
        ({"IN01": "x"}, r"block_weights\[IN01\] must be between 0 and 2, got 'x'"),
        ({"MID": 1}, "block_weights has no block 'MID'"),
        ("IN01:1", "block_weights has no block 'IN01:1'"),
    ],
)
def test_bad_block_weights_are_refused_by_site(weights, message):
    with pytest.raises(SettingsError, match=message):
        Settings(block_weights=weights)


def test_weights_are_read_from_text_and_mappings_alike():
    assert Settings(block_weights="out03=2, IN01=0.5") == Settings(
        block_weights={"IN01": 0.5, "OUT03": 2, "IN02": 1}
    )


def test_settings_cannot_be_changed():
    settings = Settings(block_weights={"IN01": 0.5})
    with pytest.raises(AttributeError):
        settings.peak_time = 0.5
    with pytest.raises(TypeError):
        settings.block_weights["IN01"] = 1


def test_every_default_lies_on_its_own_slider():
    for parameter in Settings.parameters():
        if parameter.kind in ("float", "int"):
            steps = (parameter.default - parameter.minimum) / parameter.step
            assert math.isclose(steps, round(steps), abs_tol=1e-9), parameter.name
            assert parameter.minimum <= parameter.default <= parameter.maximum


class Unreadable:
    """Fails at whatever it is asked for."""

    def __str__(self):
        raise RuntimeError("unreadable")

    __repr__ = __float__ = __iter__ = __str__


def nested(depth, inner=0):
    for _ in range(depth):
        inner = [inner]
    return inner


UNREADABLE = {
    "310 digits": 10**310,
    "10000 digits": 10**10000,
    "10000 letters": "x" * 10000,
    "digits as text": "9" * 310,
    "bytes": b"0.5" * 1000,
    "a list": list(range(1000)),
    "deeply nested": nested(5000),
    "a mapping": {str(i): {"x": i} for i in range(1000)},
    "half a character": "0.5\ud800",
    "lines": "0.5\n" * 100,
    "complex": 1j,
    "a class": int,
    "unreadable": Unreadable(),
    "a list of unreadable things": [Unreadable()],
}
"""Values that no parameter takes, of the kinds that JSON and Python can carry."""


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("parameter", Settings.parameters(), ids=lambda p: p.name)
def test_whatever_a_value_is_it_is_refused_by_name_in_one_line(parameter, value):
    wrong = [value]
    if parameter.kind == "weights":
        wrong += [{"IN01": value}, {"IN01": 0.5, "OUT03": value}]
    for each in wrong:
        with pytest.raises(SettingsError) as error:
            Settings.from_mapping({**using(parameter), parameter.name: each})
        said = str(error.value)
        assert said.startswith(parameter.name)
        assert len(said.splitlines()) == 1
        assert len(said) < 500
        assert said.encode("utf-8")
        assert error.value.__context__ is None  # a log shows no second traceback
        if isinstance(each, dict) and "IN01" in each:
            site = next(name for name, number in each.items() if number is value)
            assert said.startswith(f"{parameter.name}[{site}] must be between 0 and 2, got ")


def test_a_long_name_is_cut_too():
    for values in ({"n" * 10000: 1}, {"block_weights": {"n" * 10000: 1}}):
        with pytest.raises(SettingsError) as error:
            Settings.from_mapping(values)
        assert len(str(error.value)) < 500


@given(st.text() | st.binary() | st.integers() | st.floats() | st.lists(st.text()))
def test_what_is_short_is_shown_whole(value):
    text = repr(value)
    if len(text) <= 80 and not (isinstance(value, list) and len(value) > 6):
        assert echo(value) == text


UNUSED = [
    (method, parameter)
    for method in METHODS
    for parameter in Settings.parameters()
    if not parameter.used_by(method)
]


@pytest.mark.parametrize(
    ("method", "parameter"), UNUSED, ids=lambda each: getattr(each, "name", each)
)
def test_what_a_method_does_not_use_never_stops_it(method, parameter):
    """A page hides it: the nearest allowed value is taken, of what is no value the default."""
    for value in ("nonsense", None, [], math.nan, {}):
        assert getattr(Settings(method=method, **{parameter.name: value}), parameter.name) == (
            parameter.default
        )
    if parameter.kind in ("int", "float"):
        for value, nearest in (
            (parameter.maximum + 5, parameter.maximum),
            (str(parameter.maximum + 5), parameter.maximum),
            (parameter.minimum - 0.3, parameter.minimum),
            (math.inf, parameter.maximum),
            (-math.inf, parameter.minimum),
        ):
            settings = Settings(method=method, **{parameter.name: value})
            assert getattr(settings, parameter.name) == nearest
            assert Settings.from_mapping(settings.as_dict()) == settings


RELEASED = [
    "method",
    "peak_time",
    "time_decay",
    "time_axis",
    "keep_middle",
    "in_mode",
    "in_depth_decay",
    "in_slothful",
    "in_k_blend",
    "in_v_blend",
    "out_mode",
    "out_depth_decay",
    "out_slothful",
    "out_k_blend",
    "out_v_blend",
    "rounding",
    "tiling_max_depth",
    "tile_size",
    "global_ratio",
    "base_tile_size",
    "peak_tile_size",
    "base_global_ratio",
    "peak_global_ratio",
    "tile_shift",
    "passes",
    "min_size",
    "only_where_it_pays",
    "block_weights",
    "kept_token",
    "tile_halo",
    "plain_tile_size",
    "plain_scale_depth",
    "plain_max_depth",
    "plain_swap",
    "merge_ratio",
    "merge_ratio_img2img",
    "merge_ratio_hires",
    "merge_depth_decay",
    "merge_max_downsample",
    "merge_stride_x",
    "merge_stride_y",
    "merge_random",
    "merge_attention",
    "merge_cross",
    "merge_mlp",
    "merge_keys_only",
    "merge_proportional",
    "downsample_mode",
    "downsample_depth_1",
    "downsample_depth_2",
    "downsample_depth_3",
    "min_width",
    "min_height",
    "vae_tiles",
    "vae_tile_size",
]
"""The order of version 0.1.0."""


def test_the_order_of_the_released_version_only_grows():
    assert [parameter.name for parameter in Settings.parameters()][: len(RELEASED)] == RELEASED


def test_every_parameter_has_one_place_in_the_order():
    names = [parameter.name for parameter in Settings.parameters()]
    assert len(set(names)) == len(names)
    assert set(names) == {field.name for field in dataclasses.fields(Settings)}


def test_a_copy_of_settings_is_the_same_object():
    settings = Settings(block_weights={"IN01": 0.5})
    assert copy.deepcopy(settings) is settings
    assert copy.deepcopy([settings])[0] is settings
