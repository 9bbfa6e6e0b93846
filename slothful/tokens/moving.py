"""Tokens on their way to the windows of a plan and back, as its layout says."""

from __future__ import annotations

import torch
from einops import rearrange

from ..planning.plan import Reduce
from ..planning.tiling import Tiling
from .layout import Layout, own_in_view

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
    windows = len(plan.tiling)
    if not own_in_view(plan):
        assert layout.keys is not None
        everything = projected if shared is None else torch.cat([projected, shared], dim=1)
        return windows_of(everything, layout.keys, plan)
    if shared is None:
        assert layout.keys is not None
        picked = projected.index_select(1, layout.keys)
        picked = rearrange(picked, "b (w k) c -> b w k c", w=windows)
    else:  # every window sees them all
        picked = shared[:, None]
    # written into their place at once: to make the windows and put them together is a copy more
    tokens = plan.tiling.tokens
    shape = (len(projected), windows, tokens + picked.shape[2], projected.shape[-1])
    dealt = projected.new_empty(shape)
    sizes = _window_shape(plan.tiling)
    own = rearrange(dealt[:, :, :tokens], "b (y x) (h w) c -> b y h x w c", **sizes)
    own.copy_(rearrange(projected, f"{_GRID} -> b y h x w c", **sizes))
    dealt[:, :, tokens:] = picked
    return dealt.flatten(0, 1)
