"""Tiling of the queries: windows of one shape that together answer every query once."""

from __future__ import annotations

import dataclasses
import functools
import math
import random


# eq=False: windows come from a cache, so identity is equality, and a plan hashes in no time
@dataclasses.dataclass(frozen=True, eq=False)
class AxisWindows:
    """The windows along one axis of a token grid.

    Window i covers tokens `starts[i]` to `starts[i] + size`; of these it owns, and answers,
    `edges[i]` to `edges[i + 1]`. The owned ranges partition the axis.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    edges: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def owner(self, token: int) -> int:
        """The window that answers the query at this token."""
        return next(i for i, end in enumerate(self.edges[1:]) if token < end)


@functools.lru_cache(maxsize=1024)
def axis_windows(length: int, count: int, shift: float = 0.0) -> AxisWindows:
    """At most `count` windows of equal size over an axis of `length` tokens.

    `shift` in [0, 1) moves their borders by that part of a window. Windows that would reach over
    an end are clamped inside it: they overlap their neighbour instead of holding padding, because
    a zero key would still get its share of the softmax.
    """
    size = math.ceil(length / count)
    offset = int(shift * size) if count > 1 else 0
    first = offset - size if offset else 0
    wanted = range(first, length, size)
    starts = tuple(min(max(start, 0), length - size) for start in wanted)
    edges = (0, *(start for start in wanted if start > 0), length)
    return AxisWindows(length, size, starts, edges)


@functools.lru_cache(maxsize=1024)
def with_halo(windows: AxisWindows, halo: int) -> AxisWindows:
    """The same windows grown by `halo` tokens on both sides, clamped inside the axis, so that all
    still have one size. They own what they owned.
    """
    size = min(windows.size + 2 * halo, windows.length)
    starts = tuple(min(max(s - halo, 0), windows.length - size) for s in windows.starts)
    return AxisWindows(windows.length, size, starts, windows.edges)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A grid of windows: `rows` by `columns`."""

    rows: AxisWindows
    columns: AxisWindows

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.rows) * len(self.columns)

    @property
    def window(self) -> tuple[int, int]:
        """(height, width) of one window."""
        return self.rows.size, self.columns.size

    @property
    def tokens(self) -> int:
        """The number of tokens in one window."""
        return self.rows.size * self.columns.size

    @property
    def side_by_side(self) -> bool:
        """Whether no window overlaps another."""
        return self.tokens * len(self) == self.rows.length * self.columns.length

    def with_halo(self, halo: int) -> Tiling:
        """The windows grown by `halo` tokens on every side, clamped inside the grid."""
        return Tiling(with_halo(self.rows, halo), with_halo(self.columns, halo))


def plan_tiling(
    height: int, width: int, tile_size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> Tiling | None:
    """The windows of a (height, width) grid of tokens, None where one window would cover it.

    `tile_size` is in tokens, `shift` the (vertical, horizontal) part of a window in [0, 1) by
    which the borders move. Source: HyperTile's tiles and the original's (MitoshiroPJ); the
    clamping and the shift without masks are this project's.
    """
    if max(height, width) <= tile_size:
        return None
    return tiling_of(
        (height, width), (math.ceil(height / tile_size), math.ceil(width / tile_size)), shift
    )


def tiling_of(
    grid: tuple[int, int], counts: tuple[int, int], shift: tuple[float, float] = (0.0, 0.0)
) -> Tiling | None:
    """At most `counts` (rows, columns) of windows over a grid, None where one would cover it."""
    if counts == (1, 1):
        return None
    return Tiling(*(axis_windows(*axis) for axis in zip(grid, counts, shift)))


@functools.lru_cache(maxsize=1024)
def divisor_counts(length: int, tile_size: int, options: int = 1) -> tuple[int, ...]:
    """Up to `options` numbers of windows of at least `tile_size` tokens that divide an axis of
    `length` tokens evenly, the largest first.

    Where only the whole axis does, as for a prime number of tokens, windows that overlap a little
    take their place. Source: HyperTile (tfernd), which leaves such an axis whole.
    """
    least = min(tile_size, length)
    sizes = [size for size in range(least, length + 1) if length % size == 0]
    if len(sizes) == 1:
        return tuple(range(length // least, 0, -1))[:options]
    return tuple(length // size for size in sizes[:options])


def plan_divisor_tiling(
    height: int,
    width: int,
    tile_size: int,
    options: int = 1,
    shift: tuple[float, float] = (0.0, 0.0),
    generator: random.Random | None = None,
) -> Tiling | None:
    """The windows of a (height, width) grid of tokens, each at least `tile_size` tokens wide and
    high; which of the `options` per axis (see `divisor_counts`), the generator chooses.
    """
    generator = generator or random.Random(0)
    rows = generator.choice(divisor_counts(height, tile_size, options))
    columns = generator.choice(divisor_counts(width, tile_size, options))
    return tiling_of((height, width), (rows, columns), shift)
