"""The parameters of token merging, under the names that tomesd has for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import TOKEN_MERGING
from .parameter import param

_MERGES: dict[str, Any] = dict(group="merging", methods=(TOKEN_MERGING,))
_PARTS = ("merge_attention", "merge_cross", "merge_mlp")
_MERGES_SOME: dict[str, Any] = dict(needs=_PARTS, **_MERGES)
_MERGES_KEYS: dict[str, Any] = dict(needs=("merge_attention",), **_MERGES)
_RATIOS = ("merge_ratio", "merge_ratio_img2img", "merge_ratio_hires")
_PART: dict[str, Any] = dict(needs=_RATIOS, **_MERGES)


def _ratio(default: float, label: str, help: str, **others: Any) -> Any:
    return param(default, label, help, range=(0, 1), step=0.05, **_MERGES_SOME, **others)


def _stride(axis: str) -> Any:
    return param(
        2,
        f"Merge stride {axis}",
        f"Along {axis}, one token out of this many is a destination that others merge into.",
        range=(1, 8),
        step=1,
        **_MERGES_SOME,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MergingParameters:
    """Fields of `Settings`."""

    merge_ratio: float = _ratio(
        0.5,
        "Merge ratio",
        "Share of the tokens that are merged into others at the peak; at most "
        "1 - 1 / (stride x * stride y).",
        brief="Share of the tokens that are merged at the peak.",
        is_strength=True,
    )
    merge_ratio_img2img: float = _ratio(
        0.0, "Merge ratio, img2img", "Merge ratio for img2img; 0 uses the main merge ratio."
    )
    merge_ratio_hires: float = _ratio(
        0.0, "Merge ratio, hires", "Merge ratio for the hires pass; 0 uses the main merge ratio."
    )
    merge_depth_decay: float = param(
        0.0,
        "Merge depth decay",
        "How much lower the ratio is in deeper blocks; 0 uses the same ratio everywhere.",
        range=(0, 4),
        step=0.1,
        needs=("merge_max_downsample>1",),
        **_MERGES,
    )
    merge_max_downsample: int = param(
        1,
        "Maximum downsampling",
        "1 merges at the finest level only, 2 also at the next level, up to 8 for all levels.",
        brief="1 merges at the finest level only, 8 at all levels.",
        range=(1, 8),
        step=1,
        **_MERGES_SOME,
    )
    merge_stride_x: int = _stride("x")
    merge_stride_y: int = _stride("y")
    merge_random: bool = param(
        True,
        "Random destinations",
        "Choose new destinations at each step; when off, the first token of each cell is used.",
        brief="Choose new destinations at each step.",
        **_MERGES_SOME,
    )
    merge_attention: bool = param(
        True, "Merge self-attention", "Merge tokens before the self-attention.", **_PART
    )
    merge_cross: bool = param(
        False,
        "Merge cross-attention",
        "Merge tokens before the cross-attention to the prompt.",
        **_PART,
    )
    merge_mlp: bool = param(
        False, "Merge MLP", "Merge tokens before the feed-forward layers.", **_PART
    )
    merge_keys_only: bool = param(
        True,
        "Merge keys and values only",
        "Self-attention keeps every query, so no detail is copied from one token to another.",
        brief="Self-attention keeps every query.",
        **_MERGES_KEYS,
    )
    merge_proportional: bool = param(
        True,
        "Proportional attention",
        "In self-attention, a merged token carries the combined weight of the tokens in it.",
        brief="A merged token carries the weight of the tokens in it.",
        **_MERGES_KEYS,
    )
