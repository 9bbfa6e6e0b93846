"""What keys and values are made from: a site's tokens, their pools, or what represents them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange

from ..planning.plan import Reduce
from ..planning.reduction import Reduction
from ..planning.tiling import Tiling
from .devices import kept_tensors
from .group_means import Groups
from .layout import Layout
from .likeness import features_of, groups_alike
from .moving import in_order, split_queries, windows_of
from .pooling import reduce_tokens

_ROUNDING = 1e-5
"""Sums of shares in single precision are off by less, relative to themselves."""


class KeyInputs(NamedTuple):
    """What is projected to keys and to values, each (batch, M, channels), the same tensor where
    both come from the same tokens; where some keys weigh more than others, the logarithm of the
    weights of every window's: (batch * W, K); and the groups whose means, of what was projected,
    are keys and values too.
    """

    keys: torch.Tensor
    values: torch.Tensor
    log_weights: torch.Tensor | None = None
    groups: Groups | None = None


class Match(NamedTuple):
    """Which tokens are similar: the groups in each window and in the whole grid, None where there
    are none, and the logarithm of each key's weight, as in `KeyInputs`.
    """

    own: Groups | None
    shared: Groups | None
    log_weights: torch.Tensor


def match_tokens(
    tokens: torch.Tensor,
    queries: torch.Tensor,
    layout: Layout,
    plan: Reduce,
    *,
    weighed: bool = True,
) -> Match:
    """The groups of a plan that merges. `tokens`: (batch, tokens, channels); `queries`: the same,
    split into windows by `split_queries`.

    Of a group of the whole grid a window counts only the tokens that are not its own. Where they
    are `weighed` and nothing is tiled, there may be up to seven groups more than the plan says.
    """
    tokens = in_order(tokens, queries, plan)

    def own_of(part: torch.Tensor) -> torch.Tensor:
        if layout.halo is not None:
            return windows_of(part, layout.halo, plan)
        if plan.order is not None:
            return part.reshape(len(queries), -1, part.shape[-1])
        return split_queries(part, layout, plan)

    features, channels = features_of(tokens), tokens.shape[-1]

    def groups_in(part: torch.Tensor, reduction: Reduction, tiling: Tiling | None = None) -> Groups:
        fills = weighed and plan.tiling is None
        return groups_alike(part, reduction, channels, tokens.dtype, fills=fills, tiling=tiling)

    own = None
    if plan.reduction is not None:
        own = groups_in(own_of(features), plan.reduction)
    if plan.global_reduction is None:
        assert own is not None
        return Match(own, None, _logarithm(own.sizes, tokens.dtype))
    shared = groups_in(features, plan.global_reduction, plan.order)
    inside = shared.sizes_in(own_of).unflatten(0, (len(tokens), plan.windows))
    # never less than nothing, however sums are rounded
    outside = torch.rsub(inside, shared.sizes[:, None], alpha=1 - _ROUNDING)
    weights = outside.flatten(0, 1)
    window = math.prod(plan.window)
    near = _ones(len(queries), window, tokens.device) if own is None else own.sizes
    return Match(own, shared, _logarithm(torch.cat([near, weights], dim=1), tokens.dtype))


def _logarithm(sizes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Of what is at least 0, in one step to another dtype."""
    return torch.log(sizes, out=torch.empty_like(sizes, dtype=dtype))


# kept on the device, so that a step sends nothing there
@kept_tensors(64)
def _ones(rows: int, count: int, device: torch.device) -> torch.Tensor:
    """(rows, count)"""
    return torch.ones((1, count), device=device).expand(rows, -1)


def key_inputs(
    tokens: torch.Tensor,
    queries: torch.Tensor,
    layout: Layout,
    plan: Reduce,
    match: Match | None = None,
) -> KeyInputs:
    """Where keys and values come from.

    `tokens` and `queries` as in `match_tokens`; `match`: what that gives, for a plan that merges,
    from the same tokens or from those of an earlier layer of the site.
    """
    tokens = in_order(tokens, queries, plan)
    if not plan.pools:
        kept = tokens if layout.sources is None else tokens.index_select(1, layout.sources)
        return KeyInputs(kept, kept)
    if match is not None and match.own is None:
        # every token is projected: the mean of projected ones is the mean's projection
        return KeyInputs(tokens, tokens, match.log_weights, match.shared)
    own = queries if layout.halo is None else windows_of(tokens, layout.halo, plan)
    if match is not None and match.own is not None:
        means = match.own.means(own).reshape(len(tokens), -1, tokens.shape[-1])
        if match.shared is not None:
            means = torch.cat([means, match.shared.means(tokens)], dim=1)
        return KeyInputs(means, means, match.log_weights)
    return _pooled(tokens, own, plan)


def _pooled(tokens: torch.Tensor, own: torch.Tensor, plan: Reduce) -> KeyInputs:
    """The pools of each window's `own` tokens, window after window, and those of the whole grid."""
    assert plan.reduction is not None  # blends go with a strength above 1
    keys, values = reduce_tokens(own, plan.reduction)
    if plan.tiling is None:
        return KeyInputs(keys, values)
    parts = [(_in_a_row(keys, plan), _in_a_row(values, plan))]
    if plan.global_reduction is not None:
        parts.append(reduce_tokens(tokens, plan.global_reduction))
    keys = torch.cat([part for part, _ in parts], dim=1)
    if not plan.separate_kv:
        return KeyInputs(keys, keys)
    return KeyInputs(keys, torch.cat([part for _, part in parts], dim=1))


def _in_a_row(keys: torch.Tensor, plan: Reduce) -> torch.Tensor:
    """(batch * W, keys, channels) -> (batch, W * keys, channels)."""
    return rearrange(keys, "(b w) k c -> b (w k) c", w=plan.windows)
