"""Axes of the X/Y/Z plot: one for each parameter, one for presets, one that switches on or off."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from slothful import LEVELS, Parameter, Settings, SettingsError, check_level, echo
from slothful_webui.arguments import LAZY, read_arguments
from slothful_webui.layouts import ENABLED, SWITCHES
from slothful_webui.presets import PresetFolders
from slothful_webui.sampling import TITLE

PREFIX = "[Slothful] "
OVERRIDES = "slothful_overrides"
"""The attribute of `p` in which a plot's cell keeps its values, by name."""

_AXES = "slothful_axes"
"""The attribute of a plot's `p` in which its axes and their values are until they are checked."""

_WHOLE, _DECIMAL = r"\s*[+-]?\s*\d+\s*", r"\s*[+-]?\s*\d+(?:\.\d*)?\s*"
_RANGES = {
    "int": re.compile(rf"{_WHOLE}-{_WHOLE}(?:\([+-]\d+\s*\)|\[\d+\s*\])?\s*"),
    "float": re.compile(rf"{_DECIMAL}-{_DECIMAL}(?:\([+-]\d+(?:\.\d*)?\s*\)|\[\d+\s*\])?\s*"),
}
"""Ranges as the plot reads them, for instance 0-1 (+0.25) or 0-1 [5]."""


def overrides_of(p: Any) -> dict[str, Any]:
    """The values that the plot's axes set for this cell; empty outside a plot."""
    return getattr(p, OVERRIDES, {})


def add_axes(scripts_data: Iterable[Any], presets: PresetFolders) -> None:
    """Add the axes to the webui's X/Y/Z script, if it is loaded and does not have them yet.

    `scripts_data` is `modules.scripts.scripts_data`. Found by its file name, which is the same in
    all versions, unlike its module name.
    """
    for data in scripts_data:
        module = data.module
        if os.path.basename(data.path) != "xyz_grid.py" or not hasattr(module, "axis_options"):
            continue
        present = {option.label for option in module.axis_options}
        module.axis_options.extend(
            option for option in _axes(module, presets) if option.label not in present
        )


def _axes(module: Any, presets: PresetFolders) -> list[Any]:
    def set_preset(p: Any, name: str) -> None:
        # under what other axes set, whichever of them comes first
        setattr(p, OVERRIDES, {**presets.load(name).settings.as_dict(), **overrides_of(p)})

    switch = _axis(
        module, "Enabled", _setter(ENABLED), SWITCHES[ENABLED].parse,
        choices=lambda: ["true", "false"],
    )  # fmt: skip
    lazy = _axis(module, "Lazy", _setter(LAZY), check_level, choices=lambda: list(LEVELS))
    preset = _axis(module, "Preset", set_preset, presets.load, choices=presets.names)
    return [
        switch,
        lazy,
        preset,
        *(_parameter_axis(module, each) for each in Settings.parameters()),
    ]


def _parameter_axis(module: Any, parameter: Parameter) -> Any:
    options: dict[str, Any] = {}
    if parameter.kind in ("choice", "bool"):
        values = list(parameter.choices) or ["true", "false"]
        options["choices"] = lambda: values
    else:
        options["prepare"] = _splitter(parameter)
    # int and float themselves: the plot then understands ranges such as "0-1 [5]"
    value_type = {"int": int, "float": float}.get(parameter.kind, str)
    return _axis(
        module, parameter.label, _setter(parameter.name), parameter.parse, value_type, **options
    )


def _axis(
    module: Any,
    label: str,
    set_value: Callable[[Any, Any], None],
    check: Callable[[Any], Any],
    value_type: type = str,
    **options: Any,
) -> Any:
    """An axis of the plot. `set_value(p, value)` sets one of its values for a cell, `check(value)`
    raises an error that names what is wrong with it.
    """

    def confirm(p: Any, values: list) -> None:
        """Called with all values of the axis before the plot begins; an error stops it."""
        for value in values:
            check(value)
        getattr(p, "__dict__", {}).setdefault(_AXES, []).append((set_value, values))

    def apply(p: Any, value: Any, values: list) -> None:
        _check_cells(p)
        set_value(p, value)

    return module.AxisOption(PREFIX + label, value_type, apply, confirm=confirm, **options)


def _check_cells(p: Any) -> None:
    """Once for a plot, when its first cell begins: values of several axes and of the page that
    contradict each other stop it, not only their cell. Raises `SettingsError`.
    """
    # one list for all cells, whose requests are shallow copies
    axes = getattr(p, _AXES, [])
    cells = itertools.product(*(values for _, values in axes)) if axes else ()
    arguments = _own_arguments(p)
    for values in cells:
        cell = types.SimpleNamespace()
        for (set_value, _), value in zip(axes, values):
            set_value(cell, value)
        read_arguments(arguments, overrides_of(cell))
    axes.clear()


def _own_arguments(p: Any) -> Sequence[Any]:
    """What the request holds for this extension."""
    for script in getattr(getattr(p, "scripts", None), "alwayson_scripts", ()):
        if script.title() == TITLE:
            return p.script_args[script.args_from : script.args_to]
    return ()


def _setter(name: str) -> Callable[[Any, Any], None]:
    def set_value(p: Any, value: Any) -> None:
        # a new dict: the cells' requests are shallow copies of one another
        value = round(value, 6) if isinstance(value, float) else value
        setattr(p, OVERRIDES, {**overrides_of(p), name: value})

    return set_value


def _splitter(parameter: Parameter) -> Callable[[str], list[str]]:
    """Splits the axis' text at commas, as the plot does, and refuses what is neither a value nor a
    range, before the plot's own conversion can fail without a name.
    """
    ranges = _RANGES.get(parameter.kind)

    def prepare(text: str) -> list[str]:
        try:
            lines = list(csv.reader(io.StringIO(text), skipinitialspace=True))
        except (csv.Error, TypeError) as error:
            raise SettingsError(
                f"{parameter.name} must be values with commas between them, got {echo(text)}"
            ) from error
        parts = [part.strip() for line in lines for part in line]
        if parameter.kind == "weights":
            for part in parts:
                parameter.parse(part)
            return parts
        # in the form that int() and float() read too
        return [
            part if ranges.fullmatch(part) else parameter.format(parameter.parse(part))
            for part in parts
            if part
        ]

    return prepare
