"""What is varied besides the sweeps: what the claims and the presets need."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from slothful import Settings
from slothful.settings.methods import (
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    PLAIN_TILES,
    TOKEN_MERGING,
)
from slothful_webui.presets import SHIPPED, PresetFolders

OFF = "off"
TASKS = ("txt2img", "img2img", "hires")
REDUCED_SIZE, TILED_SIZE = 256, 512
"""Pixels: 32 x 32 tokens at the finest level, and 64 x 64, as SD1 has for 512 pixels."""


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
        # all values: pictures of former defaults are not those of the present ones
        text = json.dumps(Settings.from_mapping(self.settings).as_dict(), sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]} {self.size}"

    @property
    def args(self) -> list[Any]:
        """The script's arguments, as over the API."""
        return [{"enabled": False} if self.settings is None else dict(self.settings)]


def plain(size: int) -> Variant:
    """The pictures of a size without the effect."""
    return Variant(f"{OFF} @{size}", size=size)


ORIGINAL = dict(
    kept_token="jittered", in_slothful=6, out_slothful=4, tile_size=32, global_ratio=0.5,
    merge_keys_only=False, merge_proportional=False,
)  # fmt: skip
"""What claims and sweeps change: the values of the methods' originals and tokens that join no
other, whose effects are larger."""
STRONG = dict(in_slothful=9, out_slothful=9, in_depth_decay=1, out_depth_decay=1)
TILES = dict(method=NEAR_SIGHTED_TILE, tile_size=16)
NEAR = dict(method=NEAR_SIGHTED, base_tile_size=16, peak_tile_size=16)
MERGED = dict(method=TOKEN_MERGING)


def both_sides(**values: Any) -> dict[str, Any]:
    """The same for the input and the output blocks."""
    return {f"{side}_{name}": value for side in ("in", "out") for name, value in values.items()}


def _pooled(mode: str, k: float, v: float) -> dict[str, Any]:
    return {**STRONG, **both_sides(mode=mode, k_blend=k, v_blend=v)}


def claims() -> Iterator[Variant]:
    """What the author's claims are tested on, besides the sweeps: stronger than the defaults, so
    that an effect shows that is there.
    """
    for pool in ("AVG", "MAX"):
        for dimensions in ("1D", "2D"):
            on_values = _pooled(f"{dimensions}_{pool}", 0, 1)
            yield _claim(f"{dimensions} {pool} on V", on_values)
            yield _claim(f"{dimensions} {pool} on V, every step", dict(on_values, time_decay=0))
            yield _claim(f"{dimensions} {pool} on both", _pooled(f"{dimensions}_{pool}", 1, 1))
    for k in (0.2, 0.5, 1):
        average = _claim(f"2D AVG on K {k:g}", _pooled("2D_AVG", k, 0))
        yield average
        maximum = _claim(f"2D MAX on K {k:g}", _pooled("2D_MAX", k, 0))
        yield dataclasses.replace(maximum, reference=average.name)
    yield _claim("2D AVG on both 0.5", _pooled("2D_AVG", 0.5, 0.5))
    for decay in (0, 1, 2, 4):
        yield _claim(
            f"depth decay {decay}", dict(both_sides(slothful=16, depth_decay=decay), time_decay=0)
        )
    for decay in (0, 2, 4):
        settings = {**STRONG, **both_sides(v_blend=1), "peak_time": 0.2, "time_decay": decay}
        yield _claim(f"time decay {decay}", settings)
    for strength in (4, 9, 20):
        for axis in ("noise level", "pass progress"):
            settings = {**STRONG, **both_sides(slothful=strength), "time_axis": axis}
            yield _claim(f"strength {strength}, {axis}", settings)
    for size in (16, 24):
        for ratio in (0.0, 0.5, 1.0):
            settings = {**TILES, "tile_size": size, "global_ratio": ratio}
            yield _claim(f"tiles {size}, global {ratio:g}", settings, size=TILED_SIZE)
    for shift in ("alternating", "random"):
        settings = {**TILES, "global_ratio": 0.0, "tile_shift": shift}
        yield _claim(f"tiles 16, global 0, {shift} shift", settings, size=TILED_SIZE)
    # 24 does not divide the grid of 64: ours takes three windows a side, none of them over it
    settings = dict(TILES, tile_size=24, global_ratio=0.0, tiling_max_depth=1)
    yield _claim("tiles 24, clamped", settings, size=TILED_SIZE)
    padded = "zero-padded tiles 24"
    yield Variant(padded, peer=padded, size=TILED_SIZE, tasks=TASKS[:1])


