"""The X/Y/Z plot's axes, on a stand-in for the plot's module with the webui's call forms."""

import copy
import itertools
import types

import pytest

from slothful import Settings, SettingsError
from slothful_webui.arguments import read_arguments
from slothful_webui.axes import PREFIX, add_axes, overrides_of
from slothful_webui.presets import SHIPPED, PresetError, PresetFolders


class AxisOption:
    """The record that the webui's xyz_grid.py keeps of an axis (1.7 and later)."""

    def __init__(self, label, type, apply, format_value=None, confirm=None, cost=0.0,
                 choices=None, prepare=None):  # fmt: skip
        self.label, self.type, self.apply = label, type, apply
        self.confirm, self.choices, self.prepare = confirm, choices, prepare


@pytest.fixture
def plot(tmp_path):
    presets = PresetFolders([SHIPPED, tmp_path])
    module = types.SimpleNamespace(axis_options=[], AxisOption=AxisOption)
    data = types.SimpleNamespace(path="/webui/scripts/xyz_grid.py", module=module)
    other = types.SimpleNamespace(path="/webui/scripts/other.py", module=types.SimpleNamespace())
    add_axes([other, data], presets)
    add_axes([other, data], presets)  # the webui reloads its scripts: nothing may be there twice
    return module


def axis(plot, label):
    return next(option for option in plot.axis_options if option.label == PREFIX + label)


def test_there_is_one_axis_for_every_parameter_one_for_presets_and_one_switch(plot):
    labels = [option.label for option in plot.axis_options]
    names = ["Enabled", "Lazy", "Preset", *(p.label for p in Settings.parameters())]
    assert labels == [PREFIX + name for name in names]


def test_a_cell_gets_its_values_and_no_other_does(plot):
    request = types.SimpleNamespace()
    first, second = copy.copy(request), copy.copy(request)
    axis(plot, "Peak time").apply(first, 0.1 + 0.2, [])
    axis(plot, "Method").apply(first, "Near-sighted Tile", [])
    axis(plot, "Peak time").apply(second, 0.5, [])
    settings = read_arguments([False], overrides_of(first))
    assert settings == Settings(peak_time=0.3, method="Near-sighted Tile")
    assert read_arguments([{"time_decay": 1}], overrides_of(second)) == Settings(
        peak_time=0.5, time_decay=1
    )
    assert read_arguments([False], overrides_of(request)) is None


def test_the_switch_wins(plot):
    request = types.SimpleNamespace()
    axis(plot, "Peak time").apply(request, 0.5, [])
    axis(plot, "Enabled").apply(request, "false", [])
    assert read_arguments([True], overrides_of(request)) is None


def test_a_preset_lies_under_what_other_axes_set(plot):
    preset, peak = axis(plot, "Preset"), axis(plot, "Peak time")
    assert "soft" in preset.choices()
    soft = PresetFolders([SHIPPED]).load("soft").settings
    assert soft.peak_time != 0.9
    for order in ([(preset, "soft"), (peak, 0.9)], [(peak, 0.9), (preset, "soft")]):
        request = types.SimpleNamespace()
        for option, value in order:
            option.apply(request, value, [])
        settings = read_arguments([False], overrides_of(request))
        assert settings == soft.replace(peak_time=0.9)
    with pytest.raises(PresetError, match="there is no preset 'sift'"):
        preset.confirm(None, ["soft", "sift"])


@pytest.mark.parametrize("parameter", Settings.parameters(), ids=lambda p: p.name)
def test_every_default_passes_its_own_axis(plot, parameter):
    option = axis(plot, parameter.label)
    text = parameter.format(parameter.default)
    values = option.prepare(text) if option.prepare else [text]
    values = [option.type(value) for value in values]
    option.confirm(None, values)
    assert parameter.parse(values[0] if values else "") == parameter.default


def test_bad_values_stop_the_plot_before_it_begins(plot):
    with pytest.raises(SettingsError, match="peak_time must be between 0 and 1, got 'soon'"):
        axis(plot, "Peak time").prepare("0.1, soon")
    with pytest.raises(SettingsError, match=r"peak_time must be between 0 and 1, got 1\.5"):
        axis(plot, "Peak time").confirm(None, [0.5, 1.5])
    with pytest.raises(SettingsError, match="block_weights has no block 'IN99'"):
        axis(plot, "Block weights").prepare("IN01=0.5, IN99=1")


