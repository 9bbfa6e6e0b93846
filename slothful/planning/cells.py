"""Cells: the stretches of an axis of tokens, of which each gives one key and value."""

from __future__ import annotations

import dataclasses
import functools


# eq=False: cells come from caches, so identity is equality, and a plan hashes in no time
@dataclasses.dataclass(frozen=True, eq=False)
class AxisCells:
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

    @property
    def gaps(self) -> tuple[int, ...]:
        """Tokens from the beginning of each cell to that of the next, or to the end."""
        return tuple(b - a for a, b in zip(self.starts, (*self.starts[1:], self.length)))

    def kept(self, offset: int = 0) -> tuple[int, ...]:
        """The kept token of each cell: its first moved by `offset`, yet before the next cell."""
        return tuple(s + min(offset, gap - 1) for s, gap in zip(self.starts, self.gaps))

    @functools.cached_property
    def longest_gap(self) -> int:
        """The longest of `gaps`."""
        return max(self.gaps)


@functools.lru_cache(maxsize=1024)
def strided_cells(length: int, stride: int, size: int | None = None) -> AxisCells:
    """Cells every `stride` tokens, `size` tokens long (default: as long as the stride).

    The last cell is cut at the edge, so that no token is dropped when `size` is the stride.
    """
    stride = min(stride, length)
    size = min(stride if size is None else size, stride)
    starts = tuple(range(0, length, stride))
    sizes = tuple(min(size, length - start) for start in starts)
    return AxisCells(length, starts, sizes, stride, size)


@functools.lru_cache(maxsize=1024)
def even_cells(length: int, count: int, size: int | None = None) -> AxisCells:
    """`count` cells that divide `length` tokens as evenly as whole tokens allow.

    With `size`, a cell covers at most its first `size` tokens.
    """
    count = min(max(count, 1), length)
    edges = [index * length // count for index in range(count + 1)]
    sizes = tuple(end - start for start, end in zip(edges, edges[1:]))
    if length % count == 0:
        return strided_cells(length, length // count, size)
    return AxisCells(length, tuple(edges[:-1]), tuple(min(s, size or s) for s in sizes))
