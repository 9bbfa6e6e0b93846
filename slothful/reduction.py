"""Reduction of the keys and values: cells of tokens, of which one token or the pool is kept."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
import torch.nn.functional as F
from einops import rearrange


# eq=False: cells come from caches, so identity is equality, and a plan hashes in no time
@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """The cells along one axis of a token grid.

    Cell i begins at token `starts[i]` and covers `sizes[i]` tokens. `stride` and `size` are set
    where the cells are evenly spaced (only the last may be smaller), else 0.
    """

    length: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    stride: int = 0
    size: int = 0

    def __len__(self) -> int:
        return len(self.starts)


@functools.lru_cache(maxsize=1024)
def strided_cells(length: int, stride: int, size: int | None = None) -> Cells:
    """Cells every `stride` tokens, `size` tokens long (default: as long as the stride).

    The last cell is cut at the edge, so that no token is dropped when `size` is the stride.
    """
    stride = min(stride, length)
    size = min(stride if size is None else size, stride)
    starts = tuple(range(0, length, stride))
    sizes = tuple(min(size, length - start) for start in starts)
    return Cells(length, starts, sizes, stride, size)


@functools.lru_cache(maxsize=1024)
def even_cells(length: int, count: int, size: int | None = None) -> Cells:
    """`count` cells that divide `length` tokens as evenly as whole tokens allow.

    With `size`, a cell covers at most its first `size` tokens.
    """
    count = min(max(count, 1), length)
    edges = [index * length // count for index in range(count + 1)]
    sizes = tuple(end - start for start, end in zip(edges, edges[1:]))
    if length % count == 0:
        return strided_cells(length, length // count, size)
    return Cells(length, tuple(edges[:-1]), tuple(min(s, size or s) for s in sizes))


@dataclasses.dataclass(frozen=True)
class Reduction:
    """Which tokens of a grid become keys and values, and how.

    `rows` and `columns` are the cells of a (rows.length, columns.length) grid; a 1D mode has one
    row that holds all tokens in row order. `maximum` chooses the maximum instead of the average.
    `k_blend` and `v_blend` in [0, 1] lead from one token of the cell (0) to its pool (1).
    """

    rows: Cells
    columns: Cells
    maximum: bool = False
    k_blend: float = 0.0
    v_blend: float = 0.0

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def pools(self) -> bool:
        """Whether any key or value is more than a plain subsample."""
        return self.k_blend > 0 or self.v_blend > 0


def plan_reduction(
    height: int,
    width: int,
    *,
    mode: str,
    strength: float,
    rounding: str = "stride",
    thinning: float = 1.0,
    k_blend: float = 0.0,
    v_blend: float = 0.0,
) -> Reduction:
    """The reduction of a (height, width) grid by `strength` tokens a key.

    `thinning` >= 1 keeps only every so-manieth cell: cells keep the size that `strength` gives
    them, their spacing follows `strength` * `thinning`. Source of the strides: the ComfyUI
    original (MitoshiroPJ); of `rounding="smooth"`: this project.
    """
    one_row = mode.startswith("1D")
    rows, columns = (1, height * width) if one_row else (height, width)
    spacing = max(strength, 1.0) * thinning
    if rounding == "stride":
        size_y, size_x = _stride(strength, rows, columns)
        stride_y, stride_x = _stride(spacing, rows, columns)
        cells_y = strided_cells(rows, stride_y, size_y)
        cells_x = strided_cells(columns, stride_x, size_x)
    else:
        # a 1D grid has one row, so the whole spacing lies on its columns
        root, size = (1.0, strength) if one_row else (math.sqrt(spacing), math.sqrt(strength))
        size = max(1, round(size)) if thinning > 1 else None
        cells_y = even_cells(rows, round(rows / root), size)
        cells_x = even_cells(columns, round(columns / (spacing / root)), size)
    return Reduction(cells_y, cells_x, mode.endswith("MAX"), k_blend, v_blend)


def _stride(strength: float, rows: int, columns: int) -> tuple[int, int]:
    """(stride_y, stride_x) whose product is about `strength`, clamped to the grid."""
    stride_y = min(max(math.ceil(math.sqrt(strength)), 1), rows)
    stride_x = min(max(math.ceil(strength / stride_y), 1), columns)
    return stride_y, stride_x


def reduce_tokens(tokens: torch.Tensor, reduction: Reduction) -> tuple[torch.Tensor, torch.Tensor]:
    """Key input and value input, each (batch, len(reduction), channels), of the same dtype.

    `tokens`: (batch, rows.length * columns.length, channels) in row order. Where both blends are
    equal, the same tensor is returned twice. Source: the ComfyUI original's blends, corrected so
    that a blend of 1 is the pool.
    """
    one = tokens.index_select(1, kept_index(reduction.rows, reduction.columns, tokens.device))
    if not reduction.pools:
        return one, one
    grid = rearrange(tokens, "b (h w) c -> b h w c", h=reduction.rows.length)
    pool = rearrange(pool_cells(grid, reduction), "b h w c -> b (h w) c")
    keys = _blend(one, pool, reduction.k_blend)
    same = reduction.k_blend == reduction.v_blend
    return keys, keys if same else _blend(one, pool, reduction.v_blend)


def _blend(one: torch.Tensor, pool: torch.Tensor, blend: float) -> torch.Tensor:
    return one if blend == 0 else pool if blend == 1 else torch.lerp(one, pool, blend)


def pool_cells(grid: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Average or maximum over each cell: (batch, height, width, channels) ->
    (batch, len(rows), len(columns), channels).
    """
    rows, columns = reduction.rows, reduction.columns
    if rows.stride and columns.stride:
        pool = F.max_pool2d if reduction.maximum else F.avg_pool2d
        pooled = pool(
            # channels-last in memory, for which torch has kernels of its own: nothing is copied
            rearrange(grid, "b h w c -> b c h w"),
            (rows.size, columns.size),
            (rows.stride, columns.stride),
            ceil_mode=True,  # cells that the edge cuts are kept, averaged over what they hold
        )
        return rearrange(pooled, "b c h w -> b h w c")
    # the pool of a rectangle is the pool of its rows' pools
    return _pool_axis(_pool_axis(grid, columns, 2, reduction.maximum), rows, 1, reduction.maximum)


