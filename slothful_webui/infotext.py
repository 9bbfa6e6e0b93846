"""Settings in the infotext of a picture: one key, only what differs from the defaults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from slothful import Settings, SettingsError

KEY = "Slothful Attention"
"""The infotext key; letters and spaces only, which every version of the webui can parse."""

VERSION = "v1"

logger = logging.getLogger(__name__)


def write_infotext(settings: Settings) -> str:
    """For instance "v1; method=Near-sighted Tile; tile_size=24".

    Neither commas nor colons nor line ends occur, so no version of the webui needs to quote it.
    """
    changed = settings.changed()
    parts = [f"{name}={Settings.parameter(name).format(changed[name])}" for name in changed]
    return "; ".join([VERSION, *parts])


def read_infotext(text: str) -> Settings:
    """The settings that `write_infotext` wrote.

    A part that this version does not know or allow is reported in the log and left out: a paste
    shall never fail for one of our values.
    """
    settings = Settings()
    for part in text.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        try:
            settings = settings.replace(**{name: value})
        except SettingsError as error:
            logger.warning("%s: left out of the pasted parameters: %s", KEY, error)
    return settings


def enabled_from(parameters: Mapping[str, Any]) -> bool:
    """Whether a pasted picture was made with the extension."""
    return KEY in parameters


def reader_of(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function for the webui's paste fields: the value of a parameter from a parsed infotext.

    None, which leaves the control as it is, where the picture was made without the extension.
    """
    parameter = Settings.parameter(name)

    def read(parameters: Mapping[str, Any]) -> Any:
        if KEY not in parameters:
            return None
        value = getattr(read_infotext(parameters[KEY]), name)
        return parameter.format(value) if parameter.kind == "weights" else value

    return read
