"""Settings in the infotext of an image: one key, only what differs from the defaults."""

from __future__ import annotations

import dataclasses
import functools
import html
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slothful import Settings, SettingsError, echo
from slothful_webui.controls import CONTROLS, Control
from slothful_webui.upgrades import UPGRADES, Upgrade

KEY = "Slothful Attention"
"""The infotext key; letters and spaces only, which every version of the webui can parse."""

LEFT_OUT = "Left out of the pasted parameters:"

_MOST_PARTS, _MOST_REASONS = 300, 12

_VERSION = re.compile(r"v([1-9]\d{0,5})")

logger = logging.getLogger(__name__)


def write_infotext(settings: Settings) -> str:
    """For instance "v2; method=Near-sighted Tile; tile_size=24".

    Neither commas nor colons nor line ends occur, so no version of the webui needs to quote it.
    """
    changed = settings.changed()
    parts = [f"{name}={Settings.parameter(name).format(changed[name])}" for name in changed]
    return "; ".join([f"v{len(UPGRADES) + 1}", *parts])


class Claim(str):
    """The infotext of settings for as long as `holds()` says that they were applied.

    The webui calls what can be called when it writes an infotext, and leaves out what gives None;
    one that does not finds a text. A copy is the text alone.
    """

    def __new__(cls, settings: Settings, holds: Callable[[], bool]) -> Claim:
        claim = super().__new__(cls, write_infotext(settings))
        claim._holds = holds
        return claim

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)

    def __call__(self, **_: Any) -> str | None:
        return str(self) if self._holds() else None


@dataclasses.dataclass(frozen=True)
class Pasted:
    """What an infotext says: the settings, None where nothing of it is ours, what was left out,
    each with the reason, the notes of upgrades, and how many `more` parts were not read.
    """

    settings: Settings | None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    more: int = 0

    @property
    def reasons(self) -> list[str]:
        """The first of `left_out`, and how many more there are."""
        more = self.more + max(0, len(self.left_out) - _MOST_REASONS)
        return [*self.left_out[:_MOST_REASONS], *([f"{more} more"] if more else [])]


def read_infotext(text: str) -> Pasted:
    """What `write_infotext` of this or an older version wrote, or what a person did.

    Without a version the parts are this version's. What this version does not know or allow is
    left out, the rest is taken, in whatever order it stands. Never raises: a paste shall never fail
    for one of our values.
    """
    # each control asks
    return _read_infotext(text, tuple(UPGRADES))


@functools.lru_cache(maxsize=4)
def _read_infotext(text: str, upgrades: tuple[Upgrade, ...]) -> Pasted:
    parts = [part.strip() for part in text.split(";") if part.strip()]
    version = _VERSION.fullmatch(parts[0]) if parts else None
    more = max(0, len(parts) - _MOST_PARTS)
    left_out: list[str] = []
    texts: dict[str, str] = {}
    for part in parts[1 if version else 0 : _MOST_PARTS]:
        name, equals, value = part.partition("=")
        if equals:
            texts[name.strip()] = value.strip()
        else:
            left_out.append(f"{echo(part)} is not of the form name=value")
    passed = upgrades[int(version[1]) - 1 :] if version else ()
    for upgrade in passed:
        try:
            texts = upgrade.texts(texts)
        except Exception as error:  # of a text that no version wrote
            left_out.append(f"version {version[1]} could not be read: {echo(error)}")
    values: dict[str, Any] = {}
    for name, value in texts.items():
        values |= _allowed(name, value, left_out)
    if not version and not values:
        return Pasted(None, tuple(left_out), (), more)
    settings = _together(values, left_out)
    notes = [upgrade.note for upgrade in passed if upgrade.concerns(settings)]
    return Pasted(settings, tuple(left_out), tuple(notes), more)


