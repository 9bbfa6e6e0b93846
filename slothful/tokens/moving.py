"""Tokens on their way to the windows of a plan and back, as its layout says."""

from __future__ import annotations

import torch
from einops import rearrange

from ..planning.plan import Reduce
from ..planning.tiling import Tiling
from .layout import Layout

_GRID, _WINDOWS = "b (y h x w) c", "(b y x) (h w) c"
"""Windows that lie side by side: y by x of them, of h by w tokens each."""


def split_queries(tokens: torch.Tensor, layout: Layout, plan: Reduce) -> torch.Tensor:
    """The tokens of every window: (batch, tokens, channels) -> (batch * W, T, channels)."""
    if plan.tiling is None:
        return tokens
    if layout.queries is None:
        return rearrange(tokens, f"{_GRID} -> {_WINDOWS}", **_window_shape(plan.tiling))
    return windows_of(tokens, layout.queries, plan)


def _window_shape(tiling: Tiling) -> dict[str, int]:
    rows, columns = tiling.rows, tiling.columns
    return {"y": len(rows), "h": rows.size, "x": len(columns), "w": columns.size}


def windows_of(tokens: torch.Tensor, index: torch.Tensor, plan: Reduce) -> torch.Tensor:
    """The tokens that an index picks, window after window: (batch, tokens, channels) ->
    (batch * W, picked, channels).
    """
    picked = tokens.index_select(1, index)
    return rearrange(picked, "b (w t) c -> (b w) t c", w=plan.windows)


def in_order(tokens: torch.Tensor, queries: torch.Tensor, plan: Reduce) -> torch.Tensor:
    """The tokens of the grid in the order of the plan: (batch, tokens, channels). `queries`: what
    `split_queries` makes of them, of which this is a view.
    """
    return tokens if plan.order is None else queries.reshape(tokens.shape)


def join_answers(answers: torch.Tensor, layout: Layout, plan: Reduce) -> torch.Tensor:
    """Every token's answer from its own window: (batch * W, T, channels) ->
    (batch, tokens, channels).
    """
    if plan.tiling is None:
        return answers
    if layout.answers is None:
        return rearrange(answers, f"{_WINDOWS} -> {_GRID}", **_window_shape(plan.tiling))
    joined = rearrange(answers, "(b w) t c -> b (w t) c", w=plan.windows)
    return joined.index_select(1, layout.answers)


def deal_keys(
    projected: torch.Tensor, layout: Layout, plan: Reduce, shared: torch.Tensor | None = None
) -> torch.Tensor:
    """The projected keys (or values) of each window: (batch, M, inner) -> (batch * W, K, inner).

    `shared` (batch, S, inner) are the last of all that were projected, where they are apart.
    """
    if plan.tiling is None:
        return projected
    if layout.keys is not None:
        everything = projected if shared is None else torch.cat([projected, shared], dim=1)
        return windows_of(everything, layout.keys, plan)
    own = rearrange(projected, "b (w t) c -> b w t c", w=len(plan.tiling))
    if shared is not None:  # every window sees them all
        everywhere = shared[:, None].expand(-1, len(plan.tiling), -1, -1)
        own = torch.cat([own, everywhere], dim=2)
    return own.flatten(0, 1)