def _claim(name: str, settings: dict[str, Any], size: int = REDUCED_SIZE) -> Variant:
    tasks = TASKS[:2] if "strength" in name else TASKS[:1]
    return Variant(name, MappingProxyType({**ORIGINAL, **settings}), size=size, tasks=tasks)


HIGHLIGHTS = {
    "pools": ("strength 9, noise level", "strength 20, noise level", "2D AVG on V",
              "2D AVG on both", "2D MAX on V", "2D MAX on both"),
    "tiles": ("tiles 24, global 0", "tiles 24, global 1", "tiles 16, global 0",
              "tiles 16, global 0.5", "tiles 16, global 1", "tiles 16, global 0, random shift",
              "zero-padded tiles 24"),
}  # fmt: skip
"""Variants of the claims that are shown on a contact sheet of their own, the documentation's."""


LOOK_PRESETS = ("soft", "hard contrast", "subtle detail", "composition-safe", "i2i clean-up")
"""The shipped presets that are for how images look; what the others save is the contest's."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "soft, at every step": dict(_pooled("2D_AVG", 1, 1), time_decay=0),
    "soft, late": dict(_pooled("2D_AVG", 1, 1), peak_time=0.7),
    "soft, strength 20": {**_pooled("2D_AVG", 0.5, 0.5), **both_sides(slothful=20)},
    "hard, 1D average on V, at every step": dict(_pooled("1D_AVG", 0, 1), time_decay=0),
    "hard, average on K, at every step": dict(_pooled("2D_AVG", 1, 0), time_decay=0),
    "hard, average on K, output blocks alone": dict(out_k_blend=1),
    "detail, strength 6 at every step": dict(both_sides(slothful=6, depth_decay=4), time_decay=0),
    "detail, strength 9, late": dict(both_sides(slothful=9, depth_decay=4), peak_time=0.6),
    "detail, strongest token, half": dict(out_mode="2D_NORM", out_k_blend=0.5, out_v_blend=0.5),
    "detail, strongest token on both, 9": _pooled("2D_NORM", 1, 1),
    "detail, 1D strongest token on both, late": dict(_pooled("1D_NORM", 1, 1), peak_time=0.8),
    "detail, like the cell, on both": _pooled("2D_SIM", 1, 1),
    "detail, strength 16, finest level, late": dict(
        both_sides(slothful=16, depth_decay=4), peak_time=0.9
    ),
    "detail, tiles 16 without the rest": dict(TILES, global_ratio=0.0, tiling_max_depth=1),
    "detail, tiles 16, global 0.2": dict(
        TILES, global_ratio=0.2, tiling_max_depth=1, kept_token="merged"
    ),
    "detail, plain tiles 128, late": dict(
        method=PLAIN_TILES, plain_tile_size=128, plain_max_depth=1, plain_swap=1, peak_time=0.8
    ),
    "detail, near-sighted, late": dict(
        NEAR,
        base_tile_size=64,
        base_global_ratio=1.0,
        peak_global_ratio=0.0,
        peak_time=0.9,
        in_slothful=0,
        out_slothful=0,
        tiling_max_depth=1,
    ),
}
"""What these presets were chosen from, besides what the claims and the sweeps show."""


def presets() -> Iterator[Variant]:
    """The presets for how images look, and what they were chosen from."""
    for name, settings in CANDIDATES.items():
        values = MappingProxyType({**ORIGINAL, **settings})
        yield Variant(f"candidate {name}", values, tasks=TASKS[:1])
    folders = PresetFolders([SHIPPED])
    for name in LOOK_PRESETS:
        settings = MappingProxyType(folders.load(name).settings.changed())
        yield Variant(f"preset {name}", settings)
        if name in LOOK_PRESETS[:3]:
            at = f"preset {name} @{TILED_SIZE}"
            yield Variant(at, settings, size=TILED_SIZE, tasks=TASKS[:1])
