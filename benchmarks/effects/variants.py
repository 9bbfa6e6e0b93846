"""What is varied: a sweep of every parameter, the settings that the claims need, and the peers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.effects.peers import PEERS
from slothful import FAMILY_SITES, Parameter, Settings
from slothful.methods import (
    DOWNSAMPLING,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    PLAIN_TILES,
    SLOTHFUL,
    TOKEN_MERGING,
)
from slothful_webui.presets import SHIPPED, PresetFolders

OFF = "off"
TASKS = ("txt2img", "img2img", "hires")
REDUCED_SIZE, TILED_SIZE = 256, 384
"""Pixels. Tiles of 16 tokens, the smallest, want a grid of more than 32 tokens a side."""
POINTS = 4
"""Values of a number's sweep, besides its default: evenly spaced over its range."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to make the pictures.

    `settings` are those of the extension, None without it; `peer` is a name of `PEERS`;
    `parameter` and `value` say what a sweep varies; `tasks` are those in which it can differ from
    the rest of its sweep. A picture is measured against that of the variant `reference`.
    """

    name: str
    settings: Mapping[str, Any] | None = None
    peer: str = ""
    parameter: str = ""
    value: str = ""
    size: int = REDUCED_SIZE
    tasks: tuple[str, ...] = TASKS[:2]
    reference: str = OFF

    @property
    def key(self) -> str:
        """What the pictures depend on: equal for variants that are the same thing."""
        if self.settings is None:
            return f"{self.peer or OFF} {self.size}"
        changed = Settings.from_mapping(self.settings).changed()
        text = json.dumps(changed, sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]} {self.size}"

    @property
    def args(self) -> list[Any]:
        """The script's arguments, as over the API."""
        return [{"enabled": False} if self.settings is None else dict(self.settings)]


def plain(size: int) -> Variant:
    """The pictures of a size without the effect."""
    return Variant(f"{OFF} @{size}", size=size)


_STRONG = dict(in_slothful=9, out_slothful=9, in_depth_decay=1, out_depth_decay=1)
_TILES = dict(method=NEAR_SIGHTED_TILE, tile_size=16)
_NEAR = dict(method=NEAR_SIGHTED, base_tile_size=16, peak_tile_size=16)
_MERGED = dict(method=TOKEN_MERGING)
_CONTEXTS: dict[str, dict[str, Any]] = {
    "in_mode": dict(in_k_blend=0.5, in_v_blend=0.5),
    "out_mode": dict(out_k_blend=0.5, out_v_blend=0.5),
    "base_tile_size": dict(method=NEAR_SIGHTED),
    "peak_tile_size": dict(method=NEAR_SIGHTED),
    "base_global_ratio": _NEAR,
    "peak_global_ratio": _NEAR,
    "tile_size": dict(method=NEAR_SIGHTED_TILE),
    "global_ratio": _TILES,
    "tile_shift": _TILES,
    "tile_halo": _TILES,
    "tiling_max_depth": _TILES,
    "rounding": _STRONG,
    "kept_token": _STRONG,
    "only_where_it_pays": _STRONG,
    "plain_tile_size": dict(method=PLAIN_TILES, plain_swap=1),
    "plain_scale_depth": dict(method=PLAIN_TILES, plain_tile_size=64, plain_swap=1),
    "plain_max_depth": dict(method=PLAIN_TILES, plain_tile_size=64, plain_swap=1),
    "plain_swap": dict(method=PLAIN_TILES, plain_tile_size=64),
    "merge_cross": {**_MERGED, "merge_attention": False},
    "merge_mlp": {**_MERGED, "merge_attention": False},
    "merge_proportional": {**_MERGED, "merge_keys_only": True},
    "merge_depth_decay": {**_MERGED, "merge_max_downsample": 8},
    "downsample_mode": dict(method=DOWNSAMPLING),
    "vae_tile_size": dict(vae_tiles=True),
}
"""What a parameter's sweep sets besides it, where the defaults would hide what it does; for the
others it is the first method that uses them."""

