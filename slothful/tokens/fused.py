"""Tiles, and keys that stand for similar tokens, in a few kernels: what `key_inputs`, `moving` and
`weighted_attention` do in many steps, done by Triton on a GPU that has it.

`trial.fits` says whether a call may be left to them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..planning.plan import Reduce
from ..planning.reduction import COMPARED_CHANNELS
from .kept import kept_index
from .launching import launch
from .layout import keys_of_windows, plan_layout, window_places
from .likeness import directions

MANY_TOKENS = 2048
"""Beyond so many, means are taken by adding whole numbers, else by products."""

HALF = (torch.float16, torch.bfloat16)

PREPARE = dict(BC=64, BZ=1024)
JOIN = dict(BT=64, BG=64, BC=64)
MEANS = dict(BT=64, BG=32, BC=64, BW=32)
"""How much of its work a kernel does at a time."""

WARPS = 4


def attending(head: int) -> tuple[dict[str, int], dict[str, int]]:
    """The same of attention with so many channels a head, and how it is compiled."""
    if head <= 64:
        return dict(BM=128, BN=64), dict(num_warps=4, num_stages=3)
    if head <= 80:
        return dict(BM=128, BN=64), dict(num_warps=8, num_stages=3)
    return dict(BM=64, BN=32), dict(num_warps=4, num_stages=2)


class Kind(NamedTuple):
    """What the kernels are made for: whether the plan has tiles, groups of its own in them and of
    the whole grid, and whether the means of either are taken by adding.
    """

    tiled: bool
    own: bool
    shared: bool
    adds_own: bool
    adds_shared: bool

    @property
    def indexed(self) -> bool:
        """Whether a tile's own keys are its tokens."""
        return not self.own


class FusedMatch(NamedTuple):
    """Which tokens are similar: the groups that they join, how many are in each, and the logarithms
    of the keys' weights, (batch * windows, keys) in single precision.
    """

    joined: tuple[torch.Tensor, torch.Tensor]
    sizes: torch.Tensor
    weights: torch.Tensor


class FusedKeys(NamedTuple):
    """What attn1 gets as queries (batch, tokens, channels) and as context (batch or 1, keys,
    channels), and what is needed to attend.
    """

    queries: torch.Tensor
    context: torch.Tensor
    match: FusedMatch | None = None


@functools.lru_cache(maxsize=1024)
def can_fuse(plan: Reduce) -> bool:
    """Whether tiles lie side by side, queries and keys have all their channels, and either nothing
    is pooled or similar tokens stand for each other.
    """
    if plan.score_share < 1:
        return False
    if plan.tiling is None:
        return plan.merges and plan.global_reduction is None
    if not plan.tiling.side_by_side:
        return False
    if plan.merges:
        return plan.key_tiling is None and all(part.merges for part in plan.reductions)
    return not plan.pools


@functools.lru_cache(maxsize=1024)
def kind_of(plan: Reduce) -> Kind:
    """The kind of a plan that can be fused."""
    if not plan.merges:
        return Kind(True, False, False, False, False)
    own, shared = plan.reduction is not None, plan.global_reduction is not None
    many = plan.tokens > MANY_TOKENS
    each = plan.window[0] * plan.window[1] > MANY_TOKENS
    return Kind(plan.tiling is not None, own, shared, own and each, shared and many)


