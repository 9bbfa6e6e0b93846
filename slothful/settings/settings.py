"""The settings of the extension: immutable, validated when built, each declared in one place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .agents import AgentParameters
from .channels import ChannelParameters
from .downsampling import DownsamplingParameters
from .limits import LimitParameters
from .merging import MergingParameters
from .negative import NegativeParameters
from .order import ORDER
from .parameter import Parameter, SettingsError, echo
from .pooling import PoolingParameters
from .schedule import ScheduleParameters
from .sleep import SleepParameters
from .tiles import TileParameters
from .vae import VaeParameters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
    ScheduleParameters,
    PoolingParameters,
    TileParameters,
    MergingParameters,
    DownsamplingParameters,
    LimitParameters,
    VaeParameters,
    SleepParameters,
    NegativeParameters,
    ChannelParameters,
    AgentParameters,
):
    """What the extension shall do to the self-attention, in the terms of the page.

    The fields are declared in the bases' files. Raises `SettingsError` when a value that the method
    uses is of the wrong type or out of its range. What it does not use, and the page hides, stops
    nothing: there the nearest allowed value is taken.
    """

    def __post_init__(self) -> None:
        # the method first, for it decides which others are used
        for parameter in (self.parameter("method"), *self.parameters()):
            value = getattr(self, parameter.name)
            try:
                value = parameter.parse(value)
            except SettingsError:
                if parameter.used_by(self.method):
                    raise
                value = parameter.nearest(value)
            if parameter.kind == "weights":
                value = MappingProxyType(value)
            object.__setattr__(self, parameter.name, value)
        self._check_ratios()

    def _check_ratios(self) -> None:
        """The destinations themselves cannot be merged away."""
        limit = merge_limit(self)
        for name in ("merge_ratio", "merge_ratio_img2img", "merge_ratio_hires"):
            if getattr(self, name) > limit and self.parameter(name).used_by(self.method):
                raise SettingsError(
                    f"{name} must be between 0 and {limit:g} with strides of "
                    f"{self.merge_stride_x} x {self.merge_stride_y}, got {getattr(self, name):g}"
                )

    def __deepcopy__(self, memo: object) -> Settings:
        return self  # nothing in it can change

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """All parameters in their order, which is that of the page within each group."""
        return _PARAMETERS

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """One parameter by its name. Raises `SettingsError` with the nearest name that exists."""
        if name not in _BY_NAME:
            near = difflib.get_close_matches(str(name)[:64], _BY_NAME, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"unknown parameter {echo(name)}{hint}")
        return _BY_NAME[name]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from any subset of the parameters, as the API and the infotext give them.

        Raises `SettingsError` for an unknown name or a used value that is out of range.
        """
        return cls(**{cls.parameter(name).name: value for name, value in values.items()})

    def replace(self, **changes: Any) -> Settings:
        """A copy with some parameters changed."""
        return self.from_mapping({**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        """All values by name, JSON-ready."""
        values = ((p, getattr(self, p.name)) for p in self.parameters())
        return {p.name: dict(value) if p.kind == "weights" else value for p, value in values}

    def changed(self) -> dict[str, Any]:
        """Only the values that differ from the defaults."""
        values = self.as_dict()
        return {p.name: values[p.name] for p in self.parameters() if values[p.name] != p.default}


_DECLARED = {field.name: field.metadata["parameter"] for field in dataclasses.fields(Settings)}
_PARAMETERS = tuple(Parameter(name=name, **_DECLARED[name]) for name in ORDER)
_BY_NAME = {parameter.name: parameter for parameter in _PARAMETERS}


def merge_limit(settings: Settings) -> float:
    """The largest part of the tokens that can be merged away: all but the destinations."""
    return 1.0 - 1.0 / (settings.merge_stride_x * settings.merge_stride_y)