def _allowed(name: str, text: str, left_out: list[str]) -> dict[str, Any]:
    """A value by its name; of weights those of the sites that are allowed; else nothing."""
    values: dict[str, Any] = {}
    try:
        parameter = Settings.parameter(name)
    except SettingsError as error:
        left_out.append(str(error))
        return values
    weights = parameter.kind == "weights"
    for part in text.replace(",", " ").split() if weights else [text]:
        try:
            value = parameter.parse(part)
        except SettingsError as error:
            left_out.append(str(error))
        else:
            values[name] = {**values.get(name, {}), **value} if weights else value
    return values


def _together(values: dict[str, Any], left_out: list[str]) -> Settings:
    """The settings of values of which each is allowed; one that the others forbid is left out."""
    while True:
        try:
            return Settings.from_mapping(values)
        except SettingsError as error:
            left_out.append(str(error))
            names = [name for name in values if str(error).startswith(f"{name} ")]
            names = names or [name for name in reversed(values) if _fits_without(name, values)]
            del values[(names or list(values))[0]]


def _fits_without(name: str, values: Mapping[str, Any]) -> bool:
    try:
        Settings.from_mapping({other: values[other] for other in values if other != name})
    except SettingsError:
        return False
    return True


class _PastedNumber(float):
    """A number out of an infotext; what a component shows is cast to a float of its own."""


class _PastedText(str):
    """A choice out of an infotext."""


def is_pasted(value: Any) -> bool:
    """Whether an argument comes from the infotext of an API's request; a bool cannot tell."""
    return isinstance(value, (_PastedNumber, _PastedText))


def _marked(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    return _PastedText(value) if isinstance(value, str) else _PastedNumber(value)


class PasteTarget(str):
    """What a component gets from a pasted infotext, in the form of the webui's paste fields.

    Called with the parsed infotext, it gives the component's value, None to leave it as it is. As
    a text it is the key, by which the webui lists it among the fields that a user can choose to
    disregard, and carries the component along when an image is sent to another tab.
    """

    def __new__(cls, read: Callable[[Mapping[str, str]], Any]) -> PasteTarget:
        target = super().__new__(cls, KEY)
        target._read = read
        return target

    def __call__(self, parameters: Mapping[str, str]) -> Any:
        return self._read(parameters)


def paste_targets(disregarded: Callable[[], Sequence[str]]) -> list[PasteTarget]:
    """For the box that switches the extension on and then for each of `CONTROLS`.

    An image that was made without the extension switches it off and leaves the rest, and so does
    a text of which nothing is ours. All is left where the key is among those that the user wants
    `disregarded`, a setting of the webui. What is left out of a paste is named in one line of the
    log, and each note of an upgrade is another.
    """

    def enabled(parameters: Mapping[str, str]) -> bool | None:
        if KEY in disregarded():
            return None
        # here alone: the other targets are called for the same paste
        pasted = _pasted(parameters)
        if pasted.reasons:
            logger.warning("%s: %s %s", KEY, LEFT_OUT, "; ".join(pasted.reasons))
        for note in pasted.notes:
            logger.warning("%s: %s", KEY, note)
        return pasted.settings is not None

    def reader(control: Control) -> Callable[[Mapping[str, str]], Any]:
        def read(parameters: Mapping[str, str]) -> Any:
            settings = _pasted(parameters).settings
            return None if settings is None else _marked(control.value_in(settings))

        return read

    return [PasteTarget(enabled), *(PasteTarget(reader(control)) for control in CONTROLS)]


def paste_note(parameters: Mapping[str, str]) -> str:
    """What was left out of a paste and the notes of upgrades, as HTML for the page; empty if there
    is neither.
    """
    pasted = _pasted(parameters)
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in pasted.reasons)
    said = f"<p>{LEFT_OUT}</p><ul>{items}</ul>" if items else ""
    said += "".join(f"<p>{html.escape(note)}</p>" for note in pasted.notes)
    notes = f'<div class="slothful-notes slothful-left-out">{said}</div>'
    return f'<div class="slothful">{notes}</div>' if said else ""


def _pasted(parameters: Mapping[str, str]) -> Pasted:
    text = parameters.get(KEY)
    return Pasted(None) if text is None else read_infotext(str(text))
