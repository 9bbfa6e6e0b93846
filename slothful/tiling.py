"""Tiling of the queries: windows of one shape that together answer every query once."""

from __future__ import annotations

import dataclasses
import functools
import math


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
def axis_windows(length: int, tile_size: int, shift: float = 0.0) -> AxisWindows:
    """Windows of at most `tile_size` tokens, equal in size, over an axis of `length` tokens.

    `shift` in [0, 1) moves their borders by that part of a window. Windows that would reach over
    an end are clamped inside it: they overlap their neighbour instead of holding padding, because
    a zero key would still get its share of the softmax.
    """
    count = math.ceil(length / tile_size)
    size = math.ceil(length / count)
    offset = int(shift * size) if count > 1 else 0
    first = offset - size if offset else 0
    wanted = range(first, length, size)
    starts = tuple(min(max(start, 0), length - size) for start in wanted)
    edges = (0, *(start for start in wanted if start > 0), length)
    return AxisWindows(length, size, starts, edges)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A grid of windows: `rows` by `columns`."""

    rows: AxisWindows
    columns: AxisWindows

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.rows) * len(self.columns)

    @property
    def tokens(self) -> int:
        """The number of tokens in one window."""
        return self.rows.size * self.columns.size


def plan_tiling(
    height: int, width: int, tile_size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> Tiling | None:
    """The windows of a (height, width) grid of tokens, None where one window would cover it.

    `tile_size` is in tokens, `shift` the (vertical, horizontal) part of a window in [0, 1) by
    which the borders move. Source: HyperTile's and the ComfyUI original's tiles; the clamping
    and the shift without masks are this project's.
    """
    if max(height, width) <= tile_size:
        return None
    return Tiling(
        axis_windows(height, tile_size, shift[0]), axis_windows(width, tile_size, shift[1])
    )
