"""A sweep of every parameter, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.effects.variants import (
    MERGED,
    NEAR,
    ORIGINAL,
    REDUCED_SIZE,
    STRONG,
    TASKS,
    TILED_SIZE,
    TILES,
    Variant,
)
from slothful import FAMILY_SITES, Parameter, Settings
from slothful.settings.methods import (
    ASLEEP,
    DEEP,
    DOWNSAMPLING,
    IN_ATTENTION,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    NO_METHOD,
    PLAIN_TILES,
    PUSH,
    VSF,
)

POINTS = 3
"""Values of a number's sweep, besides its default: evenly spaced over its range."""

_CONTEXTS: dict[str, dict[str, Any]] = {
    "keep_middle": dict(in_depth_decay=0, out_depth_decay=0),
    "in_mode": dict(in_k_blend=0.5, in_v_blend=0.5),
    "out_mode": dict(out_k_blend=0.5, out_v_blend=0.5),
    "base_tile_size": dict(method=NEAR_SIGHTED),
    "peak_tile_size": dict(method=NEAR_SIGHTED),
    "base_global_ratio": NEAR,
    "peak_global_ratio": NEAR,
    "tile_size": dict(method=NEAR_SIGHTED_TILE),
    "global_ratio": TILES,
    "tile_shift": TILES,
    "tile_halo": TILES,
    "tiling_max_depth": TILES,
    "rounding": STRONG,
    "kept_token": STRONG,
    "only_where_it_pays": STRONG,
    "plain_tile_size": dict(method=PLAIN_TILES, plain_swap=1),
    "plain_scale_depth": dict(method=PLAIN_TILES, plain_tile_size=64, plain_swap=1),
    "plain_max_depth": dict(
        method=PLAIN_TILES, plain_tile_size=64, plain_swap=1, plain_scale_depth=False
    ),
    "plain_swap": dict(method=PLAIN_TILES, plain_tile_size=64),
    "merge_cross": {**MERGED, "merge_attention": False},
    "merge_mlp": {**MERGED, "merge_attention": False},
    "merge_proportional": {**MERGED, "merge_keys_only": True},
    "merge_depth_decay": {**MERGED, "merge_max_downsample": 8},
    "downsample_mode": dict(method=DOWNSAMPLING),
    "vae_tile_size": dict(vae_tiles=True),
}
"""What a parameter's sweep sets besides it, where the defaults would hide what it does; for the
others it is that of their group, or the first method that uses them."""
# a study's images have fewer steps than sleep needs by default
_SLEEP: dict[str, Any] = dict(method=NO_METHOD, sleep=DEEP, sleep_min_steps=1)
_IN_ATTENTION: dict[str, Any] = dict(method=NO_METHOD, negative=IN_ATTENTION)
_GROUP_CONTEXTS: dict[str, dict[str, Any]] = {
    "sleep": _SLEEP,
    "sleep_peak_time": dict(_SLEEP, sleep_time_decay=2),
    "negative": dict(method=NO_METHOD, negative=ASLEEP, sleep_min_steps=1),
    "negative_form": _IN_ATTENTION,
    "negative_scale": _IN_ATTENTION,
    "negative_tau": _IN_ATTENTION,
    "negative_alpha": _IN_ATTENTION,
    "negative_strength": {**_IN_ATTENTION, "negative_form": VSF},
    "mix": dict(method=NO_METHOD, mix=PUSH),
    "mix_peak_time": dict(method=NO_METHOD, mix=PUSH, mix_time_decay=2),
}
"""By the beginning of a parameter's name, the longest that fits."""

_VALUES: dict[str, tuple[Any, ...]] = {
    "in_slothful": (2, 6, 9, 20, 50),
    "out_slothful": (2, 4, 9, 20, 50),
    "tile_size": (16, 24, 32),
    "base_tile_size": (16, 48),
    "peak_tile_size": (16, 48),
    "tile_halo": (2, 4, 8),
    "plain_tile_size": (32, 64, 128, 256),
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
_OWN_TASKS = {"block_weights": TASKS[:1], "passes": ("hires",), "merge_ratio_hires": ("hires",),
              "merge_ratio_img2img": ("img2img",), "sleep_every_hires": ("hires",),
              "sleep_every_img2img": ("img2img",)}  # fmt: skip


def sweeps() -> Iterator[Variant]:
    """Every parameter's values, one parameter at a time; its default is among them."""
    for parameter in Settings.parameters():
        context = _context(parameter)
        size = TILED_SIZE if parameter.name in _TILED else REDUCED_SIZE
        for value in _values(parameter):
            yield Variant(
                name=f"{parameter.name}={parameter.format(value)}",
                settings=MappingProxyType({**ORIGINAL, **context, parameter.name: value}),
                parameter=parameter.name,
                value=parameter.format(value),
                size=size,
                tasks=_OWN_TASKS.get(parameter.name, TASKS[: 1 if size == TILED_SIZE else 2]),
            )


def _context(parameter: Parameter) -> dict[str, Any]:
    if parameter.name in _CONTEXTS:
        return _CONTEXTS[parameter.name]
    for beginning in sorted(_GROUP_CONTEXTS, key=len, reverse=True):
        if parameter.name.startswith(beginning):
            return _GROUP_CONTEXTS[beginning]
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
