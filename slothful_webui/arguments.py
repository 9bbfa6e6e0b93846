"""From the script's arguments, as the page and the API give them, to settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slothful import Settings, SettingsError
from slothful_webui.controls import CONTROLS, named


def read_arguments(
    arguments: Sequence[Any], overrides: Mapping[str, Any] | None = None
) -> Settings | None:
    """The settings to apply, None when the extension is switched off.

    `arguments` is what the webui hands to a script: either "enabled" and then the values of
    `controls.CONTROLS` (any number of them, the rest keep their defaults), or first one mapping of
    names to values (the API's form; "enabled" may be among them and is true otherwise), or that
    mapping as a JSON string. "compare" is not looked at. `overrides` are values by name that go
    before them, set by a plot's axes; they switch the extension on unless "enabled" is among them.
    Raises `SettingsError` for an unknown name, a wrong type or a value out of its range; while
    switched off, nothing else is looked at.
    """
    values = _by_name(arguments)
    values.pop("compare", None)
    if overrides:
        values |= {"enabled": True, **overrides}
    return Settings.from_mapping(values) if _read_switch("enabled", values.pop("enabled")) else None


def wants_comparison(arguments: Sequence[Any]) -> bool:
    """Whether each picture shall be made twice, without the effect and with it.

    Over the API "compare" in the mapping of names; on the page the value after those of
    `controls.CONTROLS`. Raises `SettingsError` where it is neither true nor false.
    """
    return _read_switch("compare", _by_name(arguments).get("compare", False))


def _by_name(arguments: Sequence[Any]) -> dict[str, Any]:
    first = arguments[0] if arguments else False
    if isinstance(first, str) and first.lstrip().startswith("{"):
        first = _read_json(first)
    if isinstance(first, Mapping):
        return {"enabled": True, **first}
    values = {"enabled": first, **named(arguments[1:])}
    rest = arguments[1 + len(CONTROLS) :]
    return values | ({"compare": rest[0]} if rest else {})


def _read_json(text: str) -> Mapping[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"the arguments are not valid JSON: {error}") from error


def _read_switch(name: str, value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False, "none": False}
    word = str(value).strip().lower()
    if word not in words:
        raise SettingsError(f"{name} must be true or false, got {value!r}")
    return words[word]