def fused_keys(
    tokens: torch.Tensor,
    plan: Reduce,
    dtype: torch.dtype,
    match: FusedMatch | None = None,
    **adds: bool,
) -> FusedKeys:
    """What becomes queries and keys, in `dtype`. `tokens`: (batch, tokens, channels); `match`: that
    of an earlier layer of the site. `adds`: other values of the kind's.
    """
    if not plan.merges:
        queries, sources = tokens.to(dtype), plan_layout(plan, tokens.device).sources
        return FusedKeys(queries, queries if sources is None else queries.index_select(1, sources))
    from . import kernels  # only where they are used: Triton may be missing

    kind = kind_of(plan)._replace(**adds) if adds else kind_of(plan)
    batch, count, channels = tokens.shape
    device, windows = tokens.device, plan.windows
    each = count // windows
    own = len(plan.reduction) if plan.reduction is not None else 0
    shared = len(plan.global_reduction) if plan.global_reduction is not None else 0
    searches = match is None
    tokens = tokens.contiguous()
    rows, groups = batch * count, windows * own + shared

    # places of the numbers in `sizes` and `sums`
    totals = batch * windows * own
    within = totals + batch * shared
    begin = within + batch * windows * shared if match is None else 0
    sums_shared = begin + (totals * channels if kind.adds_own else 0)
    zeros = sums_shared + (batch * shared * channels if kind.adds_shared else 0)
    sums = torch.empty(zeros, dtype=torch.int64, device=device) if zeros else tokens

    copied, made, first = tokens, batch * groups, 0
    if kind.indexed:  # the means stand behind all tokens
        first = rows
        copied = torch.empty((rows + made, channels), dtype=dtype, device=device)
        into = copied
    else:
        into = torch.empty((batch, groups, channels), dtype=dtype, device=device)
    # else autocast does it, for nothing else goes over all tokens
    copies = kind.indexed or (tokens.dtype != dtype and (searches or zeros > 0))
    if copies and not kind.indexed:
        copied = torch.empty(tokens.shape, dtype=dtype, device=device)
    features = copied
    if match is None:
        features = torch.empty((rows, COMPARED_CHANNELS), dtype=dtype, device=device)
    if copies or zeros or searches:
        many = 64 if rows >= 16384 else 16
        launch(
            kernels.prepare, (-(-rows // many), 1, 1),
            (tokens, directions(channels, device, dtype), copied, features, sums),
            (channels,), (rows, zeros),
            dict(COPIES=copies, SEARCHES=searches, WIDTH=COMPARED_CHANNELS, BT=many, **PREPARE),
            num_warps=WARPS,
        )  # fmt: skip
    index = window_places(plan, device) if kind.tiled else sums
    if match is None:
        joined_own = torch.empty((batch, count), dtype=torch.int32, device=device)
        joined_shared = torch.empty_like(joined_own) if kind.own and kind.shared else joined_own
        stride = -(-(own + shared) // 16) * 16
        weights = torch.empty((batch * windows, stride), dtype=torch.float32, device=device)
        match = FusedMatch((joined_own, joined_shared), sums, weights)
    _, sizes, weights = match
    numbers = (each, own, shared, totals, within, begin, sums_shared)
    if searches or kind.adds_own or kind.adds_shared:
        kept_own, kept_shared = (
            index if part is None else kept_index(part, device)
            for part in (plan.reduction, plan.global_reduction)
        )
        launch(
            kernels.join, (-(-each // JOIN["BT"]), windows, batch),
            (copied, features, index, kept_own, kept_shared, *match.joined, sizes, sums),
            (count, windows, channels), numbers,
            dict(
                SEARCHES=searches, TILED=kind.tiled, OWN=kind.own, SHARED=kind.shared,
                ADD_OWN=kind.adds_own, ADD_SHARED=kind.adds_shared,
                WIDTH=COMPARED_CHANNELS, **JOIN,
            ),
            num_warps=WARPS,
        )  # fmt: skip
    blocks_own, blocks_shared = (-(-number // MEANS["BG"]) for number in (own, shared))
    grid = (blocks_own * windows + blocks_shared, -(-channels // MEANS["BC"]), batch)
    launch(
        kernels.means, grid, (copied, index, *match.joined, sizes, sums, into, weights),
        (count, windows, channels, weights.shape[1]),
        (*numbers, first, groups, first + windows * own, groups, blocks_own),
        dict(
            WEIGHS=searches, TILED=kind.tiled, ADDED_OWN=kind.adds_own,
            ADDED_SHARED=kind.adds_shared, **MEANS,
        ),
        num_warps=WARPS,
    )  # fmt: skip
    if kind.indexed:
        return FusedKeys(copied[:rows].view(tokens.shape), copied[None], match)
    return FusedKeys(copied, into, match)


def fused_attention(
    plan: Reduce,
    heads: int,
    match: FusedMatch | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """The answers (batch, tokens, inner) to queries of this shape, by keys and values (batch or 1,
    keys, inner) that were projected from a context of `fused_keys`, and by its match.
    """
    from . import kernels

    kind = kind_of(plan)
    batch, count, inner = query.shape
    windows, head = plan.windows, inner // heads
    each = count // windows
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    answers = torch.empty_like(query)
    index = keys_index = window_places(plan, query.device) if kind.tiled else answers
    weights, shared = answers, 0
    if match is None:
        keys_index = keys_of_windows(plan, query.device)
        own, rows = keys_index.shape[1], key.shape[1]
    else:
        weights = match.weights
        shared = len(plan.global_reduction) if plan.global_reduction is not None else 0
        own = each if plan.reduction is None else len(plan.reduction)
        rows = count if kind.indexed else windows * own + shared
    to_shared, each_shared = (batch * count, shared) if kind.indexed else (windows * own, rows)
    large, small = _split(head)
    blocks, how = attending(head)
    launch(
        kernels.attend, (-(-each // blocks["BM"]), batch * heads, windows),
        (query, key, value, answers, weights, index, keys_index),
        (count, windows, heads, weights.shape[1], inner),
        (each, own, shared, 0, rows, to_shared, each_shared, head**-0.5),
        dict(
            TILED=kind.tiled, INDEXED=kind.indexed, SHARED=kind.shared,
            HEAD=head, LARGE=large, SMALL=small, **blocks,
        ),
        **how,
    )  # fmt: skip
    return answers


def _split(head: int) -> tuple[int, int]:
    """Channels of a head as two powers of two, the second no less than 16 or 0."""
    large = 1 << (head.bit_length() - 1)
    rest = head - large
    return large, 0 if rest == 0 else max(16, 1 << (rest - 1).bit_length())
