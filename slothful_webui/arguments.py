"""From the script's arguments, as the page and the API give them, to settings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from slothful import LEVELS, Settings, SettingsError, check_level, echo
from slothful_webui.controls import named
from slothful_webui.infotext import is_pasted
from slothful_webui.layouts import COMPARE, ENABLED, LAYOUT, SWITCHES, is_default, layout_of

LAZY, CUSTOM = "lazy", LEVELS[-1]
"""The name of the wish that chooses all other values, and the one that chooses nothing."""

Choose = Callable[[str], Settings]
"""The settings of a wish for the present request."""


def read_arguments(
    arguments: Sequence[Any] | None,
    overrides: Mapping[str, Any] | None = None,
    choose: Choose | None = None,
) -> Settings | None:
    """The settings to apply, None when the extension is switched off.

    `arguments` is what the webui hands to a script: either "enabled" and then the values of
    `controls.CONTROLS` (any number of them, the rest keep their defaults; also the list of an older
    page, see `layouts`), or first one mapping of names to values (the API's form; "enabled" may be
    among them and is true otherwise), or that mapping as a JSON string. None and an empty list are
    off. "compare" is not looked at. `overrides` are values by name that go before them, set by a
    plot's axes; they switch the extension on unless "enabled" is among them. Where "lazy" is in the
    mapping or among the overrides, `choose` gives the values, and only those of the mapping and the
    other overrides go before them. Raises `SettingsError`
    for an unknown name, a wrong type, a value out of its range, or one that lies behind a mapping,
    and for whatever else goes wrong while they are read; while switched off, nothing else is looked
    at.
    """
    with _whatever_fails_named():
        values, behind = _by_name(arguments)
        values.pop(COMPARE, None)
        if LAZY in (overrides or {}) and _is_list(arguments):
            values = {ENABLED: True}  # a page's list holds all values, moved or not
        if overrides:
            values |= {ENABLED: True, **overrides}
        if not _read_switch(ENABLED, values.pop(ENABLED)):
            return None
        _refuse_behind(behind)
        level = check_level(values.pop(LAZY, None) or CUSTOM)
        settings = Settings.from_mapping(values)
        if level == CUSTOM or choose is None:
            return settings
        return choose(level).replace(**values)


def wants_comparison(arguments: Sequence[Any] | None) -> bool:
    """Whether each image shall be made twice, without the effect and with it.

    Over the API "compare" in the mapping of names; on the page the value after those of the
    controls. Raises `SettingsError` where it is neither true nor false.
    """
    with _whatever_fails_named():
        values, _ = _by_name(arguments)
        return _read_switch(COMPARE, values.get(COMPARE, False))


@contextlib.contextmanager
def _whatever_fails_named() -> Iterator[None]:
    """The webui swallows what a callback raises, and only a `SettingsError` is told afterwards."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"the arguments cannot be read: {echo(error)}") from error


def _by_name(arguments: Sequence[Any] | None) -> tuple[dict[str, Any], Sequence[Any]]:
    """(values by name, what lies behind a mapping)."""
    first, *rest = arguments or [False]
    if isinstance(first, str) and first.lstrip().startswith("{"):
        first = _read_json(first)
    if isinstance(first, Mapping):
        return {ENABLED: True, **first}, rest
    return {ENABLED: first, **named(rest, layout_of(rest))}, ()


def _is_list(arguments: Sequence[Any] | None) -> bool:
    """Whether they are a list of values, and no mapping or a JSON string of one."""
    first = (arguments or [False])[0]
    return not isinstance(first, (Mapping, str))


def _refuse_behind(values: Sequence[Any]) -> None:
    """Behind a mapping there may only be what the webui itself puts there: the page's defaults, or
    what the `infotext` of the request says.
    """
    from_infotext = any(is_pasted(value) for value in values)
    names = [*LAYOUT, *(f"argument {i}" for i in range(len(LAYOUT) + 2, len(values) + 2))]
    for name, value in zip(names, values):
        pasted = is_pasted(value) or (from_infotext and isinstance(value, bool))
        nothing = value is None or (name in LAYOUT and is_default(name, value))
        if not pasted and not nothing:
            raise SettingsError(
                f"{name} must be among the values of the object, not behind it, got {echo(value)}"
            )


def _read_json(text: str) -> Mapping[str, Any]:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the arguments are not valid JSON: {error}") from error


def _read_switch(name: str, value: Any) -> bool:
    # the API's and the infotext's word for nothing
    return SWITCHES[name].parse(False if value in (None, "None", "none") else value)
