"""The settings of the extension: immutable, validated when built, each declared in one place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from slothful.parameters import Parameter, SettingsError, param

SLOTHFUL = "Slothful Attention"
NEAR_SIGHTED_TILE = "Near-sighted Tile"
NEAR_SIGHTED = "Near-sighted Attention"
METHODS = (SLOTHFUL, NEAR_SIGHTED_TILE, NEAR_SIGHTED)

MODES = ("1D_AVG", "1D_MAX", "2D_AVG", "2D_MAX")
ROUNDINGS = ("stride", "smooth")
SHIFTS = ("none", "random", "alternating")
TIME_AXES = ("noise level", "pass progress")
PASSES = ("both", "base", "hires")

_POOLS = dict(methods=(SLOTHFUL, NEAR_SIGHTED))
_TILES = dict(group="tiling", methods=(NEAR_SIGHTED_TILE, NEAR_SIGHTED))
_TILE = dict(group="tiling", range=(16, 64), step=2)
_RATIO = dict(group="tiling", range=(0, 1), step=0.1)
_STEADY = dict(methods=(NEAR_SIGHTED_TILE,))
_VARYING = dict(methods=(NEAR_SIGHTED,))


def _sides(side: str, blocks: str, slothful: float) -> dict[str, Any]:
    """The parameters that exist once for the input blocks and once for the output blocks."""
    options = dict(group=side, **_POOLS)
    return {
        "mode": param(
            "2D_AVG",
            f"{blocks}: mode",
            "How a cell of tokens becomes one: average or maximum, over a rectangle (2D) or "
            "over consecutive tokens in row order (1D, acts more strongly).",
            choices=MODES,
            **options,
        ),
        "depth_decay": param(
            2.0,
            f"{blocks}: depth decay",
            "How much weaker the effect is in deeper blocks; 0 acts on all levels alike, "
            "large values keep the composition.",
            range=(0, 4),
            step=0.1,
            **options,
        ),
        "slothful": param(
            slothful,
            f"{blocks}: strength",
            "How many tokens share one key and value at the peak; 1 or less does nothing.",
            range=(0, 50),
            step=0.5,
            **options,
        ),
        "k_blend": param(
            0.0,
            f"{blocks}: key blend",
            "0 keeps one token of each cell as the key, 1 pools the whole cell.",
            range=(0, 1),
            step=0.05,
            **options,
        ),
        "v_blend": param(
            0.0,
            f"{blocks}: value blend",
            "0 keeps one token of each cell as the value, 1 pools the whole cell "
            "(average softens, maximum hardens).",
            range=(0, 1),
            step=0.05,
            **options,
        ),
    }


_IN = _sides("in", "Input blocks", 6.0)
_OUT = _sides("out", "Output blocks", 4.0)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the extension shall do to the self-attention, in the terms of the page.

    Names and defaults follow the method's ComfyUI original (MitoshiroPJ, Slothful Attention).
    Raises `SettingsError` when a value is of the wrong type or out of its range.
    """

    method: str = param(
        SLOTHFUL,
        "Method",
        "Slothful Attention reduces keys and values, Near-sighted Tile splits the queries into "
        "tiles, Near-sighted Attention does both.",
        group="main",
        choices=METHODS,
    )
    peak_time: float = param(
        0.4,
        "Peak time",
        "When the effect is strongest: 0 is pure noise (start), 1 is the clean picture (end).",
        group="schedule",
        range=(0, 1),
        step=0.05,
        **_POOLS,
    )
    time_decay: float = param(
        2.0,
        "Time decay",
        "How fast the effect fades away from the peak; 0 keeps it constant.",
        group="schedule",
        range=(0, 4),
        step=0.1,
        **_POOLS,
    )
    time_axis: str = param(
        "noise level",
        "Time axis",
        "Noise level measures the noise in the latent; pass progress runs from 0 to 1 over each "
        "pass, so that img2img and hires passes get the whole schedule.",
        group="schedule",
        choices=TIME_AXES,
        **_POOLS,
    )
    keep_middle: bool = param(
        True,
        "Keep the middle block",
        "Leave the middle block alone; it decides the composition.",
        group="schedule",
    )
    in_mode: str = _IN["mode"]
    in_depth_decay: float = _IN["depth_decay"]
    in_slothful: float = _IN["slothful"]
    in_k_blend: float = _IN["k_blend"]
    in_v_blend: float = _IN["v_blend"]
    out_mode: str = _OUT["mode"]
    out_depth_decay: float = _OUT["depth_decay"]
    out_slothful: float = _OUT["slothful"]
    out_k_blend: float = _OUT["k_blend"]
    out_v_blend: float = _OUT["v_blend"]
    rounding: str = param(
        "stride",
        "Rounding",
        "Stride rounds the cells to whole tokens, as the original does; smooth lets the number "
        "of cells follow the strength closely.",
        group="schedule",
        choices=ROUNDINGS,
    )
    tiling_max_depth: int = param(
        2,
        "Tile down to depth",
        "1 tiles only the finest self-attention, 2 also the next level, 3 the one after.",
        **_TILES,
        range=(1, 3),
        step=1,
    )
    tile_size: int = param(
        32, "Tile size", "Largest side of a tile, in tokens.", **_TILE, **_STEADY
    )
    global_ratio: float = param(
        0.5,
        "Global ratio",
        "Keys from the whole picture, relative to the tile's own; more keeps the picture "
        "consistent.",
        **_RATIO,
        **_STEADY,
    )
    base_tile_size: int = param(
        24, "Base tile size", "Tile size far from the peak time, in tokens.", **_TILE, **_VARYING
    )
    peak_tile_size: int = param(
        32, "Peak tile size", "Tile size at the peak time, in tokens.", **_TILE, **_VARYING
    )
    base_global_ratio: float = param(
        0.2, "Base global ratio", "Global ratio far from the peak time.", **_RATIO, **_VARYING
    )
    peak_global_ratio: float = param(
        0.8, "Peak global ratio", "Global ratio at the peak time.", **_RATIO, **_VARYING
    )
    tile_shift: str = param(
        "none",
        "Tile shift",
        "Move the tiles from step to step, so that seams do not sit still; costs some speed.",
        **_TILES,
        choices=SHIFTS,
    )
    passes: str = param(
        "both",
        "Passes",
        "Act in the base pass (txt2img, img2img), in the hires pass, or in both.",
        group="main",
        choices=PASSES,
    )
    min_size: int = param(
        0,
        "Smallest side",
        "Leave pictures alone whose shorter side has fewer pixels than this; 0 acts on all.",
        group="main",
        range=(0, 2048),
        step=64,
    )
    only_where_it_pays: bool = param(
        False,
        "Only where it pays",
        "Leave blocks alone where the method would cost more time than it saves, as on small "
        "pictures.",
        group="main",
    )
    block_weights: Mapping[str, float] = param(
        {},
        "Block weights",
        "Multiplies the strength of single blocks; 0 leaves a block alone in every method.",
        group="blocks",
        range=(0, 2),
        step=0.05,
    )

    def __post_init__(self) -> None:
        for parameter in self.parameters():
            value = parameter.parse(getattr(self, parameter.name))
            if parameter.kind == "weights":
                value = MappingProxyType(value)
            object.__setattr__(self, parameter.name, value)

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """All parameters in the order of the page."""
        return _PARAMETERS

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """One parameter by its name. Raises `SettingsError` with the nearest name that exists."""
        by_name = {parameter.name: parameter for parameter in cls.parameters()}
        if name not in by_name:
            near = difflib.get_close_matches(str(name), by_name, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"unknown parameter {name!r}{hint}")
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
