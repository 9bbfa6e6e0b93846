"""Which tokens stay as keys, and which of them lie outside a window, as indices."""

from __future__ import annotations

import torch
from einops import rearrange

from ..planning.counts import kept_places
from ..planning.reduction import Reduction
from ..planning.tiling import AxisWindows, Tiling
from .devices import kept_tensors, to_device
from .windows import places_in_windows


# cached, so that a step of sampling copies nothing to the device
@kept_tensors(256)
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


def filled(kept: torch.Tensor) -> torch.Tensor:
    """Indices (kept,) with the last one repeated up to the next eight: a GPU is slow at others."""
    missing = -len(kept) % 8
    return torch.cat([kept, kept[-1:].expand(missing)]) if missing else kept


@kept_tensors(256)
def filled_index(reduction: Reduction, device: torch.device) -> torch.Tensor:
    """`kept_index`, filled up to the next eight."""
    return to_device(filled(kept_index(reduction, torch.device("cpu"))), device)


# random shifts make new windows every step, so the cache is kept small
@kept_tensors(64)
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
