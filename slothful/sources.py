"""What keys and values are made from: a site's tokens, their pools, or what stands for them."""

from __future__ import annotations

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


def key_sources(
    tokens: torch.Tensor, queries: torch.Tensor, layout: Layout, plan: SitePlan
) -> KeySources:
    """Where keys and values come from.

    `tokens`: (batch, tokens, channels); `queries`: the same, split into windows by
    `split_queries`.
    """
    if not plan.pools:
        sources = tokens if layout.sources is None else tokens.index_select(1, layout.sources)
        return KeySources(sources, sources)
    own = queries if layout.halo is None else windows_of(tokens, layout.halo, plan)
    if plan.merges:
        return _merged_sources(tokens, own, layout, plan)
    if plan.tiling is None:
        return KeySources(*reduce_tokens(tokens, plan.reduction))
    own = reduce_tokens(own, plan.reduction)
    parts = [[rearrange(part, "(b w) k c -> b (w k) c", w=len(plan.tiling)) for part in own]]
    if plan.global_reduction is not None:
        parts.append(reduce_tokens(tokens, plan.global_reduction))
    keys, values = zip(*parts)
    keys = torch.cat(keys, dim=1)
    return KeySources(keys, torch.cat(values, dim=1) if plan.splits else keys)


def _merged_sources(
    tokens: torch.Tensor, own: torch.Tensor, layout: Layout, plan: SitePlan
) -> KeySources:
    """Kept tokens that stand for those which joined them; `own` are each window's tokens. Of a
    group of the whole grid a window counts only the tokens that are not its own.
    """

    def own_of(part: torch.Tensor) -> torch.Tensor:
        if layout.halo is None:
            return split_queries(part, layout, plan)
        return windows_of(part, layout.halo, plan)

    features = features_of(tokens)
    own_groups = shared_groups = None
    if plan.reduction is not None:
        joined = join_alike(own_of(features), kept_index(plan.reduction, tokens.device))
        own_groups = groups_of(joined, len(plan.reduction), tokens.dtype)
    if plan.global_reduction is not None:
        joined = join_alike(features, kept_index(plan.global_reduction, tokens.device))
        shared_groups = groups_of(joined, len(plan.global_reduction), tokens.dtype)
    del features  # its memory serves for the means
    if own_groups is None:
        weights = torch.ones(own.shape[:2], device=tokens.device)
    else:
        weights = own_groups.sizes
    if shared_groups is not None:
        sizes = shared_groups.sizes.repeat_interleave(plan.windows, dim=0)
        weights = torch.cat([weights, sizes - shared_groups.sizes_in(own_of)], dim=1)
    if own_groups is None:
        # every token is projected: the mean of projected ones is the mean's projection
        return KeySources(tokens, tokens, weights.log(), shared_groups)
    sources = own_groups.means(own).reshape(len(tokens), -1, tokens.shape[-1])
    if shared_groups is not None:
        sources = torch.cat([sources, shared_groups.means(tokens)], dim=1)
    return KeySources(sources, sources, weights.log())
