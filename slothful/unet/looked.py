"""What calls of a U-Net took, part by part, put together for its costs."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping

from ..planning.cost import UnetShape
from ..planning.seconds import Timed, part_operations, rest_operations, timed
from ..planning.site import Grid, grid_of


@dataclasses.dataclass(frozen=True)
class Looked:
    """One call, part by part: seconds by ("block", inside), ("attention", site number), ("cross",
    inside), ("mlp", inside) and ("transformer", inside), and of the whole call.
    """

    whole: float
    parts: dict[tuple[str, int], float]

    def of(self, name: str) -> dict[int, float]:
        """The seconds of all parts of a name, by number."""
        return {number: seconds for (part, number), seconds in self.parts.items() if part == name}


def attentions_of(shape: UnetShape, looked: dict[int, Looked], rows: int) -> list[Timed]:
    """The attentions as they are, those of a kind and a grid together."""
    samples: dict[tuple[str, Grid], Timed] = {}
    for side, seen in looked.items():
        for number, each in enumerate(shape.sites):
            grid = grid_of(side, side, each.site.level)
            seconds = seen.parts.get(("attention", number), 0.0)
            one = timed(None, each.site, grid, rows, seconds)
            known = samples.get((one.kind, grid))
            samples[one.kind, grid] = one if known is None else _together(known, one)
    return [each for each in samples.values() if each.seconds > 0]


def _together(one: Timed, other: Timed) -> Timed:
    sums = {
        field.name: getattr(one, field.name) + getattr(other, field.name)
        for field in dataclasses.fields(Timed)
        if field.name != "kind"
    }
    return Timed(one.kind, **sums)


def blocks_of(
    shape: UnetShape, looked: dict[int, Looked], rows: int
) -> dict[int, tuple[tuple[float, float], ...]]:
    """The seconds of all but self-attention, by the number of blocks inside which it lies."""
    lines: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for side, seen in looked.items():
        rest = seen.of("block")
        rest[-1] = max(seen.whole - sum(rest.values()), 0.0)
        for number, each in enumerate(shape.sites):
            rest[each.site.inside] -= seen.parts.get(("attention", number), 0.0)
        for inside, operations in rest_operations(shape, side, side).items():
            lines[inside].append((rows * operations, max(rest.get(inside, 0.0), 0.0)))
    return {inside: tuple(points) for inside, points in lines.items()}


def parts_of(
    shape: UnetShape, looked: dict[int, Looked], rows: int
) -> dict[str, tuple[tuple[float, float], ...]]:
    """The seconds of cross-attentions, feed-forward layers and what is around them."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for side, seen in looked.items():
        taken = {name: sum(seen.of(name).values()) for name in ("cross", "mlp", "transformer")}
        inner = taken["cross"] + taken["mlp"] + sum(seen.of("attention").values())
        taken["around"] = max(taken["transformer"] - inner, 0.0)
        for name, operations in part_operations(shape, side, side).items():
            if operations:
                lines[name].append((rows * operations, taken[name]))
    return {name: tuple(points) for name, points in lines.items()}


def grown(
    shape: UnetShape, seen: Looked, growth: Mapping[tuple[str, int], float], area: float
) -> Looked:
    """A call of a larger image, of so many times the `area`, but for its self-attention: each part
    takes as many times as long as the layers of its level do (`_Caller.growth`).
    """
    attention: dict[int, float] = defaultdict(float)
    for number, each in enumerate(shape.sites):
        attention[each.site.inside] += seen.parts.get(("attention", number), 0.0)
    # where blocks of two levels lie as deep, that with more to do
    by_work = sorted(shape.rest, key=lambda block: block.per_position / block.level**2)
    levels = {block.inside: block.level for block in by_work}
    parts: dict[tuple[str, int], float] = {}
    for inside, whole in seen.of("block").items():
        transformer, mlp, cross = (
            seen.parts.get((name, inside), 0.0) for name in ("transformer", "mlp", "cross")
        )
        around = max(transformer - mlp - cross - attention[inside], 0.0)
        grows = {
            name: growth.get((name, levels[inside]), area) for name in ("block", "mlp", "cross")
        }
        parts["mlp", inside], parts["cross", inside] = grows["mlp"] * mlp, grows["cross"] * cross
        parts["transformer", inside] = (
            parts["mlp", inside] + parts["cross", inside] + grows["mlp"] * around
        )
        parts["block", inside] = (
            grows["block"] * (whole - transformer) + parts["transformer", inside]
        )
    outside = seen.whole - sum(seen.of("block").values())
    made = Looked(0.0, parts)
    whole = sum(made.of("block").values()) + growth.get(("block", 1), area) * max(outside, 0.0)
    return dataclasses.replace(made, whole=whole)
