"""The controls of the page, which are also the positions of the API's list of arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from slothful import KNOWN_SITES, Parameter, Settings


@dataclasses.dataclass(frozen=True)
class Control:
    """One component: a parameter, or one site of a parameter that holds weights.

    `name` is the parameter's or the site's.
    """

    name: str
    parameter: Parameter

    @property
    def is_site(self) -> bool:
        return self.parameter.kind == "weights"

    @property
    def label(self) -> str:
        return self.name if self.is_site else self.parameter.label

    @property
    def default(self) -> Any:
        return 1.0 if self.is_site else self.parameter.default

    def value_in(self, settings: Settings) -> Any:
        """What the component shows for these settings."""
        value = getattr(settings, self.parameter.name)
        return value.get(self.name, self.default) if self.is_site else value


def _controls() -> Iterable[Control]:
    for parameter in Settings.parameters():
        names = KNOWN_SITES if parameter.kind == "weights" else (parameter.name,)
        yield from (Control(name, parameter) for name in names)


CONTROLS = tuple(_controls())
"""All controls in the order of the page. New parameters are declared last, so that lists of
arguments that were written for an older version keep their meaning.
"""


def values_of(settings: Settings) -> list[Any]:
    """The values of all controls for these settings."""
    return [control.value_in(settings) for control in CONTROLS]


def named(
    values: Sequence[Any], names: Iterable[str] = tuple(control.name for control in CONTROLS)
) -> dict[str, Any]:
    """The parameters by name that the first values of a list mean, unchecked.

    `names` are those of the list's controls. Takes any number of values; what is missing keeps its
    default.
    """
    result: dict[str, Any] = {}
    for name, value in zip(names, values):
        if name in KNOWN_SITES:
            result.setdefault("block_weights", {})[name] = value
        else:
            result[name] = value
    return result
