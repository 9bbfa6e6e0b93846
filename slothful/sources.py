"""What keys and values are made from: a site's tokens, their pools, or what stands for them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange

from slothful.groups import Groups, groups_of
from slothful.layout import Layout, split_queries, windows_of
from slothful.likeness import features_of, join_alike
from slothful.plan import SitePlan
from slothful.pooling import kept_index, reduce_tokens


class KeySources(NamedTuple):
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
    """Which tokens are alike: the groups in each window and in the whole grid, None where there
    are none, and the logarithm of each key's weight, as in `KeySources`.
    """

    own: Groups | None
    shared: Groups | None
    log_weights: torch.Tensor


def match_tokens(
    tokens: torch.Tensor, queries: torch.Tensor, layout: Layout, plan: SitePlan
) -> Match:
    """The groups of a plan that merges. `tokens`: (batch, tokens, channels); `queries`: the same,
    split into windows by `split_queries`.

    Of a group of the whole grid a window counts only the tokens that are not its own.
    """

    def own_of(part: torch.Tensor) -> torch.Tensor:
        if layout.halo is None:
            return split_queries(part, layout, plan)
        return windows_of(part, layout.halo, plan)

    features = features_of(tokens)
    own, weights = None, None
    if plan.reduction is not None:
        joined = join_alike(own_of(features), kept_index(plan.reduction, tokens.device))
        own = groups_of(joined, len(plan.reduction), tokens.dtype)
        weights = own.sizes
    if plan.global_reduction is None:
        return Match(own, None, weights.log().to(tokens.dtype))
    if own is None:
        shape = (len(queries), math.prod(plan.window))
        weights = torch.ones(shape, device=tokens.device)
    joined = join_alike(features, kept_index(plan.global_reduction, tokens.device))
    shared = groups_of(joined, len(plan.global_reduction), tokens.dtype)
    sizes = shared.sizes.repeat_interleave(plan.windows, dim=0) - shared.sizes_in(own_of)
    return Match(own, shared, torch.cat([weights, sizes], dim=1).log().to(tokens.dtype))


def key_sources(
    tokens: torch.Tensor,
    queries: torch.Tensor,
    layout: Layout,
    plan: SitePlan,
    match: Match | None = None,
) -> KeySources:
    """Where keys and values come from.

    `tokens` and `queries` as in `match_tokens`; `match`: what that gives, for a plan that merges,
    from the same tokens or from those of an earlier layer of the site.
    """
    if not plan.pools:
        sources = tokens if layout.sources is None else tokens.index_select(1, layout.sources)
        return KeySources(sources, sources)
    if plan.merges and match.own is None:
        # every token is projected: the mean of projected ones is the mean's projection
        return KeySources(tokens, tokens, match.log_weights, match.shared)
    own = queries if layout.halo is None else windows_of(tokens, layout.halo, plan)
    if plan.merges:
        sources = match.own.means(own).reshape(len(tokens), -1, tokens.shape[-1])
        if match.shared is not None:
            sources = torch.cat([sources, match.shared.means(tokens)], dim=1)
        return KeySources(sources, sources, match.log_weights)
    if plan.tiling is None:
        return KeySources(*reduce_tokens(tokens, plan.reduction))
    own = reduce_tokens(own, plan.reduction)
    parts = [[rearrange(part, "(b w) k c -> b (w k) c", w=len(plan.tiling)) for part in own]]
    if plan.global_reduction is not None:
        parts.append(reduce_tokens(tokens, plan.global_reduction))
    keys, values = zip(*parts)
    keys = torch.cat(keys, dim=1)
    return KeySources(keys, torch.cat(values, dim=1) if plan.splits else keys)
