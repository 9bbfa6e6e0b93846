"""Axes of the X/Y/Z plot: one for each parameter, one for presets, one that switches on or off."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from slothful import Parameter, Settings
from slothful_webui.presets import PresetFolders

PREFIX = "[Slothful] "
ENABLED = "enabled"
OVERRIDES = "slothful_overrides"
"""The attribute of `p` in which a plot's cell keeps its values, by name."""

_RANGE = re.compile(r"\s*-?[\d.]+\s*-\s*-?[\d.]+\s*([(\[].*)?")


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
    def apply_preset(p: Any, name: str, names: list) -> None:
        # under what other axes set, whichever of them comes first
        setattr(p, OVERRIDES, {**presets.load(name).settings.as_dict(), **overrides_of(p)})

    def confirm_presets(p: Any, names: list) -> None:
        for name in names:
            presets.load(name)

    option = module.AxisOption
    switch = option(PREFIX + "Enabled", str, _setter(ENABLED), choices=lambda: ["true", "false"])
    preset = option(
        PREFIX + "Preset", str, apply_preset, confirm=confirm_presets, choices=presets.names
    )
    return [switch, preset, *(_axis(module, parameter) for parameter in Settings.parameters())]


def _axis(module: Any, parameter: Parameter) -> Any:
    types = {"int": int, "float": float}
    options: dict[str, Any] = {"confirm": _checker(parameter)}
    if parameter.kind in ("choice", "bool"):
        values = list(parameter.choices) or ["true", "false"]
        options["choices"] = lambda: values
    else:
        options["prepare"] = _splitter(parameter)
    # int and float themselves: the plot then understands ranges such as "0-1 [5]"
    value_type = types.get(parameter.kind, str)
    return module.AxisOption(
        PREFIX + parameter.label, value_type, _setter(parameter.name), **options
    )


def _setter(name: str) -> Callable[[Any, Any, list], None]:
    def apply(p: Any, value: Any, values: list) -> None:
        # a new dict: the cells' requests are shallow copies of one another
        value = round(value, 6) if isinstance(value, float) else value
        setattr(p, OVERRIDES, {**overrides_of(p), name: value})

    return apply


def _checker(parameter: Parameter) -> Callable[[Any, list], None]:
    """Called with all values before the plot begins; `SettingsError` stops it."""

    def confirm(p: Any, values: list) -> None:
        for value in values:
            parameter.parse(value)

    return confirm


def _splitter(parameter: Parameter) -> Callable[[str], list[str]]:
    """Splits the axis' text at commas and refuses what is neither a value nor a range, before the
    plot's own conversion can fail without a name.
    """

    def prepare(text: str) -> list[str]:
        parts = [part.strip() for line in csv.reader([text]) for part in line]
        parts = [part for part in parts if part or parameter.kind == "weights"]
        for part in parts:
            if not (_RANGE.fullmatch(part) and parameter.kind != "weights"):
                parameter.parse(part)
        return parts

    return prepare