def _pool_axis(grid: torch.Tensor, cells: Cells, dim: int, maximum: bool) -> torch.Tensor:
    """Pool cells of unequal size along one axis of (batch, height, width, channels)."""
    index, weights = _members(cells, grid.dtype, grid.device)
    members = grid.index_select(dim, index).unflatten(dim, weights.shape)
    if maximum:
        return members.amax(dim + 1)
    shape = [1] * members.ndim
    shape[dim : dim + 2] = weights.shape
    return (members * weights.reshape(shape)).sum(dim + 1)


# The index tensors are cached, so that a step of sampling copies nothing to the device.
@functools.lru_cache(maxsize=256)
def kept_index(rows: Cells, columns: Cells, device: torch.device) -> torch.Tensor:
    """The one token of each cell (its first), as indices (len(rows) * len(columns),) in row order
    into a grid of rows.length * columns.length tokens.
    """
    starts_y = torch.tensor(rows.starts, device=device)
    starts_x = torch.tensor(columns.starts, device=device)
    return (starts_y[:, None] * columns.length + starts_x).flatten()


@functools.lru_cache(maxsize=64)
def _members(
    cells: Cells, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of each cell, filled up to the longest cell: indices (cells * longest,) and
    weights (cells, longest) of an average. A short cell repeats its last token, which is harmless
    for a maximum and has weight 0 in an average.
    """
    offsets = torch.arange(max(cells.sizes))
    sizes = torch.tensor(cells.sizes)[:, None]
    index = torch.tensor(cells.starts)[:, None] + torch.minimum(offsets, sizes - 1)
    weights = (offsets < sizes) / sizes
    return index.flatten().to(device), weights.to(device, dtype)
