"""The arithmetic of one self-attention, and whether a plan for it saves more time than it costs."""

from __future__ import annotations

import functools

from .counts import tokens_of
from .plan import Agents, AwakePlan, Merge, Reduce, SitePlan, Sleep
from .reduction import COMPARED_CHANNELS
from .site import Grid

# what else takes time, in operations that could be done meanwhile; `benchmarks.speed.calibrate`
FIXED = 1.2e7
"""The hooks of one attention."""

MATCHING = 1e8
"""The many small steps in which similar tokens are found and put together."""

PER_SCORE = 80.0
"""The exponential of one score of one head."""

PER_VALUE = 180.0
"""Moving one value."""


@functools.lru_cache(maxsize=4096)
def attention_operations(
    plan: SitePlan | None, grid: Grid, channels: int, inner: int, layers: int = 1
) -> float:
    """Multiplications and additions of the attn1 of a site's `layers` for one row of the batch:
    four projections, scores and the sum of values, and with merging of finding what is similar.

    `grid` is its (height, width) in tokens, `channels` are those of a token, `inner` those of a
    projection (all heads). Without a plan: of the attention as it is.
    """
    if isinstance(plan, Sleep):
        return 0.0
    if isinstance(plan, Agents):
        return _agents_operations(plan, channels, inner, layers)
    if plan is None:
        queries = keys = projected = tokens_of(grid)
        matching, share = 0.0, 1.0
    else:
        queries, keys, projected = plan.query_count, plan.key_count, plan.projected_count
        matching, share = _matching_operations(plan, channels, layers), plan.score_share
    # scores take as long as with all channels, for the kernels fill up those that are missing
    each = 2.0 * inner * ((1.0 + share) * channels * (queries + projected) + 2.0 * queries * keys)
    return matching + layers * each


def _agents_operations(plan: Agents, channels: int, inner: int, layers: int) -> float:
    """The same for agents: queries ask them, and where they are awake, they ask all keys."""
    projected = 2 * plan.tokens + plan.projected_count + plan.value_count
    asked = 2 if plan.since is None else 1
    each = 2.0 * inner * (channels * projected + 2 * asked * plan.tokens * plan.key_count)
    matching = _matching_operations(plan.pool, channels, layers) if plan.merges else 0.0
    return matching + layers * each


def saved_operations(plan: AwakePlan, channels: int, layers: int = 1) -> float:
    """Operations that a plan saves at tokens of so many channels, for one row of the batch."""
    full = attention_operations(None, plan.grid, channels, channels, layers)
    return full - attention_operations(plan, plan.grid, channels, channels, layers)


def saved_scores(plan: AwakePlan) -> int:
    """Scores of one head that a plan saves in one layer, for one row of the batch."""
    left = plan.query_count * plan.key_count
    asks_twice = isinstance(plan, Agents) and plan.since is None
    return plan.tokens**2 - left * (1 + asks_twice)


def searches(plan: AwakePlan, layers: int = 1) -> int:
    """How often tokens that are similar are looked for in the layers of a site."""
    return layers if isinstance(plan, Merge) else int(plan.merges)


def moved_values(plan: AwakePlan, channels: int, layers: int = 1) -> int:
    """Values that a plan copies besides the attention itself, for one row of the batch."""
    if isinstance(plan, Merge):  # the tokens are dealt to two sets, merged and spread again
        return layers * 3 * plan.tokens * channels
    if isinstance(plan, Agents):
        return moved_values(plan.pool, channels, layers) if plan.since is None else 0
    moved = (plan.tokens if plan.pools else plan.projected_count) * channels
    if plan.tiling is not None:
        moved += (2 * len(plan.tiling) * plan.key_count + 2 * plan.query_count) * channels
    # every likeness is looked at once
    return layers * moved + (_likenesses(plan) if plan.merges else 0)


@functools.lru_cache(maxsize=4096)
def pays(plan: AwakePlan, channels: int, heads: int, layers: int = 1) -> bool:
    """Whether a plan saves time at a site's attentions of so many heads over tokens of so many
    channels.

    Does not look at the batch or the device, so that an image does not depend on them.
    """
    gain = saved_operations(plan, channels, layers)
    gain += PER_SCORE * heads * saved_scores(plan) * layers
    cost = FIXED * layers + MATCHING * searches(plan, layers)
    return gain > cost + PER_VALUE * moved_values(plan, channels, layers)


def _matching_operations(plan: Reduce | Merge, channels: int, layers: int) -> float:
    """Of finding which tokens are similar: tomesd's in each layer, ours once a site."""
    if isinstance(plan, Merge):
        others = plan.tokens - plan.destinations
        return 2.0 * channels * plan.destinations * others * layers
    if not plan.merges:
        return 0.0
    width = COMPARED_CHANNELS
    projection = channels * plan.tokens if channels > width else 0
    return 2.0 * min(channels, width) * _likenesses(plan) + 2.0 * width * projection


def _likenesses(plan: Reduce) -> int:
    """How many pairs of a token and a kept one are compared."""
    pairs = 0
    if plan.reduction is not None:
        pairs += plan.windows * tokens_of(plan.window) * len(plan.reduction)
    if plan.global_reduction is not None:
        pairs += plan.tokens * len(plan.global_reduction)
    return pairs
