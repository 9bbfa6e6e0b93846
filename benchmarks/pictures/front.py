"""Quality against cost: how much images change, over the U-Net's arithmetic that is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.effects.table import Interval

COLOURS = {"steps": "tab:gray", "peer": "tab:orange", "default": "tab:blue",
           "settings": "tab:blue"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Point:
    """A variant: the part of the U-Net's arithmetic that it leaves over a whole image, and the
    change of the images (1 - SSIM).

    `standing`: "default" (a method, a preset or a choice of Lazy as it comes), "settings" (others
    of ours), "peer" or "steps" (fewer of them).
    """

    name: str
    left: float
    change: Interval
    standing: str = "default"

    @property
    def contends(self) -> bool:
        """Whether it is one that people get without choosing values."""
        return self.standing != "settings"


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


def draw_front(panels: Mapping[str, Sequence[Point]], path: Path) -> None:
    """A PNG with a panel for each title."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(8 * len(panels), 7), squeeze=False, layout="constrained"
    )
    for axis, (title, points) in zip(axes[0], panels.items()):
        best = front(points)
        for p in points:
            error = [[p.change.mean - p.change.low], [p.change.high - p.change.mean]]
            axis.errorbar(p.left, p.change.mean, error, fmt="D" if p.name in best else "o",
                          color=COLOURS[p.standing], alpha=0.8, elinewidth=0.6, markersize=5,
                          fillstyle="full" if p.contends else "none")  # fmt: skip
            if p.contends:
                axis.annotate(p.name, (p.left, p.change.mean), fontsize=7, xytext=(5, 3),
                              textcoords="offset points")  # fmt: skip
        steps = sorted((p.left, p.change.mean) for p in points if p.standing == "steps")
        if steps:
            axis.plot(*zip(*steps), color=COLOURS["steps"], linewidth=0.8)
        axis.margins(x=0.12)  # names are written to the right of points
        axis.set_yscale("symlog", linthresh=0.005)  # most points lie close to 0
        axis.set_title(title)
        axis.set_xlabel("part of the U-Net's arithmetic that is left")
        axis.set_ylabel("change of the image (1 - SSIM)")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
