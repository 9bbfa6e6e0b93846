"""How many queries, keys and projected tokens a plan has: in integers, without making tensors.

`slothful.tokens.layout` makes the index tensors of the same tokens; the tests compare both.
"""

from __future__ import annotations

import functools
import itertools
import math
from bisect import bisect_left
from collections.abc import Iterator

from .reduction import Reduction
from .tiling import AxisWindows, Tiling

Places = tuple[int, ...]
"""Places along an axis, or of tokens in a grid, ascending."""


@functools.lru_cache(maxsize=1024)
def kept_places(reduction: Reduction) -> tuple[Places, Places]:
    """The rows and the columns of the kept tokens; every pair is one of them."""
    down, right = reduction.offset
    return reduction.rows.kept(down), reduction.columns.kept(right)


# random shifts make new windows every step, so the caches of windows are kept small
@functools.lru_cache(maxsize=256)
def outside_count(reduction: Reduction, tiling: Tiling) -> int:
    """The most cells of a reduction of the whole grid whose kept token one window does not hold."""
    return len(reduction) - min(_held_counts(reduction, tiling))


def _held_counts(reduction: Reduction, tiling: Tiling) -> list[int]:
    """How many kept tokens each window holds, in row order of the windows."""
    rows, columns = kept_places(reduction)
    if reduction.columns.length == tiling.columns.length:
        tall, wide = _in_each(rows, tiling.rows), _in_each(columns, tiling.columns)
        return [y * x for y in tall for x in wide]
    # one row of cells over all tokens in row order: a window holds a stretch of each of its rows
    width, size = tiling.columns.length, tiling.columns.size
    counts = []
    for left in tiling.columns.starts:
        before = [0]  # in all rows above
        for start in range(left, left + tiling.rows.length * width, width):
            here = bisect_left(columns, start + size) - bisect_left(columns, start)
            before.append(before[-1] + here)
        counts.append([before[y + tiling.rows.size] - before[y] for y in tiling.rows.starts])
    return [count for row in zip(*counts) for count in row]


def _in_each(places: Places, windows: AxisWindows) -> list[int]:
    """How many places lie in each window along an axis."""
    return [
        bisect_left(places, start + windows.size) - bisect_left(places, start)
        for start in windows.starts
    ]


@functools.lru_cache(maxsize=256)
def kept_count(own: Reduction, shared: Reduction | None, tiling: Tiling) -> int:
    """Different tokens that some window has as a key: those that `own` keeps of its tokens, and
    those that `shared` keeps outside it.
    """
    width = tiling.columns.length
    rows, columns = kept_places(own)
    if own.columns.length == tiling.columns.size:
        tokens = {
            y * width + x
            for y in _moved(rows, tiling.rows)
            for x in _moved(columns, tiling.columns)
        }
    else:  # one row of cells over all tokens of a window in row order
        inside = [divmod(place, tiling.columns.size) for place in columns]
        corners = itertools.product(tiling.rows.starts, tiling.columns.starts)
        tokens = {(top + y) * width + left + x for top, left in corners for y, x in inside}
    if shared is not None:
        tokens.update(_seen_outside(shared, tiling))
    return len(tokens)


def _moved(places: Places, windows: AxisWindows) -> set[int]:
    """Where places of a window lie along the axis, for all windows."""
    return {start + place for start in windows.starts for place in places}


def _seen_outside(shared: Reduction, tiling: Tiling) -> Iterator[int]:
    """The kept tokens that windows see outside themselves, and those that fill up the number of
    those that have fewer outside: their first own ones.
    """
    width = tiling.columns.length
    kept = [y * shared.columns.length + x for y, x in itertools.product(*kept_places(shared))]
    held = _held_counts(shared, tiling)
    least, top, left = min(held), tiling.rows.size, tiling.columns.size
    corners = itertools.product(tiling.rows.starts, tiling.columns.starts)
    common = set(kept)
    for (y, x), count in zip(corners, held):
        mine = [t for t in kept if 0 <= t // width - y < top and 0 <= t % width - x < left]
        yield from mine[: count - least]
        common.intersection_update(mine)
    yield from (token for token in kept if token not in common)


def tokens_of(size: tuple[int, int]) -> int:
    """Tokens of a (height, width) grid or window."""
    return math.prod(size)
