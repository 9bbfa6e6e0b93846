"""The lists of arguments that pages of this and of older versions send.

A queue that keeps requests sends lists of older pages, which the webui fills up with this page's
defaults, so a list is told by what lies where, not by its length alone.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from slothful import Parameter, Settings, SettingsError
from slothful_webui.controls import CONTROLS

ENABLED, COMPARE = "enabled", "compare"
"""The first argument of every list, and the box that makes a request a comparison."""

SWITCHES = {
    ENABLED: Parameter(ENABLED, "bool", False, "Slothful Attention", "", "main"),
    COMPARE: Parameter(COMPARE, "bool", False, "Compare", "", "main"),
}

_NAMES = tuple(control.name for control in CONTROLS)
_SITES = {control.name: control.parameter for control in CONTROLS if control.is_site}
_HEAD = _NAMES[: _NAMES.index("only_where_it_pays")]

LAYOUT = (*_NAMES, COMPARE)
"""What follows "enabled" in the list of this version's page."""

OLDER_LAYOUTS = (
    (*_HEAD, "block_weights"),
    (*_HEAD, *_SITES),
    (*_HEAD, "only_where_it_pays", *_SITES, COMPARE),
    (*_NAMES[: _NAMES.index("vae_tile_size") + 1], COMPARE),
)
"""The lists of older pages that are no beginning of `LAYOUT`: with "enabled" 28, 46, 48 and 75
arguments. Each release adds its own; the first parameter after it must not be a switch, or what an
older page says about a comparison is taken for it.
"""


def layout_of(values: Sequence[Any]) -> Sequence[str]:
    """The names of a list's values, without "enabled".

    An older page's list is one whose values after its own are this page's defaults or missing, and
    in which something of its own kind lies where this page has something of another kind.
    """
    for layout in OLDER_LAYOUTS:
        own, rest = values[: len(layout)], values[len(layout) :]
        if len(own) == len(layout) and len(rest) in (0, len(LAYOUT) - len(layout)):
            place = next((i for i, name in enumerate(layout) if name != LAYOUT[i]), None)
            if (
                place is not None
                and _fits(layout[place], own[place])
                and not _fits(LAYOUT[place], own[place])
                and all(is_default(*pair) for pair in zip(LAYOUT[len(layout) :], rest))
            ):
                return layout
    return LAYOUT


def is_default(name: str, value: Any) -> bool:
    """Whether a value in a list is what this page has there if nobody touches it."""
    default = 1.0 if name in _SITES else _parameter(name).default
    return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)


def _parameter(name: str) -> Parameter:
    return _SITES.get(name) or SWITCHES.get(name) or Settings.parameter(name)


def _fits(name: str, value: Any) -> bool:
    """Whether a value is of the kind that a page sends for a name, or a text that says one."""
    parameter = _parameter(name)
    if isinstance(value, str):
        try:
            parameter.parse({name: value} if name in _SITES else value)
        except SettingsError:
            return False
        return True
    if parameter.kind == "bool":
        return isinstance(value, bool)
    if parameter.kind == "weights" and name not in _SITES:
        return isinstance(value, Mapping)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and parameter.kind != "choice"
