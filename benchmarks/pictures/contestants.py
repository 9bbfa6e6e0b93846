"""What contends: fewer steps, other methods and ours, each as a variant by its name."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from benchmarks.effects.cost import peer_left
from benchmarks.effects.peers import PEERS
from benchmarks.effects.variants import both_sides
from benchmarks.pictures.sampling import Picture
from benchmarks.pictures.variants import (
    PRESETS,
    Call,
    Ours,
    Play,
    Variant,
    deep,
    deep_cache,
    variants,
)
from benchmarks.rivals import RIVALS, EasyCache
from slothful import UnetShape
from slothful.settings.methods import (
    AGENTS,
    DOWNSAMPLING,
    FORECASTS,
    METHODS,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    PLAIN_TILES,
    SLOTHFUL,
    TOKEN_MERGING,
)


class Fewer(Variant):
    """No patch, and this share of the steps."""

    def __init__(self, share: float):
        self.share = share


class Peer(Variant):
    """One of `PEERS`, alike at every step. What it leaves is known when an image is made."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, math.nan

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """Of the image that was made last."""
        return [Call("peer", self._left) for _ in picture.calls]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        self._left = peer_left(unet, self._name, picture.size)
        with PEERS[self._name](unet):
            yield Play(lambda call: None, lambda: ())


class MeasuredEasyCache(Variant):
    """EasyCache by its own rule: how much it skips is known when the image is made."""

    def __init__(self) -> None:
        self._skipped: set[int] = set()

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """Of the image that was made last."""
        return [
            Call("skipped", 0.0) if index in self._skipped else Call("computed", 1.0)
            for index in range(len(picture.calls))
        ]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        with EasyCache(unet) as rival:
            rival.begin_pass(len(picture.calls))
            yield Play(functools.partial(setattr, rival, "index"), lambda: ())
            self._skipped = set(rival.skipped)  # which it forgets at its end


_NO_ENDS = {"sleep_first": 0, "sleep_last": 0}


_HALF: dict[str, Any] = {f"channels_depth_{depth}": 0.5 for depth in (1, 2, 3)}
_ORIGINAL = dict(method=SLOTHFUL, in_slothful=6, out_slothful=4)
AWAKE: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in METHODS},
    "Slothful Attention, strengths 6 and 4": _ORIGINAL,
    "Slothful Attention, strengths 6 and 4, jittered": dict(_ORIGINAL, kept_token="jittered"),
    "Slothful Attention, strengths 4": dict(both_sides(slothful=4), method=SLOTHFUL),
    "Slothful Attention, strengths 24": dict(both_sides(slothful=24), method=SLOTHFUL),
    "Slothful Attention, at every step": dict(method=SLOTHFUL, time_decay=0),
    "Slothful Attention, no depth decay": dict(both_sides(depth_decay=0), method=SLOTHFUL),
    "Near-sighted Tile, tiles 24, global 0.5": dict(
        method=NEAR_SIGHTED_TILE, tile_size=24, global_ratio=0.5
    ),
    "Near-sighted Tile, tiles 32, global 0.5": dict(
        method=NEAR_SIGHTED_TILE, tile_size=32, global_ratio=0.5
    ),
    "Plain Tiles of 256 pixels": dict(method=PLAIN_TILES, plain_tile_size=256),
    "Token Merging 0.7": dict(method=TOKEN_MERGING, merge_ratio=0.7),
    "Token Merging 0.7, at every step": dict(method=TOKEN_MERGING, merge_ratio=0.7, time_decay=0),
    "Token Merging 0.9, strides 4, at every step": dict(
        method=TOKEN_MERGING, merge_ratio=0.9, merge_stride_x=4, merge_stride_y=4, time_decay=0
    ),
    "Token Downsampling 3": dict(method=DOWNSAMPLING, downsample_depth_1=3.0),
    "Token Downsampling 3, at every step": dict(
        method=DOWNSAMPLING, downsample_depth_1=3.0, time_decay=0
    ),
    "Agent Attention, cells": dict(method=AGENTS, agent_pool="cells"),
    "Agent Attention, shortcut 0.1": dict(method=AGENTS, agent_shortcut=0.1),
    "fewer channels 0.75": dict.fromkeys(_HALF, 0.75),
    "fewer channels 0.5": _HALF,
}
"""Settings of methods, with every step awake; the first are the methods at their defaults."""
PEERS_SHOWN = ("tomesd 0.25", "tomesd 0.5", "tile only 16", "downsampled keys 2",
               "downsampled keys 3")  # fmt: skip


def contestants() -> dict[str, Variant]:
    """All that are compared, by name."""
    found: dict[str, Variant] = {f"{share:.0%} of the steps": Fewer(share)
                                 for share in (0.9, 0.8, 0.65, 0.5, 0.35)}  # fmt: skip
    timed = variants()
    found |= {name: timed[name] for name in timed if name.startswith(("T-G", "Spec"))}
    found |= {name: deep_cache(name) for name in RIVALS if name.startswith("DeepCache")}
    found["EasyCache"] = MeasuredEasyCache()
    found |= {name: Peer(name) for name in PEERS_SHOWN}
    for every in (2.5, 3, 5):
        for awake in (1, 2):
            for forecast in FORECASTS[:2]:
                own = deep(every, awake, sleep_forecast=forecast, **_NO_ENDS)
                found[f"deep blocks n = {every:g}, {awake} awake, {forecast}"] = own
    for preset in PRESETS:
        found[preset] = timed[f"preset {preset}"]
    for method in (SLOTHFUL, NEAR_SIGHTED):
        own = deep(3, 1, sleep_forecast="linear", method=method, **_NO_ENDS)
        found[f"{method}, deep blocks n = 3, 1 awake, linear"] = own
        for preset in PRESETS[:2]:
            values = timed[f"preset {preset}"].settings.changed()
            found[f"{method}, {preset}"] = Ours(**{**values, "method": method})
    for every in (2, 3, 5):
        found[f"negative side n = {every}"] = Ours(negative="asleep", negative_every=every)
    found |= {name: Ours(**values) for name, values in AWAKE.items()}
    found |= {name: timed[name] for name in timed if name.startswith("whole")}
    return found
