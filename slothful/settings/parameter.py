"""The declaration of a parameter, from which every face of the extension derives.

A parameter is declared once, as a field of a class in the file of its group, and gets its place in
the list of arguments in `order.py`. The UI, the API, the infotext, the X/Y/Z plot and the tables of
the documentation are loops over `Settings.parameters()`.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Mapping
from typing import Any

from .site_names import SITE_NAMES


class SettingsError(ValueError):
    """A setting is unknown, of the wrong type or out of range; the message says which, and why."""


ECHO_LENGTH = 120
"""The most characters of a value that a message shows."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = ECHO_LENGTH


def echo(value: Any) -> str:
    """Any value as messages show it: its repr, cut to one line of at most `ECHO_LENGTH` characters.

    Never raises: a caller can send numbers of more digits than Python writes, lists within lists,
    halves of characters, objects that cannot show themselves.
    """
    try:
        text = " ".join(_REPR.repr(value).splitlines())
    except Exception:
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= ECHO_LENGTH else text[: ECHO_LENGTH - 3] + "..."


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter: its range, its texts and where it appears.

    `kind` is "float", "int", "bool", "choice" or "weights" (a mapping of site name to number).
    `minimum`, `maximum` and `step` belong to numbers and weights, `choices` to choices.
    `least` is what a number is at least if it is not 0, where 0 means that there is none.
    `group` names the part of the page on which the parameter is shown, `methods` the methods that
    use it (none: all of them do). `brief` says the most of `help` in one line, and is empty where
    `help` is as short. `is_strength` marks what says how strong its methods are, or, where all use
    it, how strong what stands beside them is. `needs` are conditions on other parameters, one of
    which must hold for this one to have an effect: "merge_mlp" (on, or above 0), "in_k_blend<1",
    "downsample_depth_1>1", "downsample_mode=nearest". `idle` says what a user reads while none
    of them holds; {reason} is replaced by what is in the way.
    """

    name: str
    kind: str
    default: Any
    label: str
    help: str
    group: str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    idle: str = "No effect while {reason}."
    brief: str = ""
    is_strength: bool = False

    def used_by(self, method: str) -> bool:
        """Whether a method uses the parameter."""
        return not self.methods or method in self.methods

    @property
    def short_help(self) -> str:
        """What the page says beside the control; all of `help` is shown on demand."""
        return self.brief or self.help

    @property
    def range_text(self) -> str:
        """The allowed values in words, as error messages and tables show them."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        text = f"between {self.minimum:g} and {self.maximum:g}"
        if self.least is not None:
            return f"0 or between {self.least:g} and {self.maximum:g}"
        if self.kind == "weights":
            return f"block names with numbers {text}, for instance IN01=0.5 OUT03=0"
        return text

    def parse(self, value: Any) -> Any:
        """The value as this parameter's own type, from what a page, JSON or text can carry.

        Strings are read ("0.5", "true", "2d_avg"), whole floats count as integers. Raises
        `SettingsError`, naming the parameter, the value and the allowed values.
        """
        try:
            parsed = _PARSERS[self.kind](self, value)
        except SettingsError:
            raise
        except Exception:  # whatever goes wrong while it is read, it is none of our values
            parsed = None
        if parsed is None:
            raise SettingsError(f"{self.name} must be {self.range_text}, got {echo(value)}")
        return parsed

    def nearest(self, value: Any) -> Any:
        """The allowed value next to `value`: a number is clamped into the range, and whatever is
        no value of this parameter gives the default.
        """
        number = _number(value)
        if self.minimum is not None and self.maximum is not None and number is not None:
            number = min(max(number, self.minimum), self.maximum)
            value = round(number) if self.kind == "int" else number
        try:
            return self.parse(value)
        except SettingsError:
            return self.parse(self.default)

    def format(self, value: Any) -> str:
        """The shortest text that `parse` reads back as the same value."""
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind == "weights":
            return " ".join(f"{site}={format_number(number)}" for site, number in value.items())
        return format_number(value) if self.kind in ("float", "int") else str(value)


def format_number(value: float) -> str:
    """A number in the fewest digits that read back as the same number."""
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def param(default: Any, label: str, help: str, *, group: str, **limits: Any) -> Any:
    """Declare a field of `Settings`; `limits` are `range=` and what `Parameter` has besides.

    The kind follows from the default: a bool, an int, a float, a mapping or a choice.
    """
    kinds = ((bool, "bool"), (int, "int"), (float, "float"), (str, "choice"), (Mapping, "weights"))
    kind = next(name for cls, name in kinds if isinstance(default, cls))
    low, high = limits.pop("range", (None, None))
    declaration = dict(
        kind=kind, default=default, label=label, help=help, group=group, minimum=low, maximum=high
    )
    metadata = {"parameter": {**declaration, **limits}}
    if kind == "weights":
        return dataclasses.field(default_factory=dict, metadata=metadata, hash=False)
    return dataclasses.field(default=default, metadata=metadata)


def _parse_number(parameter: Parameter, value: Any) -> float | int | None:
    number, low, high = _number(value), parameter.minimum, parameter.maximum
    if number is None or low is None or high is None or not low <= number <= high:
        return None
    if parameter.least is not None and 0 < number < parameter.least:
        return None
    if parameter.kind == "int":
        return int(number) if number.is_integer() else None
    return number


def _number(value: Any) -> float | None:
    """What can be read as a number; no bool, and not NaN."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except Exception:  # no number, or one beyond floats
        return None
    return None if math.isnan(number) else number


def _parse_bool(parameter: Parameter, value: Any) -> bool | None:
    words = {"true": True, "on": True, "yes": True, "1": True}
    words |= {"false": False, "off": False, "no": False, "0": False}
    return words.get(str(value).strip().lower())


def _parse_choice(parameter: Parameter, value: Any) -> str | None:
    plain = {_plain(choice): choice for choice in parameter.choices}
    return plain.get(_plain(value)) if isinstance(value, str) else None


def _plain(text: str) -> str:
    return text.strip().lower().replace("_", " ").replace("-", " ")


def _parse_weights(parameter: Parameter, value: Any) -> dict[str, float] | None:
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.replace(",", " ").split()]
        value = {site: number for site, _, number in parts}
    if not isinstance(value, Mapping):
        return None
    weights = {}
    for site, number in value.items():
        weight = _parse_number(parameter, number)
        if str(site).upper() not in SITE_NAMES:
            raise SettingsError(
                f"{parameter.name} has no block {echo(site)}; "
                "blocks: IN00 to IN11, M00, OUT00 to OUT11; of PixArt: B00 to B27"
            )
        if weight is None:
            limits = f"between {parameter.minimum:g} and {parameter.maximum:g}"
            raise SettingsError(f"{parameter.name}[{site}] must be {limits}, got {echo(number)}")
        weights[str(site).upper()] = weight
    # the default is left out and the order is fixed, so equal settings have equal texts
    return {site: weights[site] for site in SITE_NAMES if weights.get(site, 1.0) != 1.0}


_PARSERS = {
    "float": _parse_number,
    "int": _parse_number,
    "bool": _parse_bool,
    "choice": _parse_choice,
    "weights": _parse_weights,
}
