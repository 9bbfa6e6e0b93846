"""Which tokens of a grid lie in which window of a tiling, and where, as indices."""

from __future__ import annotations

import torch

from ..planning.site import Grid
from ..planning.tiling import Tiling
from .devices import kept_tensors


# random shifts make new windows every step, so the caches are kept small
@kept_tensors(64)
def window_indices(grid: Grid, tiling: Tiling) -> torch.Tensor:
    """The tokens of each window: (windows, tokens a window) int64, on the CPU."""
    rows, columns = tiling.rows, tiling.columns
    tokens = torch.arange(grid[0] * grid[1]).reshape(grid)
    windows = [
        tokens[y : y + rows.size, x : x + columns.size].flatten()
        for y in rows.starts
        for x in columns.starts
    ]
    return torch.stack(windows)


@kept_tensors(64)
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
