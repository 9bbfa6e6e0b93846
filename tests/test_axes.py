"""The X/Y/Z plot's axes, on a stand-in for the plot's module with the webui's call forms."""

import copy
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
    names = ["Enabled", "Preset", *(p.label for p in Settings.parameters())]
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
    with pytest.raises(SettingsError, match="block_weights has no site 'IN99'"):
        axis(plot, "Block weights").prepare("IN01=0.5, IN99=1")


def test_ranges_are_left_to_the_plot(plot):
    option = axis(plot, "Peak time")
    assert option.type is float
    assert option.prepare("0-1 [5], 0.5") == ["0-1 [5]", "0.5"]
    assert axis(plot, "Tile size").type is int