@pytest.mark.parametrize("value", ["maybe", "", "2", "on off", "nan"])
def test_the_switch_takes_true_and_false_and_nothing_else(plot, value):
    switch = axis(plot, "Enabled")
    with pytest.raises(SettingsError, match="enabled must be true or false, got"):
        switch.confirm(None, ["true", value])
    switch.confirm(None, [*switch.choices(), "True", "OFF", "1"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('"IN01=0.5, IN02=0", "OUT03=1, M00=0"', ["IN01=0.5, IN02=0", "OUT03=1, M00=0"]),
        ('"IN01=0.5,IN02=0","OUT03=1"', ["IN01=0.5,IN02=0", "OUT03=1"]),
        ("IN01=0.5 IN02=0, OUT03=1", ["IN01=0.5 IN02=0", "OUT03=1"]),
        ('"", IN01=0', ["", "IN01=0"]),
        ('IN01=0,\n"IN02=0, M00=1"', ["IN01=0", "", "IN02=0, M00=1"]),
    ],
)
def test_lists_are_split_as_the_plot_splits_them(plot, text, parts):
    assert axis(plot, "Block weights").prepare(text) == parts


def test_numbers_come_in_the_form_that_the_plot_reads(plot):
    assert [int(v) for v in axis(plot, "Tile size").prepare("16.0, 2.4e1, 16-32 (+8)")[:2]] == [
        16,
        24,
    ]
    assert [float(v) for v in axis(plot, "Peak time").prepare('"0.5",  1e-1, .25')] == [
        0.5,
        0.1,
        0.25,
    ]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("Peak time", "0-1 [x]"), ("Peak time", "0-1-2"), ("Peak time", "0-1 (0.5"),
        ("Peak time", "0-1 [2.5]"), ("Tile size", "16.5-32"), ("Tile size", "16-32 (+0.5)"),
        ("Peak time", "0.1; 0.2"), ("Peak time", "9" * 400), ("Block weights", "x" * 200_000),
    ],
)  # fmt: skip
def test_a_text_that_the_plot_cannot_convert_is_refused_by_name_and_cut(plot, label, text):
    name = next(p.name for p in Settings.parameters() if p.label == label)
    with pytest.raises(SettingsError, match=f"^{name}") as error:
        axis(plot, label).prepare(text)
    assert len(str(error.value)) < 400


class Plot:
    """What the webui's plot does with its axes, up to its cells' images, and how many it made."""

    def __init__(self, plot, *arguments):
        self.plot = plot
        script = types.SimpleNamespace(title=lambda: "Slothful Attention", args_from=1, args_to=9)
        other = types.SimpleNamespace(title=lambda: "Another", args_from=9, args_to=10)
        self.request = types.SimpleNamespace(
            script_args=("of a script", *arguments, *[None] * (8 - len(arguments)), "of another"),
            scripts=types.SimpleNamespace(alwayson_scripts=[other, script]),
        )
        self.made = []

    def run(self, **axes):
        chosen = [
            (axis(self.plot, label.replace("_", " ")), values) for label, values in axes.items()
        ]
        for option, values in chosen:
            option.confirm(self.request, values)
        for values in itertools.product(*(values for _, values in chosen)):
            cell = copy.copy(self.request)
            for (option, all_values), value in zip(chosen, values):
                option.apply(cell, value, all_values)
            self.made.append(read_arguments(cell.script_args[1:9], overrides_of(cell)))
        return self.made


MERGING = {"method": "Token Merging"}


def test_values_that_contradict_each_other_stop_the_plot_before_its_first_image(plot):
    for axes in (
        {"Merge_ratio": [0.5, 0.7, 0.9]},
        {"Merge_ratio": [0.5, 0.7], "Merge_stride_x": [4, 1]},
        {"Merge_stride_x": [4, 1], "Merge_ratio": [0.5, 0.7]},
        {
            "Merge_stride_y": [2],
            "Merge_stride_x": [2, 1],
            "Preset": ["like ToMe"],
            "Merge_ratio": [0.7],
        },
    ):
        one = Plot(plot, MERGING)
        with pytest.raises(
            SettingsError, match=r"merge_ratio must be between 0 and 0.* with strides"
        ):
            one.run(**axes)
        assert one.made == []


def test_values_that_fit_each_other_make_every_cell(plot):
    cells = Plot(plot, MERGING).run(Merge_ratio=[0.5, 0.9], Merge_stride_x=[8, 6])
    assert [(s.merge_ratio, s.merge_stride_x) for s in cells] == [
        (0.5, 8),
        (0.5, 6),
        (0.9, 8),
        (0.9, 6),
    ]
    # of another method, or off, nothing is contradictory
    assert len(Plot(plot, {}).run(Merge_ratio=[0.9])) == 1
    assert Plot(plot, MERGING).run(Merge_ratio=[0.9], Enabled=["false"]) == [None]


def test_what_is_wrong_with_the_page_stops_the_plot_too(plot):
    one = Plot(plot, {"time_decay": 9})
    with pytest.raises(SettingsError, match="time_decay must be between 0 and 4, got 9"):
        one.run(Peak_time=[0.1, 0.2])
    assert one.made == []
    assert len(Plot(plot, {"time_decay": 9}).run(Time_decay=[1, 2])) == 2


def test_ranges_are_left_to_the_plot(plot):
    option = axis(plot, "Peak time")
    assert option.type is float
    assert option.prepare("0-1 [5], 0.5") == ["0-1 [5]", "0.5"]
    assert axis(plot, "Tile size").type is int
