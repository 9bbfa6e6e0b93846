"""Needs: which parameters have no effect because of what others are set to."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .parameter import Parameter
from .settings import Settings

_NEED = re.compile(r"(?P<name>\w+)(?P<sign>[<>=!]?)(?P<bound>.*)")


class Need(NamedTuple):
    """A condition on one parameter: it is on, or above, below, equal or unequal to a bound."""

    name: str
    sign: str
    bound: str

    def met_by(self, settings: Settings) -> bool:
        """Whether the settings' value fulfils it; of block weights, the largest."""
        value: Any = getattr(settings, self.name)
        if self.sign in ("=", "!"):
            return (str(value) == self.bound) == (self.sign == "=")
        if Settings.parameter(self.name).kind == "weights":
            value = max(value.values(), default=1.0)
        number, bound = float(value), float(self.bound or 0)
        return number < bound if self.sign == "<" else number > bound


def needs_of(parameter: Parameter) -> tuple[Need, ...]:
    """A parameter's declared needs, read."""
    found = (_NEED.fullmatch(text) for text in parameter.needs)
    return tuple(Need(**match.groupdict()) for match in found if match is not None)


def idle_parameters(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The parameters that the method uses and whose needs are not met, by name, each with the
    names of those that stand in the way.
    """
    used = [p for p in Settings.parameters() if p.used_by(settings.method)]
    blocking = {p.name: _blocking(settings, p, frozenset()) for p in used if p.needs}
    return {name: names for name, names in blocking.items() if names}


def _blocking(settings: Settings, parameter: Parameter, asked: frozenset[str]) -> tuple[str, ...]:
    """What stands in the way of a parameter; empty if one of its needs is met, or it has none.

    A need is met by a parameter that has an effect itself. One that has been `asked` already, as
    where two need each other, is taken to be met.
    """
    asked |= {parameter.name}
    found: dict[str, None] = {}  # in order, each once
    for need in needs_of(parameter):
        other = Settings.parameter(need.name)
        if not other.used_by(settings.method):
            continue
        if need.name in asked:
            return ()
        # what stands in the way of the other one is the root of it, whatever its value
        names = _blocking(settings, other, asked)
        if not names and need.met_by(settings):
            return ()
        found |= dict.fromkeys(names or (need.name,))
    return tuple(found)
