"""The parameters of the other methods and of what was added to ours.

They come after all others, so that lists of arguments that were written for an older version keep
their meaning. Where a parameter has a name elsewhere (tomesd, HyperTile, ToDo), it has the
same here; the presets "like ..." hold the defaults that it has there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from slothful.methods import (
    DOWNSAMPLERS,
    DOWNSAMPLING,
    KEPT,
    PLAIN_TILES,
    SUBSAMPLING,
    TILING,
    TOKEN_MERGING,
)
from slothful.parameters import param

_MERGES = dict(group="merging", methods=(TOKEN_MERGING,))
_PARTS = ("merge_attention", "merge_cross", "merge_mlp")
_MERGES_SOME = dict(needs=_PARTS, **_MERGES)
_MERGES_KEYS = dict(needs=("merge_attention",), **_MERGES)
_RATIOS = ("merge_ratio", "merge_ratio_img2img", "merge_ratio_hires")
_PART = dict(needs=_RATIOS, **_MERGES)
_PLAIN = dict(group="tiling", methods=(PLAIN_TILES,))
_SAMPLES = dict(group="downsampling", methods=(DOWNSAMPLING,))
_PIXELS = dict(group="limits", range=(0, 2048), step=64)


def _ratio(default: float, label: str, help: str) -> Any:
    return param(default, label, help, range=(0, 1), step=0.05, **_MERGES_SOME)


def _stride(axis: str) -> Any:
    return param(
        2,
        f"Merge stride {axis}",
        f"One token of so many along {axis} is a destination, into which others are merged.",
        range=(1, 8),
        step=1,
        **_MERGES_SOME,
    )


def _factor(default: float, label: str, which: str) -> Any:
    return param(
        default,
        label,
        f"Keys and values {which} are so many times fewer along each side at the peak.",
        range=(1, 10),
        step=0.1,
        **_SAMPLES,
    )


@dataclasses.dataclass(frozen=True)
class OtherParameters:
    """Fields of `Settings`."""

    kept_token: str = param(
        "merged",
        "Kept token",
        "Which token of a cell is kept where nothing is pooled: always the first, one that moves "
        "from step to step (jittered), or such a one that stands for all tokens that are most "
        "like it and weighs as much as they do (merged: nearest to the picture without it).",
        group="schedule",
        choices=KEPT,
        needs=(
            "in_k_blend<1",
            "in_v_blend<1",
            "out_k_blend<1",
            "out_v_blend<1",
            "global_ratio",
            "base_global_ratio",
            "peak_global_ratio",
            "downsample_mode=nearest",
        ),
        methods=(*SUBSAMPLING, DOWNSAMPLING),
    )
    tile_halo: int = param(
        0,
        "Tile halo",
        "A tile's own keys reach so many tokens past its edge, which softens seams.",
        group="tiling",
        methods=(*TILING, PLAIN_TILES),
        range=(0, 16),
        step=1,
    )
    plain_tile_size: int = param(
        512,
        "Smallest tile in pixels",
        "A tile is at least as large at the peak, and divides the picture evenly where it can.",
        range=(32, 1024),
        step=16,
        **_PLAIN,
    )
    plain_scale_depth: bool = param(
        True,
        "Scale tiles with depth",
        "Deeper blocks get tiles of as many more tokens as they are coarser.",
        needs=("plain_max_depth>1",),
        **_PLAIN,
    )
    plain_max_depth: int = param(
        4,
        "Plain tiles down to depth",
        "1 tiles only the finest self-attention, 2 also the next level, up to 4 for all.",
        range=(1, 4),
        step=1,
        **_PLAIN,
    )
    plain_swap: int = param(
        3,
        "Tile sizes to swap",
        "Changes at random, from step to step, between so many tile sizes; 1 keeps the smallest.",
        range=(1, 64),
        step=1,
        **_PLAIN,
    )
    merge_ratio: float = _ratio(
        0.5,
        "Merge ratio",
        "Share of the tokens that is merged away at the peak; at most 1 - 1 / (stride x * "
        "stride y).",
    )
    merge_ratio_img2img: float = _ratio(
        0.0, "Merge ratio, img2img", "The same for img2img; 0 is the merge ratio."
    )
    merge_ratio_hires: float = _ratio(
        0.0, "Merge ratio, hires", "The same for the hires pass; 0 is the merge ratio."
    )
    merge_depth_decay: float = param(
        0.0,
        "Merge depth decay",
        "How much smaller the ratio is in deeper blocks; 0 is the same everywhere.",
        range=(0, 4),
        step=0.1,
        needs=("merge_max_downsample>1",),
        **_MERGES,
    )
    merge_max_downsample: int = param(
        1,
        "Maximum downsampling",
        "1 merges only in the finest self-attention, 2 also in the next level, up to 8 for all.",
        range=(1, 8),
        step=1,
        **_MERGES_SOME,
    )
    merge_stride_x: int = _stride("x")
    merge_stride_y: int = _stride("y")
    merge_random: bool = param(
        True,
        "Random destinations",
        "Destinations change from step to step; off, they are the first tokens of each cell.",
        **_MERGES_SOME,
    )
    merge_attention: bool = param(
        True, "Merge self-attention", "Merge before the self-attention.", **_PART
    )
    merge_cross: bool = param(
        False, "Merge cross-attention", "Merge before the attention to the prompt.", **_PART
    )
    merge_mlp: bool = param(False, "Merge MLP", "Merge before the feed-forward layers.", **_PART)
    merge_keys_only: bool = param(
        True,
        "Merge keys and values only",
        "In self-attention every query is kept, so that no detail is copied between tokens.",
        **_MERGES_KEYS,
    )
    merge_proportional: bool = param(
        True,
        "Proportional attention",
        "A merged token weighs in self-attention as much as the tokens in it.",
        **_MERGES_KEYS,
    )
    downsample_mode: str = param(
        "nearest",
        "Downsampling",
        "Nearest keeps one token of each cell, area takes the average.",
        choices=DOWNSAMPLERS,
        needs=(
            "downsample_depth_1>1",
            "downsample_depth_2>1",
            "downsample_depth_3>1",
            "block_weights>1",
        ),
        **_SAMPLES,
    )
    downsample_depth_1: float = _factor(2.0, "Factor at depth 1", "of the finest self-attention")
    downsample_depth_2: float = _factor(1.0, "Factor at depth 2", "of the next level")
    downsample_depth_3: float = _factor(1.0, "Factor at depth 3", "of all deeper levels")
    min_width: int = param(
        0,
        "Smallest width",
        "Leave pictures alone that are narrower than so many pixels; 0 acts on all.",
        **_PIXELS,
    )
    min_height: int = param(
        0,
        "Smallest height",
        "Leave pictures alone that are lower than so many pixels; 0 acts on all.",
        **_PIXELS,
    )
    vae_tiles: bool = param(
        False,
        "Tile the VAE",
        "Also tile the self-attention that turns pictures into latents and back; seldom seen in "
        "the picture, saves memory on large ones.",
        group="vae",
    )
    vae_tile_size: int = param(
        128,
        "Smallest VAE tile in pixels",
        "A tile of the VAE's self-attention is at least as large.",
        group="vae",
        needs=("vae_tiles",),
        range=(64, 1024),
        step=16,
    )
