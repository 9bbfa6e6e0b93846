"""Which tokens stay as keys, and which of them lie outside a window, as indices."""

from __future__ import annotations

import functools

import torch
from einops import rearrange

from ..planning.counts import kept_places
from ..planning.reduction import Reduction
from ..planning.tiling import AxisWindows, Tiling
from .devices import to_device


# cached, so that a step of sampling copies nothing to the device
@functools.lru_cache(maxsize=256)
def kept_index(
    reduction: Reduction, device: torch.device, tiling: Tiling | None = None
) -> torch.Tensor:
    """The one token of each cell, as indices (len(reduction),) in row order into the grid's
    rows.length * columns.length tokens, which are in row order, or in that of the windows of a
    `tiling`, which lie side by side.
    """
    kept_y, kept_x = (torch.tensor(places) for places in kept_places(reduction))
    kept = (kept_y[:, None] * reduction.columns.length + kept_x).flatten()
    return to_device(kept if tiling is None else places_in_windows(tiling)[kept], device)


# random shifts make a new order every step, so the cache is kept small
@functools.lru_cache(maxsize=64)
def places_in_windows(tiling: Tiling) -> torch.Tensor:
    """For each token of the grid its place in the window that owns it, counted through all
    windows: (tokens,) int64, on the CPU.
    """
    rows, columns = tiling.rows, tiling.columns
    places = torch.empty(rows.length, columns.length, dtype=torch.int64)
    numbered = torch.arange(len(tiling) * tiling.tokens).reshape(-1, rows.size, columns.size)
    for index, window in enumerate(numbered):
        i, j = divmod(index, len(columns))
        owned_y = slice(rows.edges[i], rows.edges[i + 1])
        owned_x = slice(columns.edges[j], columns.edges[j + 1])
        y, x = rows.starts[i], columns.starts[j]
        places[owned_y, owned_x] = window[
            owned_y.start - y : owned_y.stop - y, owned_x.start - x : owned_x.stop - x
        ]
    return places.flatten()


def filled(kept: torch.Tensor) -> torch.Tensor:
    """Indices (kept,) with the last one repeated up to the next eight: a GPU is slow at others."""
    missing = -len(kept) % 8
    return torch.cat([kept, kept[-1:].expand(missing)]) if missing else kept


@functools.lru_cache(maxsize=256)
def filled_index(
    reduction: Reduction, device: torch.device, tiling: Tiling | None = None
) -> torch.Tensor:
    """`kept_index`, filled up to the next eight."""
    return to_device(filled(kept_index(reduction, torch.device("cpu"), tiling)), device)


# random shifts make new windows every step, so the cache is kept small
@functools.lru_cache(maxsize=64)
def kept_outside(reduction: Reduction, tiling: Tiling) -> torch.Tensor:
    """For each window the cells whose kept token it does not hold: (windows, count) int64, on the
    CPU, in row order.

    A token that is among a window's own keys would have two votes as a global key. The count is
    that of the window that has most outside; what others lack, cells of their own fill up.
    Source: this project.
    """
    kept = kept_index(reduction, torch.device("cpu"))
    width = tiling.columns.length
    in_rows, in_columns = _held(tiling.rows, kept // width), _held(tiling.columns, kept % width)
    held = rearrange(in_rows, "y k -> y 1 k") & rearrange(in_columns, "x k -> 1 x k")
    held = rearrange(held, "y x k -> (y x) k")
    count = int((~held).sum(dim=1).max())
    outside_first = held.int().argsort(dim=1, stable=True)
    return outside_first[:, :count].sort(dim=1).values


def _held(windows: AxisWindows, places: torch.Tensor) -> torch.Tensor:
    """Whether each window holds each place along its axis: (windows, places)."""
    starts = torch.tensor(windows.starts)[:, None]
    return (places >= starts) & (places < starts + windows.size)
