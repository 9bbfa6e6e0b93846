"""Cells: the stretches of an axis of tokens, of which each gives one key and value."""

from __future__ import annotations

import dataclasses
import functools
import math


# eq=False: cells come from caches, so identity is equality, and a plan hashes in no time
@dataclasses.dataclass(frozen=True, eq=False)
class AxisCells:
    """The `count` cells along one axis of a grid of `length` tokens.

    `stride` is set where they are evenly spaced (only the last may be smaller), else 0: then they
    divide the axis as evenly as whole tokens allow. A cell covers at most the first `size` tokens
    up to the next one.
    """

    length: int
    count: int
    stride: int = 0
    size: int = 0

    def __len__(self) -> int:
        return self.count

    # a plan needs numbers alone; the cells of a large grid are made where tokens are moved
    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The first token of each cell."""
        if self.stride:
            return tuple(range(0, self.length, self.stride))
        return tuple(index * self.length // self.count for index in range(self.count))

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The tokens that each cell covers."""
        return tuple(min(gap, self.size or gap) for gap in self.gaps)

    @property
    def gaps(self) -> tuple[int, ...]:
        """Tokens from the beginning of each cell to that of the next, or to the end."""
        return tuple(b - a for a, b in zip(self.starts, (*self.starts[1:], self.length)))

    def kept(self, offset: int = 0) -> tuple[int, ...]:
        """The kept token of each cell: its first moved by `offset`, yet before the next cell."""
        return tuple(s + min(offset, gap - 1) for s, gap in zip(self.starts, self.gaps))

    @property
    def longest_gap(self) -> int:
        """The longest of `gaps`."""
        return min(self.stride, self.length) or math.ceil(self.length / self.count)


@functools.lru_cache(maxsize=1024)
def strided_cells(length: int, stride: int, size: int | None = None) -> AxisCells:
    """Cells every `stride` tokens, `size` tokens long (default: as long as the stride).

    The last cell is cut at the edge, so that no token is dropped when `size` is the stride.
    """
    stride = min(stride, length)
    size = min(stride if size is None else size, stride)
    return AxisCells(length, math.ceil(length / stride), stride, size)


@functools.lru_cache(maxsize=1024)
def even_cells(length: int, count: int, size: int | None = None) -> AxisCells:
    """`count` cells that divide `length` tokens as evenly as whole tokens allow.

    With `size`, a cell covers at most its first `size` tokens.
    """
    count = min(max(count, 1), length)
    if length % count == 0:
        return strided_cells(length, length // count, size)
    return AxisCells(length, count, size=size or 0)
