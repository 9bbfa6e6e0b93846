"""Settings in the infotext of a picture: one key, only what differs from the defaults."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slothful import Settings, SettingsError
from slothful_webui.controls import CONTROLS, Control

KEY = "Slothful Attention"
"""The infotext key; letters and spaces only, which every version of the webui can parse."""

UPGRADES: Sequence[Callable[[dict[str, str]], dict[str, str]]] = ()
"""Steps for the pictures of older versions: the n-th turns the values of version n, as texts by
name, into those of version n + 1. Add one whenever a name or a meaning changes.
"""

_VERSION = re.compile(r"v(\d+)")

logger = logging.getLogger(__name__)


def write_infotext(settings: Settings) -> str:
    """For instance "v1; method=Near-sighted Tile; tile_size=24".

    Neither commas nor colons nor line ends occur, so no version of the webui needs to quote it.
    """
    changed = settings.changed()
    parts = [f"{name}={Settings.parameter(name).format(changed[name])}" for name in changed]
    return "; ".join([f"v{len(UPGRADES) + 1}", *parts])


def read_infotext(text: str) -> Settings:
    """The settings that `write_infotext` of this or an older version wrote.

    A part that this version does not know or allow is reported in the log and left out: a paste
    shall never fail for one of our values.
    """
    version, *parts = (part.strip() for part in text.split(";"))
    values = {name: value for name, _, value in (part.partition("=") for part in parts if part)}
    number = _VERSION.fullmatch(version)
    for upgrade in UPGRADES[int(number[1]) - 1 :] if number else ():
        values = upgrade(values)
    try:
        return Settings.from_mapping(values)
    except SettingsError:
        return _without_faults(values)


def _without_faults(values: Mapping[str, str]) -> Settings:
    settings = Settings()
    for name, value in values.items():
        try:
            settings = settings.replace(**{name: value})
        except SettingsError as error:
            logger.warning("%s: left out of the pasted parameters: %s", KEY, error)
    return settings


class PasteTarget(str):
    """What a component gets from a pasted infotext, in the form of the webui's paste fields.

    Called with the parsed infotext, it gives the component's value, None to leave it as it is. As
    a text it is the key, by which the webui lists it among the fields that a user can choose to
    disregard, and carries the component along when a picture is sent to another tab.
    """

    def __new__(cls, read: Callable[[Mapping[str, str]], Any]) -> PasteTarget:
        target = super().__new__(cls, KEY)
        target._read = read
        return target

    def __call__(self, parameters: Mapping[str, str]) -> Any:
        return self._read(parameters)


def paste_targets(disregarded: Callable[[], Sequence[str]]) -> list[PasteTarget]:
    """For the box that switches the extension on and then for each of `CONTROLS`.

    A picture that was made without the extension switches it off and leaves the rest. All is left
    where the key is among those that the user wants `disregarded`, a setting of the webui.
    """

    def enabled(parameters: Mapping[str, str]) -> bool | None:
        return None if KEY in disregarded() else KEY in parameters

    def reader(control: Control) -> Callable[[Mapping[str, str]], Any]:
        def read(parameters: Mapping[str, str]) -> Any:
            text = parameters.get(KEY)
            return None if text is None else control.value_in(read_infotext(text))

        return read

    return [PasteTarget(enabled), *(PasteTarget(reader(control)) for control in CONTROLS)]
