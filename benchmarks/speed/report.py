"""The results of a run as a table, a CSV file, a plot and a short summary."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import NONE, Row


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What was measured. Sizes in pixels; `batch` counts rows, negatives included."""

    model: str
    width: int
    height: int
    batch: int
    device: str
    dtype: str
    backend: str
    rounds: int
    machine: str

    def __str__(self) -> str:
        return (
            f"{self.model} at {self.width}x{self.height}, batch {self.batch}, {self.device} "
            f"{self.dtype}, {self.backend}, {self.rounds} rounds\n{self.machine}"
        )


Result = tuple[Conditions, Row]


def as_table(rows: Sequence[Row]) -> str:
    """Markdown."""
    headers = ["variant", "time, s", "spread", "speed-up", "share of removable time",
               "share in blocks", "settings allow", "peak memory, MiB"]  # fmt: skip
    on_gpu = any(row.kernels is not None for row in rows)
    if on_gpu:
        headers += ["kernels, s", "share of kernels", "kernels started"]
    lines = []
    for row in rows:
        memory = f"{row.peak_memory / 2**20:.0f}" if row.peak_memory else "-"
        allowed = "-" if row.allowed is None else f"{row.allowed:.1%}"
        cells = [row.variant, f"{row.seconds:.4g}", f"{row.spread:.1%}", f"{row.speedup:.3f}",
                 f"{row.share:.1%}", f"{row.share_in_blocks:.1%}", allowed, memory]  # fmt: skip
        if on_gpu:
            cells += [f"{row.kernels:.4g}", f"{row.share_of_kernels:.1%}", str(row.started)]
        lines.append(cells)
    return markdown(headers, lines)


def markdown(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    every = [headers, ["---"] * len(headers), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in every)


def summary(results: Sequence[Result]) -> dict:
    """The figures of the first conditions, JSON-ready."""
    first = results[0][0]
    return {
        "conditions": dataclasses.asdict(first),
        "variants": {
            row.variant: {
                "seconds": round(row.seconds, 4),
                "speedup": round(row.speedup, 4),
                "share": round(row.share, 4),
                "share_in_blocks": round(row.share_in_blocks, 4),
                "allowed": None if row.allowed is None else round(row.allowed, 4),
            }
            for conditions, row in results
            if conditions == first
        },
    }


def write_csv(results: Sequence[Result], path: Path) -> None:
    """One line for each variant under each conditions."""
    write_lines([dataclasses.asdict(c) | dataclasses.asdict(row) for c, row in results], path)


def write_lines(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A CSV file of lines that have the same columns; there is at least one."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def draw_plot(results: Sequence[Result], path: Path) -> None:
    """Bars of the speed-up, one panel for each conditions, the floor as the line to reach."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(c, [row for _, row in group]) for c, group in groupby(results, lambda r: r[0])]
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5 * len(panels) + 2, 5), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, (conditions, rows) in zip(axes[0], panels):
        shown = [row for row in rows if row.variant != NONE]
        axis.barh([row.variant for row in shown], [row.speedup for row in shown])
        for index, row in enumerate(shown):
            axis.text(row.speedup, index, f" {row.speedup:.2f}", va="center", fontsize=8)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_title(f"{conditions.model}, {conditions.width}x{conditions.height}")
        axis.set_xlabel("speed-up over no patch")
    axes[0][0].invert_yaxis()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
