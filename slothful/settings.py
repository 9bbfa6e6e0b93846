"""The settings of the extension: immutable, validated when built, each declared in one place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from slothful.methods import TOKEN_MERGING
from slothful.other_parameters import OtherParameters
from slothful.own_parameters import OwnParameters
from slothful.parameters import Parameter, SettingsError, echo


# the bases' fields come in the order of the list read from its end: positions are kept
@dataclasses.dataclass(frozen=True)
class Settings(OtherParameters, OwnParameters):
    """What the extension shall do to the self-attention, in the terms of the page.

    The fields are declared in `own_parameters` and `other_parameters`. Raises `SettingsError` when
    a value is of the wrong type or out of its range.
    """

    def __post_init__(self) -> None:
        for parameter in self.parameters():
            value = parameter.parse(getattr(self, parameter.name))
            if parameter.kind == "weights":
                value = MappingProxyType(value)
            object.__setattr__(self, parameter.name, value)
        if self.method == TOKEN_MERGING:
            self._check_ratios()

    def _check_ratios(self) -> None:
        """The destinations themselves cannot be merged away."""
        limit = merge_limit(self)
        for name in ("merge_ratio", "merge_ratio_img2img", "merge_ratio_hires"):
            if getattr(self, name) > limit:
                raise SettingsError(
                    f"{name} must be between 0 and {limit:g} with strides of "
                    f"{self.merge_stride_x} x {self.merge_stride_y}, got {getattr(self, name):g}"
                )

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """All parameters in the order of the page."""
        return _PARAMETERS

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """One parameter by its name. Raises `SettingsError` with the nearest name that exists."""
        by_name = {parameter.name: parameter for parameter in cls.parameters()}
        if name not in by_name:
            near = difflib.get_close_matches(str(name)[:64], by_name, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"unknown parameter {echo(name)}{hint}")
        return by_name[name]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from any subset of the parameters, as the API and the infotext give them.

        Raises `SettingsError` for an unknown name or a value that is out of range.
        """
        return cls(**{cls.parameter(name).name: value for name, value in values.items()})

    def replace(self, **changes: Any) -> Settings:
        """A copy with some parameters changed."""
        return self.from_mapping({**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        """All values by name, JSON-ready."""
        values = {p.name: getattr(self, p.name) for p in self.parameters()}
        return values | {"block_weights": dict(self.block_weights)}

    def changed(self) -> dict[str, Any]:
        """Only the values that differ from the defaults."""
        values = self.as_dict()
        return {p.name: values[p.name] for p in self.parameters() if values[p.name] != p.default}


_PARAMETERS = tuple(
    Parameter(name=field.name, **field.metadata["parameter"])
    for field in dataclasses.fields(Settings)
)


def merge_limit(settings: Settings) -> float:
    """The largest part of the tokens that can be merged away: all but the destinations."""
    return 1.0 - 1.0 / (settings.merge_stride_x * settings.merge_stride_y)
