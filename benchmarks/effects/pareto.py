"""Quality against cost: change and caption fidelity over the arithmetic that is left.

The methods at their defaults contend with the peers; other settings of ours show what is possible.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.effects.table import Interval, Table
from benchmarks.effects.variants import Variant

COLUMNS = ("variant", "size", "standing", "attention_left", "change", "change_low", "change_high",
           "caption", "pictures", "on_front", "beaten_by")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Point:
    """A variant: the part of the self-attention's arithmetic that it leaves, the change of the
    picture (1 - SSIM) and the part of the pictures that are true to their captions.
    """

    name: str
    size: int
    left: float
    change: Interval
    caption: Interval
    standing: str = "default"

    @property
    def contends(self) -> bool:
        """Whether it is a method's defaults or a peer."""
        return self.standing != "settings"


def points(table: Table, variants: Sequence[Variant], left: dict[str, float]) -> list[Point]:
    """The variants of which there are pictures and a cost (`left`, by name)."""
    return [
        Point(v.name, v.size, left[v.name], table.mean(v.name, "change"),
              table.mean(v.name, "caption"), v.standing)
        for v in variants if v.name in left and table.has(v.name)
    ]  # fmt: skip


def front(points: Sequence[Point]) -> set[str]:
    """The names of the contending points of which none leaves less arithmetic at no more change, by
    the means.
    """
    contending = [point for point in points if point.contends]
    return {
        p.name
        for p in contending
        if not any(
            o.left <= p.left and o.change.mean <= p.change.mean
            and (o.left, o.change.mean) != (p.left, p.change.mean)
            for o in contending
        )
    }  # fmt: skip


def beaten_by(point: Point, points: Sequence[Point], table: Table) -> list[str]:
    """The contending points that leave no more arithmetic and change pictures less, beyond chance.

    Beyond chance: the 95 % interval of the difference between the same pictures lies below zero.
    """
    own = table.values(point.name, "change")
    found = []
    for other in points:
        if other.contends and other.left <= point.left and other.name != point.name:
            difference = table.paired(table.values(other.name, "change"), own)
            if difference.high < 0:
                found.append(other.name)
    return found


def write_points(points: Sequence[Point], table: Table, path: Path) -> None:
    """pareto.csv: a line for each point."""
    on_front = {size: front([p for p in points if p.size == size]) for size in _sizes(points)}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for p in sorted(points, key=lambda p: (p.size, p.left)):
            same = [other for other in points if other.size == p.size]
            writer.writerow((
                p.name, p.size, p.standing, f"{p.left:.4f}", f"{p.change.mean:.5f}",
                f"{p.change.low:.5f}", f"{p.change.high:.5f}", f"{p.caption.mean:.4f}",
                p.change.count, p.name in on_front[p.size], "; ".join(beaten_by(p, same, table)),
            ))  # fmt: skip


def draw_front(points: Sequence[Point], path: Path) -> None:
    """pareto.png: one panel for each size and measure."""
    from matplotlib import pyplot

    sizes = _sizes(points)
    figure, axes = pyplot.subplots(
        2, len(sizes), figsize=(7 * len(sizes), 10), squeeze=False, layout="constrained"
    )
    for column, size in enumerate(sizes):
        own = [p for p in points if p.size == size]
        best = front(own)
        for row, (measure, label) in enumerate(
            (("change", "change of the image (1 - SSIM)"), ("caption", "true to the caption"))
        ):
            axis = axes[row][column]
            for p in own:
                value = getattr(p, measure)
                error = [[value.mean - value.low], [value.high - value.mean]]
                colour = "tab:orange" if p.standing == "peer" else "tab:blue"
                mark = "D" if p.name in best else "o"
                axis.errorbar(p.left, value.mean, error, fmt=mark, color=colour, alpha=0.8,
                              fillstyle="full" if p.contends else "none")  # fmt: skip
                if row == 0:
                    name = p.name.removesuffix(f" @{size}")
                    # above for contenders, below for others, as many lie close together
                    axis.annotate(name, (p.left, value.mean), fontsize=8 if p.contends else 6,
                                  xytext=(5, 4 if p.contends else -8),
                                  textcoords="offset points")  # fmt: skip
            if row == 0:
                line = sorted((p.left, p.change.mean) for p in own if p.name in best)
                axis.step(*zip(*line), where="post", color="gray", linewidth=0.8)
                axis.set_yscale("symlog", linthresh=0.005)  # most points lie close to 0
                axis.set_title(
                    f"{size}x{size} (blue: ours, hollow: not the defaults; orange: peers)"
                )
            axis.set_xlabel("part of the self-attention's arithmetic that is left")
            axis.set_ylabel(label)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _sizes(points: Sequence[Point]) -> list[int]:
    return sorted({p.size for p in points})