_VALUES: dict[str, tuple[Any, ...]] = {
    "in_slothful": (2, 9, 20, 50),
    "out_slothful": (2, 9, 20, 50),
    "tile_size": (16, 24),
    "base_tile_size": (16, 48),
    "peak_tile_size": (16, 48),
    "tile_halo": (2, 4, 8),
    "plain_tile_size": (32, 64, 128),
    "plain_swap": (1, 2),
    "min_size": (320,),
    "min_width": (320,),
    "min_height": (320,),
    "merge_ratio": (0.25, 0.75),
    "merge_ratio_img2img": (0.25, 0.75),
    "merge_ratio_hires": (0.25, 0.75),
    "merge_max_downsample": (2, 4, 8),
    "merge_stride_x": (1, 4, 8),
    "merge_stride_y": (1, 4, 8),
    "downsample_depth_1": (1, 3, 4),
    "downsample_depth_2": (2, 4),
    "downsample_depth_3": (2, 4),
    "vae_tile_size": (64,),
}
"""Values of a sweep where even steps over the whole range would say little."""
_TILED = ("tile_size", "base_tile_size", "peak_tile_size", "global_ratio", "base_global_ratio",
          "peak_global_ratio", "tile_shift", "tile_halo", "tiling_max_depth")  # fmt: skip
_OWN_TASKS = {"passes": ("hires",), "merge_ratio_hires": ("hires",),
              "merge_ratio_img2img": ("img2img",)}  # fmt: skip


def sweeps() -> Iterator[Variant]:
    """Every parameter's values, one parameter at a time; its default is among them."""
    for parameter in Settings.parameters():
        context = _context(parameter)
        size = TILED_SIZE if parameter.name in _TILED else REDUCED_SIZE
        for value in _values(parameter):
            yield Variant(
                name=f"{parameter.name}={parameter.format(value)}",
                settings=MappingProxyType({**context, parameter.name: value}),
                parameter=parameter.name,
                value=parameter.format(value),
                size=size,
                tasks=_OWN_TASKS.get(parameter.name, TASKS[:2]),
            )


def _context(parameter: Parameter) -> dict[str, Any]:
    if parameter.name in _CONTEXTS:
        return _CONTEXTS[parameter.name]
    if parameter.name == "method":
        return {}
    return dict(method=parameter.methods[0]) if parameter.methods else {}


def _values(parameter: Parameter) -> list[Any]:
    if parameter.kind == "bool":
        return [False, True]
    if parameter.kind == "choice":
        return list(parameter.choices)
    if parameter.kind == "weights":
        return [{}, *({site: 0.0} for site in FAMILY_SITES["SD1, SD2"] if site != "M00")]
    default = parameter.default
    values = _VALUES.get(parameter.name)
    if values is None:
        even = np.linspace(parameter.minimum, parameter.maximum, POINTS)
        values = [parameter.parse(_rounded(value, parameter)) for value in even]
    return sorted({default, *(parameter.parse(value) for value in values)})


def _rounded(value: float, parameter: Parameter) -> float:
    steps = round((value - parameter.minimum) / parameter.step)
    return round(parameter.minimum + steps * parameter.step, 6)


def _both(**values: Any) -> dict[str, Any]:
    """The same for the input and the output blocks."""
    return {f"{side}_{name}": value for side in ("in", "out") for name, value in values.items()}


def _pooled(mode: str, k: float, v: float) -> dict[str, Any]:
    return {**_STRONG, **_both(mode=mode, k_blend=k, v_blend=v)}


