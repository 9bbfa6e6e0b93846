"""Whether Triton's kernels can do a call: each kind is first compared with what torch gives, once,
on tokens made up for it. One that does not compile or gives something else is never asked again.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
import torch.nn.functional as F

from ..planning.plan import Reduce
from ..planning.reduction import COMPARED_CHANNELS, plan_reduction
from ..planning.tiling import tiling_of
from .fused import HALF, can_fuse, fused_attention, fused_keys, kind_of
from .key_inputs import key_inputs, match_tokens
from .layout import plan_layout
from .moving import deal_keys, join_answers, split_queries

GRID, BATCH, CHANNELS, HEADS = (32, 64), 2, 96, 3
ALLOWED = 0.02
"""Relative difference of answers: half precision's, and of the few tokens that are as similar to
one kept token as to another. What is wrong differs by more than 0.3."""

_ROOM = 2**31
"""Places in a tensor are counted in 32 bits."""

_BLOCKS = 2**16
"""Of a grid's second and third dimension."""

logger = logging.getLogger(__name__)


def fits(
    plan: Reduce, tokens: torch.Tensor, dtype: torch.dtype, heads: int, projection: Any
) -> bool:
    """Whether the kernels can do a plan for `tokens` (batch, tokens, channels) that a `projection`
    to so many heads takes in `dtype`.
    """
    if dtype not in HALF or tokens.shape[-1] % 16 or not can_fuse(plan):
        return False
    inner = getattr(projection, "out_features", 0)
    head = inner // heads
    largest = max(inner, tokens.shape[-1], 2 * COMPARED_CHANNELS)
    if inner % heads or head % 8 or not 16 <= head <= 256 or tokens.shape[-1] <= COMPARED_CHANNELS:
        return False
    if 2 * len(tokens) * plan.tokens * largest >= _ROOM or len(tokens) * heads >= _BLOCKS:
        return False
    if tokens.device.index != torch.cuda.current_device():
        return False
    return agrees(*kind_of(plan), tokens.dtype, dtype, head, tokens.device)


def plan_like(tiled: bool, own: bool, shared: bool) -> Reduce:
    """A small plan with such parts; of tiles alone, one with keys that stand for themselves."""
    tiling = tiling_of(GRID, (2, 4)) if tiled else None
    window = GRID if tiling is None else tiling.window
    merges = own or shared
    each = plan_reduction(*window, mode="2D_AVG", strength=6, merges=merges)
    grid = plan_reduction(*GRID, mode="2D_AVG", strength=20, merges=merges)
    if merges:
        return Reduce(GRID, 6.0, each if own else None, tiling, grid if shared else None)
    return Reduce(GRID, 6.0, each, tiling, grid)


def by_torch(
    tokens: torch.Tensor, plan: Reduce, weights: list[torch.Tensor], like: torch.Tensor
) -> torch.Tensor:
    """The answers (batch, tokens, inner) to `tokens` (batch, tokens, channels) under a plan, with
    three projections' `weights` (channels, inner), where similar tokens are those of `like`.
    """
    layout = plan_layout(plan, tokens.device)
    query, key, value = weights
    queries, match = split_queries(tokens, layout, plan), None
    if plan.merges:
        match = match_tokens(like, split_queries(like, layout, plan), layout, plan)
    inputs = key_inputs(tokens, queries, layout, plan, match)
    projected = []
    for each in (key, value):
        made = inputs.keys @ each
        shared = None if inputs.groups is None else inputs.groups.means(made)
        projected.append(deal_keys(made, layout, plan, shared))
    queries, keys, values = map(_heads, (queries @ query, *projected))
    bias = None if match is None else match.log_weights[:, None, None]
    answers = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    return join_answers(answers.transpose(1, 2).flatten(2), layout, plan)


def _heads(projected: torch.Tensor) -> torch.Tensor:
    split: torch.Tensor = projected.unflatten(2, (HEADS, -1))
    return split.transpose(1, 2)


@torch.no_grad()
def differences(
    tiled: bool,
    own: bool,
    shared: bool,
    given: torch.dtype,
    dtype: torch.dtype,
    head: int,
    device: torch.device,
    **options: bool,
) -> tuple[float, float]:
    """The relative difference between the kernels and torch, in a site's first layer and in its
    second. `options`: of `fused_keys`.
    """
    plan = plan_like(tiled, own, shared)
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    first, second = (drawn(BATCH, plan.tokens, CHANNELS).to(given) for _ in range(2))
    weights = [drawn(CHANNELS, HEADS * head).to(dtype) / CHANNELS**0.5 for _ in range(3)]
    # clearer than random ones are: what a key weighs and whom it stands for matters
    weights[0] *= 2
    found, match = [], None
    with torch.autocast(device.type, enabled=False):
        for tokens in (first, second):
            made = fused_keys(tokens, plan, dtype, match, **options)
            match = made.match
            context = made.context
            queries = made.queries.to(dtype)  # as autocast does
            projected = [queries @ weights[0], context @ weights[1], context @ weights[2]]
            actual = fused_attention(plan, HEADS, match, *projected).float()
            exact = [each.float() for each in weights]
            expected = by_torch(tokens.to(dtype).float(), plan, exact, first.to(dtype).float())
            found.append(float((actual - expected).norm() / expected.norm()))
    return found[0], found[1]


@functools.lru_cache(maxsize=256)
def agrees(
    tiled: bool,
    own: bool,
    shared: bool,
    adds_own: bool,
    adds_shared: bool,
    given: torch.dtype,
    dtype: torch.dtype,
    head: int,
    device: torch.device,
) -> bool:
    """Whether it does, for tokens that come as `given` and are projected in `dtype`."""
    if torch.version.cuda is None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    options = dict(adds_own=adds_own, adds_shared=adds_shared)
    try:
        found = differences(tiled, own, shared, given, dtype, head, device, **options)
    except Exception as error:  # whatever Triton cannot do here: it is done without
        logger.debug("the kernels do not work: %s", error)
        return False
    logger.debug("the kernels differ by %s", found)
    return max(found) <= ALLOWED  # of what is no number, nothing is
