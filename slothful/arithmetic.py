"""The arithmetic of one self-attention, and whether a plan for it saves more time than it costs."""

from __future__ import annotations

import functools
import math

import torch

from slothful.layout import plan_layout
from slothful.likeness import WIDTH
from slothful.plan import SitePlan, plan_site
from slothful.schedule import Moment
from slothful.settings import Settings
from slothful.sites import Site

# what else takes time, in operations that could be done meanwhile; `benchmarks.speed.calibrate`
FIXED = 1.2e7
"""The hooks of one attention."""

MATCHING = 1e8
"""The many small steps in which like tokens are found and put together."""

PER_SCORE = 80.0
"""The exponential of one score of one head."""

PER_VALUE = 180.0
"""Moving one value."""


@functools.lru_cache(maxsize=4096)
def attention_operations(
    plan: SitePlan | None, grid: tuple[int, int], channels: int, inner: int, layers: int = 1
) -> float:
    """Multiplications and additions of the attn1 of a site's `layers` for one row of the batch:
    four projections, scores and the sum of values, and with merging of finding what is alike.

    `grid` is its (height, width) in tokens, `channels` are those of a token, `inner` those of a
    projection (all heads). Without a plan: of the attention as it is.
    """
    tokens = grid[0] * grid[1]
    queries, keys, projected = tokens, tokens, tokens
    if plan is not None:
        queries, keys, projected = plan.query_count, plan.key_count, _projected_tokens(plan)
    matching = 0.0
    if plan is not None and plan.merging is not None:
        destinations = plan.merging.destinations
        matching = 2.0 * channels * destinations * (tokens - destinations) * layers
    elif plan is not None and plan.merges:
        matching = _likeness_operations(plan, channels)
    each = 4.0 * inner * channels * (queries + projected) + 4.0 * queries * keys * inner
    return matching + layers * each


def saved_operations(plan: SitePlan, channels: int, layers: int = 1) -> float:
    """Operations that a plan saves at tokens of so many channels, for one row of the batch."""
    full = attention_operations(None, plan.grid, channels, channels, layers)
    return full - attention_operations(plan, plan.grid, channels, channels, layers)


def saved_scores(plan: SitePlan) -> int:
    """Scores of one head that a plan saves in one layer, for one row of the batch."""
    return plan.tokens**2 - plan.query_count * plan.key_count


def searches(plan: SitePlan, layers: int = 1) -> int:
    """How often tokens that are alike are looked for in the layers of a site."""
    return layers if plan.merging is not None else int(plan.merges)


def moved_values(plan: SitePlan, channels: int, layers: int = 1) -> int:
    """Values that a plan copies besides the attention itself, for one row of the batch."""
    if plan.merging is not None:  # the tokens are dealt to two sets, merged and spread again
        return layers * 3 * plan.tokens * channels
    sources = plan.tokens if plan.pools else _projected_tokens(plan)
    moved = sources * channels
    if plan.tiling is not None:
        moved += (2 * len(plan.tiling) * plan.key_count + 2 * plan.query_count) * channels
    # every likeness is looked at once
    return layers * moved + (_likenesses(plan) if plan.merges else 0)


@functools.lru_cache(maxsize=4096)
def pays(plan: SitePlan, channels: int, heads: int, layers: int = 1) -> bool:
    """Whether a plan saves time at a site's attentions of so many heads over tokens of so many
    channels.

    Does not look at the batch or the device, so that a picture does not depend on them.
    """
    gain = saved_operations(plan, channels, layers)
    gain += PER_SCORE * heads * saved_scores(plan) * layers
    cost = FIXED * layers + MATCHING * searches(plan, layers)
    return gain > cost + PER_VALUE * moved_values(plan, channels, layers)


def plan_where_it_pays(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> SitePlan | None:
    """`plan_site`, and None too where the settings ask that a plan pays and it does not."""
    plan = plan_site(settings, moment, site, grid)
    if plan is None or not settings.only_where_it_pays:
        return plan
    attention, layers = site.attentions[0], len(site.layers)
    return plan if pays(plan, attention.to_q.in_features, attention.heads, layers) else None


def _projected_tokens(plan: SitePlan) -> int:
    """Tokens that become keys: each once, however many windows see it."""
    if plan.merging is not None:
        return plan.key_count
    if plan.pools:
        if plan.reduction is None:  # the means are taken of the projected tokens
            return plan.tokens
        shared = plan.global_reduction
        return plan.windows * len(plan.reduction) + (len(shared) if shared else 0)
    sources = plan_layout(plan, torch.device("cpu")).sources
    return plan.tokens if sources is None else len(sources)


def _likeness_operations(plan: SitePlan, channels: int) -> float:
    """Of comparing every token with every kept one, in the channels of the comparison."""
    projection = channels * plan.tokens if channels > WIDTH else 0
    return 2.0 * min(channels, WIDTH) * _likenesses(plan) + 2.0 * WIDTH * projection


def _likenesses(plan: SitePlan) -> int:
    """How many pairs of a token and a kept one are compared."""
    pairs = 0
    if plan.reduction is not None:
        pairs += plan.windows * math.prod(plan.window) * len(plan.reduction)
    if plan.global_reduction is not None:
        pairs += plan.tokens * len(plan.global_reduction)
    return pairs