def claims() -> Iterator[Variant]:
    """What the author's claims are tested on, besides the sweeps: stronger than the defaults, so
    that an effect shows that is there.
    """
    for pool in ("AVG", "MAX"):
        for dimensions in ("1D", "2D"):
            yield _claim(f"{dimensions} {pool} on V", _pooled(f"{dimensions}_{pool}", 0, 1))
            yield _claim(f"{dimensions} {pool} on both", _pooled(f"{dimensions}_{pool}", 1, 1))
    for k in (0.2, 0.5, 1):
        average = _claim(f"2D AVG on K {k:g}", _pooled("2D_AVG", k, 0))
        yield average
        maximum = _claim(f"2D MAX on K {k:g}", _pooled("2D_MAX", k, 0))
        yield dataclasses.replace(maximum, reference=average.name)
    yield _claim("2D AVG on both 0.5", _pooled("2D_AVG", 0.5, 0.5))
    for decay in (0, 1, 2, 4):
        yield _claim(
            f"depth decay {decay}", dict(_both(slothful=16, depth_decay=decay), time_decay=0)
        )
    for decay in (0, 2, 4):
        settings = {**_STRONG, **_both(v_blend=1), "peak_time": 0.2, "time_decay": decay}
        yield _claim(f"time decay {decay}", settings)
    for strength in (4, 9, 20):
        for axis in ("noise level", "pass progress"):
            settings = {**_STRONG, **_both(slothful=strength), "time_axis": axis}
            yield _claim(f"strength {strength}, {axis}", settings)
    for size in (16, 24):
        for ratio in (0.0, 0.5, 1.0):
            settings = {**_TILES, "tile_size": size, "global_ratio": ratio}
            yield _claim(f"tiles {size}, global {ratio:g}", settings, size=TILED_SIZE)
    for shift in ("alternating", "random"):
        settings = {**_TILES, "global_ratio": 0.0, "tile_shift": shift}
        yield _claim(f"tiles 16, global 0, {shift} shift", settings, size=TILED_SIZE)
    # 20 does not divide the grid of 48: ours takes three windows of 16
    settings = dict(_TILES, tile_size=20, global_ratio=0.0, tiling_max_depth=1)
    yield _claim("tiles 20, clamped", settings, size=TILED_SIZE)
    padded = "zero-padded tiles 20"
    yield Variant(padded, peer=padded, size=TILED_SIZE, tasks=TASKS[:1])


def _claim(name: str, settings: dict[str, Any], size: int = REDUCED_SIZE) -> Variant:
    tasks = TASKS[:2] if "strength" in name else TASKS[:1]
    return Variant(name, MappingProxyType(settings), size=size, tasks=tasks)


def contest() -> Iterator[Variant]:
    """Quality against cost: our methods at their defaults and around them, and the peers."""
    own: dict[str, dict[str, Any]] = {
        "Slothful Attention": {},
        "Slothful Attention, strength 12": _both(slothful=12),
        "Slothful Attention, at every step": dict(time_decay=0),
        "Slothful Attention, jittered": dict(kept_token="jittered"),
        "Near-sighted Attention": dict(method=NEAR_SIGHTED),
        "Near-sighted Attention, tiles 16": _NEAR,
        "Near-sighted Attention, jittered": dict(method=NEAR_SIGHTED, kept_token="jittered"),
        "Near-sighted Tile, tiles 16": _TILES,
        "Near-sighted Tile, tiles 16, global 0.2": {**_TILES, "global_ratio": 0.2},
        "Token Merging": _MERGED,
        "merged keys": dict(
            _MERGED, merge_ratio=0.7, merge_keys_only=True, merge_proportional=True, time_decay=0
        ),
        "Token Downsampling": dict(method=DOWNSAMPLING),
    }
    for size in (REDUCED_SIZE, TILED_SIZE):
        for name, settings in own.items():
            # tiles of 32 tokens cover the smaller picture
            if size == TILED_SIZE or "tiles" not in name:
                values = MappingProxyType(settings)
                yield Variant(f"{name} @{size}", values, size=size, tasks=TASKS[:1])
        for peer in PEERS:
            if "padded" not in peer and (size == TILED_SIZE or "16" not in peer):
                yield Variant(f"{peer} @{size}", peer=peer, size=size, tasks=TASKS[:1])


def presets() -> Iterator[Variant]:
    """The shipped presets."""
    folders = PresetFolders([SHIPPED])
    for name in folders.names():
        settings = folders.load(name).settings.changed()
        size = TILED_SIZE if settings.get("method", SLOTHFUL) == NEAR_SIGHTED else REDUCED_SIZE
        # the presets' own limits are for larger models' pictures
        settings = {key: value for key, value in settings.items() if key != "min_size"}
        yield Variant(f"preset {name}", MappingProxyType(settings), size=size)
