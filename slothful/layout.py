"""Layouts: the token movements of a plan as index tensors, and the functions that perform them.

One index picks the queries of all windows, one puts their answers back, one picks the tokens that
are projected to keys and values, and one deals the projected tokens to the windows. A token that
several windows see is thus projected once. Windows that do not overlap need no index, neither for
their queries nor for their own keys: they are a view of the grid, which is copied in long rows.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from einops import rearrange

from slothful.devices import sent
from slothful.outside import outside_cells
from slothful.plan import SitePlan
from slothful.pooling import kept_index
from slothful.tiling import Tiling

_GRID, _WINDOWS = "b (y h x w) c", "(b y x) (h w) c"
"""Windows that lie side by side: y by x of them, of h by w tokens each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The index tensors of a plan, on one device, for W windows of T tokens with K keys each.

    `queries` (W*T,): the grid's tokens, window after window; `answers` (tokens,): for each token
    of the grid its place among these; both None where the windows lie side by side. `halo` (W*H,):
    the tokens that pooled keys come from, window after window, where these are more than the
    queries'. `sources` (M,): the grid's tokens that are projected, None for all of them in order,
    or where pooling makes others. `keys` (W*K,): for each key of each window its place among the
    projected tokens; where a window's own keys are a view, of its global keys alone, unless every
    window sees them all. None: nothing to move.
    """

    queries: torch.Tensor | None = None
    answers: torch.Tensor | None = None
    halo: torch.Tensor | None = None
    sources: torch.Tensor | None = None
    keys: torch.Tensor | None = None


def plan_layout(plan: SitePlan, device: torch.device) -> Layout:
    """The layout of a plan on a device; cached, so that repeated steps copy nothing there."""
    return _layout(plan.settled, device)


# random shifts make a new layout every step, so the caches are kept small
@functools.lru_cache(maxsize=64)
def _layout(plan: SitePlan, device: torch.device) -> Layout:
    if plan.tiling is None:
        return Layout(sources=None if plan.pools else kept_index(plan.reduction, device))
    windows = _window_indices(plan.grid, plan.tiling, device)
    queries = answers = None
    if not plan.tiling.side_by_side:
        queries = windows.flatten()
        answers = _answer_indices(plan.grid, plan.tiling, device)
    if _own_in_view(plan) and plan.merges:
        return Layout()
    own, halo = windows, None
    if _own_in_view(plan):
        own = own[:, :0]  # only global keys are picked by index
    if plan.key_tiling is not None:
        own = _window_indices(plan.grid, plan.key_tiling, device)
        halo = own.flatten() if plan.pools else None
    before = plan.tokens
    if plan.reduction is None:
        keys = own
    elif plan.pools:
        # pooled tokens lie in a row: window 0, window 1, ..., the whole grid's
        before = len(windows) * len(plan.reduction)
        keys = torch.arange(before, device=device).reshape(-1, len(plan.reduction))
    else:
        keys = own[:, kept_index(plan.reduction, device)]
    if plan.global_reduction is not None:
        if plan.merges:
            seen = torch.arange(len(plan.global_reduction), device=device).expand(len(windows), -1)
        else:
            seen = sent(outside_cells(plan.global_reduction, plan.near), device)
        kept = kept_index(plan.global_reduction, device)
        keys = torch.cat([keys, before + seen if plan.pools else kept[seen]], dim=1)
    keys = keys.flatten()
    sources = None
    if not plan.pools and not _own_in_view(plan):
        sources, keys = torch.unique(keys, return_inverse=True)
        sources = sources if len(sources) < plan.tokens else None
    # 32 bits hold any token and are half as much memory
    indices = (queries, answers, halo, sources, keys)
    return Layout(*(index if index is None else index.int() for index in indices))


def _own_in_view(plan: SitePlan) -> bool:
    """Whether the windows' own keys are all tokens of the grid, each once."""
    every_token = plan.reduction is None and plan.key_tiling is None
    return every_token and plan.tiling.side_by_side


@functools.lru_cache(maxsize=64)
def _window_indices(grid: tuple[int, int], tiling: Tiling, device: torch.device) -> torch.Tensor:
    """The tokens of each window: (windows, tokens a window)."""
    rows, columns = tiling.rows, tiling.columns
    tokens = torch.arange(grid[0] * grid[1]).reshape(grid)
    windows = [
        tokens[y : y + rows.size, x : x + columns.size].flatten()
        for y in rows.starts
        for x in columns.starts
    ]
    return sent(torch.stack(windows), device)


@functools.lru_cache(maxsize=64)
def _answer_indices(grid: tuple[int, int], tiling: Tiling, device: torch.device) -> torch.Tensor:
    """For each token of the grid its place in the window that owns it, counted through all
    windows: (height * width,).
    """
    rows, columns = tiling.rows, tiling.columns
    answers = torch.empty(grid, dtype=torch.int64)
    places = torch.arange(len(tiling) * tiling.tokens).reshape(-1, rows.size, columns.size)
    for index, window in enumerate(places):
        i, j = divmod(index, len(columns))
        owned_y = slice(rows.edges[i], rows.edges[i + 1])
        owned_x = slice(columns.edges[j], columns.edges[j + 1])
        y, x = rows.starts[i], columns.starts[j]
        answers[owned_y, owned_x] = window[
            owned_y.start - y : owned_y.stop - y, owned_x.start - x : owned_x.stop - x
        ]
    return sent(answers.flatten(), device)


def split_queries(tokens: torch.Tensor, layout: Layout, plan: SitePlan) -> torch.Tensor:
    """The tokens of every window: (batch, tokens, channels) -> (batch * W, T, channels)."""
    if plan.tiling is None:
        return tokens
    if layout.queries is None:
        return rearrange(tokens, f"{_GRID} -> {_WINDOWS}", **_window_shape(plan.tiling))
    return windows_of(tokens, layout.queries, plan)


def _window_shape(tiling: Tiling) -> dict[str, int]:
    rows, columns = tiling.rows, tiling.columns
    return {"y": len(rows), "h": rows.size, "x": len(columns), "w": columns.size}


def windows_of(tokens: torch.Tensor, index: torch.Tensor, plan: SitePlan) -> torch.Tensor:
    """The tokens that an index picks, window after window: (batch, tokens, channels) ->
    (batch * W, picked, channels).
    """
    picked = tokens.index_select(1, index)
    return rearrange(picked, "b (w t) c -> (b w) t c", w=len(plan.tiling))


def join_answers(answers: torch.Tensor, layout: Layout, plan: SitePlan) -> torch.Tensor:
    """Every token's answer from its own window: (batch * W, T, channels) ->
    (batch, tokens, channels).
    """
    if plan.tiling is None:
        return answers
    if layout.answers is None:
        return rearrange(answers, f"{_WINDOWS} -> {_GRID}", **_window_shape(plan.tiling))
    joined = rearrange(answers, "(b w) t c -> b (w t) c", w=len(plan.tiling))
    return joined.index_select(1, layout.answers)


def deal_keys(
    projected: torch.Tensor, layout: Layout, plan: SitePlan, shared: torch.Tensor | None = None
) -> torch.Tensor:
    """The projected keys (or values) of each window: (batch, M, inner) -> (batch * W, K, inner).

    `shared` (batch, S, inner) are the last of all that were projected, where they are apart.
    """
    if plan.tiling is None:
        return projected
    windows = len(plan.tiling)
    if not _own_in_view(plan):
        everything = projected if shared is None else torch.cat([projected, shared], dim=1)
        return windows_of(everything, layout.keys, plan)
    if shared is None:
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
