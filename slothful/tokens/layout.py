"""Layouts: where the tokens of a plan go, as index tensors; `moving` takes them there.

One index picks the queries of all windows, one puts their answers back, one picks the tokens that
are projected to keys and values, and one deals the projected tokens to the windows. A token that
several windows see is thus projected once. Windows that do not overlap need no index, neither for
their queries nor for their own keys: they are a view of the grid, which is copied in long rows.
"""

from __future__ import annotations

import dataclasses
import functools

import torch

from ..planning.plan import Reduce
from ..planning.site import Grid
from ..planning.tiling import Tiling
from .devices import numbers, to_device
from .kept import kept_index, kept_outside

_HOST = torch.device("cpu")


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


def plan_layout(plan: Reduce, device: torch.device) -> Layout:
    """The layout of a plan on a device; cached, so that repeated steps copy nothing there."""
    return _layout(plan.geometry, device)


def own_in_view(plan: Reduce) -> bool:
    """Whether the windows' own keys are all tokens of the grid, each once."""
    every_token = plan.reduction is None and plan.key_tiling is None
    return every_token and plan.tiling is not None and plan.tiling.side_by_side


# random shifts make a new layout every step, so the caches are kept small
@functools.lru_cache(maxsize=64)
def _layout(plan: Reduce, device: torch.device) -> Layout:
    # made on the host: a device would be waited for
    if plan.tiling is None:
        made = _of_whole_grid(plan)
    else:
        made = _in_view(plan) if own_in_view(plan) else _by_index(plan, plan.tiling)
    parts = (getattr(made, field.name) for field in dataclasses.fields(made))
    return Layout(*(part if part is None else to_device(part, device) for part in parts))


def _of_whole_grid(plan: Reduce) -> Layout:
    """Without windows: nothing is dealt."""
    if plan.reduction is None or plan.pools:
        return Layout()
    return Layout(sources=kept_index(plan.reduction, _HOST))


def _in_view(plan: Reduce) -> Layout:
    """Windows that lie side by side, whose own keys are all of their tokens: only global keys are
    picked by index, and where they merge, every window sees them all.
    """
    if plan.merges:
        return Layout()
    seen = _seen_outside(plan, plan.tokens)  # (W, global keys)
    keys = numbers(0, _HOST) if seen is None else seen.flatten()
    return Layout(keys=keys.int())


def _by_index(plan: Reduce, tiling: Tiling) -> Layout:
    """Windows that overlap, or whose own keys are fewer or more than their tokens."""
    queries = answers = halo = sources = None
    if not tiling.side_by_side:
        queries = _window_indices(plan.grid, tiling).flatten()
        answers = _answer_indices(plan.grid, tiling)
    own = _window_indices(plan.grid, plan.key_tiling or tiling)  # (W, own tokens)
    if plan.pools and plan.key_tiling is not None:
        halo = own.flatten()
    made = plan.tokens  # before the whole grid's
    if plan.reduction is None:
        keys = own
    elif plan.pools:
        # pooled tokens lie in a row: window 0, window 1, ..., the whole grid's
        made = len(tiling) * len(plan.reduction)
        keys = numbers(made, _HOST).reshape(len(tiling), -1)
    else:
        keys = own[:, kept_index(plan.reduction, _HOST)]
    seen = _seen_outside(plan, made)
    if seen is not None:
        keys = torch.cat([keys, seen], dim=1)  # (W, K)
    keys = keys.flatten()
    if not plan.pools:
        sources, keys = torch.unique(keys, return_inverse=True)
        sources = sources if len(sources) < plan.tokens else None
    # 32 bits hold any token and are half as much memory
    indices = (queries, answers, halo, sources, keys)
    return Layout(*(index if index is None else index.int() for index in indices))


def _seen_outside(plan: Reduce, made: int) -> torch.Tensor | None:
    """The global keys of each window (W, global keys): their places in the grid, or, where they are
    pooled, behind those that are `made` before; None if there are none.
    """
    shared, windows = plan.global_reduction, plan.key_windows
    if shared is None or windows is None:
        return None
    if plan.merges:
        seen = numbers(len(shared), _HOST).expand(len(windows), -1)
    else:
        seen = kept_outside(shared, windows)
    return made + seen if plan.pools else kept_index(shared, _HOST)[seen]


@functools.lru_cache(maxsize=64)
def _window_indices(grid: Grid, tiling: Tiling) -> torch.Tensor:
    """The tokens of each window: (windows, tokens a window)."""
    rows, columns = tiling.rows, tiling.columns
    tokens = torch.arange(grid[0] * grid[1]).reshape(grid)
    windows = [
        tokens[y : y + rows.size, x : x + columns.size].flatten()
        for y in rows.starts
        for x in columns.starts
    ]
    return torch.stack(windows)


@functools.lru_cache(maxsize=64)
def _answer_indices(grid: Grid, tiling: Tiling) -> torch.Tensor:
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
    return answers.flatten()
