"""Reductions: which cells of tokens become one key and value each, and how. Plain numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
import random

from .cells import AxisCells, even_cells, strided_cells

COMPARED_CHANNELS = 64
"""Channels in which tokens are compared, where they find the kept one that is most like them."""


# eq=False: reductions come from a cache, as cells do
@dataclasses.dataclass(frozen=True, eq=False)
class Reduction:
    """Which tokens of a grid become keys and values, and how.

    `rows` and `columns` are the cells of a (rows.length, columns.length) grid; a 1D mode has one
    row that holds all tokens in row order. `pool` is a key of `POOLS`. `k_blend` and `v_blend` in
    [0, 1] lead from one token of the cell (0) to its pool (1). That token is the cell's first,
    moved by `offset` (rows, columns), yet before the next cell. Where it `merges`, blends are 0 and
    every other token of the grid joins the kept one that is most like it, whose place their mean
    takes.
    """

    rows: AxisCells
    columns: AxisCells
    pool: str
    k_blend: float
    v_blend: float
    offset: tuple[int, int]
    merges: bool

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def pools(self) -> bool:
        """Whether any key or value is more than a plain subsample."""
        return self.merges or self.k_blend > 0 or self.v_blend > 0

    @property
    def separate_kv(self) -> bool:
        """Whether keys and values are made from different tokens."""
        return self.k_blend != self.v_blend

    @functools.cached_property
    def geometry(self) -> Reduction:
        """The reduction as if the first token of each cell were kept."""
        blends = self.k_blend, self.v_blend
        return reduction_of(self.rows, self.columns, self.pool, *blends, (0, 0), self.merges)


@functools.lru_cache(maxsize=4096)
def reduction_of(
    rows: AxisCells,
    columns: AxisCells,
    pool: str,
    k_blend: float,
    v_blend: float,
    offset: tuple[int, int],
    merges: bool,
) -> Reduction:
    """The one reduction with these fields."""
    return Reduction(rows, columns, pool, k_blend, v_blend, offset, merges)


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
    generator: random.Random | None = None,
    merges: bool = False,
) -> Reduction:
    """The reduction of a (height, width) grid by `strength` tokens a key.

    `thinning` >= 1 keeps only every n-th cell: cells keep the size that `strength` gives
    them, their spacing follows `strength` * `thinning`. `mode` is "1D_" or "2D_" and a key of
    `POOLS`. A `generator` chooses which token of each cell is kept, without one it is the first.
    With `merges` the others join the kept ones, unless something is pooled. Source of the strides:
    the original (MitoshiroPJ); of `rounding="smooth"`, the choice of the token and what
    joins it: this project.
    """
    dimensions, _, pool = mode.partition("_")
    one_row = dimensions == "1D"
    rows, columns = (1, height * width) if one_row else (height, width)
    spacing = max(strength, 1.0) * thinning
    if rounding == "stride":
        size_y, size_x = _stride(strength, rows, columns)
        stride_y, stride_x = _stride(spacing, rows, columns)
        cells_y = strided_cells(rows, stride_y, size_y)
        cells_x = strided_cells(columns, stride_x, size_x)
    else:
        # a 1D grid has one row, so the whole spacing lies on its columns
        root, side = (1.0, strength) if one_row else (math.sqrt(spacing), math.sqrt(strength))
        size = max(1, round(side)) if thinning > 1 else None
        cells_y = even_cells(rows, round(rows / root), size)
        cells_x = even_cells(columns, round(columns / (spacing / root)), size)
    offset = jitter(cells_y, cells_x, generator)
    merges = merges and k_blend == v_blend == 0
    return reduction_of(cells_y, cells_x, pool, k_blend, v_blend, offset, merges)


def plan_downsampling(
    height: int,
    width: int,
    *,
    factor: float,
    blend: float = 0.0,
    generator: random.Random | None = None,
    merges: bool = False,
) -> Reduction:
    """The reduction of a (height, width) grid to 1 / `factor` of its tokens along each axis.

    `blend` 0 is the nearest token, 1 the average over the area. Source: ToDo (Smith et al., 2024).
    """
    rows, columns = (even_cells(length, int(length / factor)) for length in (height, width))
    offset = jitter(rows, columns, generator)
    return reduction_of(rows, columns, "AVG", blend, blend, offset, merges and blend == 0)


def jitter(rows: AxisCells, columns: AxisCells, generator: random.Random | None) -> tuple[int, int]:
    """How far, in tokens, the kept token lies from the beginning of its cell: anywhere before the
    next cell. (0, 0) without a generator.
    """
    if generator is None:
        return 0, 0
    return generator.randrange(rows.longest_gap), generator.randrange(columns.longest_gap)


def _stride(strength: float, rows: int, columns: int) -> tuple[int, int]:
    """(stride_y, stride_x) whose product is about `strength`, clamped to the grid."""
    stride_y = min(max(math.ceil(math.sqrt(strength)), 1), rows)
    stride_x = min(max(math.ceil(strength / stride_y), 1), columns)
    return stride_y, stride_x
