"""Writes the tables of the contest into the documents, from the rows that lie beside these.

python -m benchmarks.pictures.documented
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

from benchmarks.effects.table import interval
from benchmarks.pictures.quality import Row, read_rows
from benchmarks.pictures.variants import PRESETS
from benchmarks.speed.report import markdown
from slothful.settings.methods import METHODS
from standalone.documentation import README, ROOT, Tables, with_tables

EFFECTS = ROOT / "docs" / "effects.md"
ROWS = ROOT / "docs" / "effects" / "contest.csv"
SIZES = ("512x512", "256x256")
ADVISED = {
    "Slothful Attention, asleep half": "Slothful Attention and *asleep half*",
    "Slothful Attention, asleep gentle": "Slothful Attention and *asleep gentle*",
    "Near-sighted Attention": "Near-sighted Attention",
    "50% of the steps": "*half the steps*",
    "asleep half": "*asleep half* (see **Sleep** below)",
    "Slothful Attention": "Slothful Attention",
    "Near-sighted Tile": "Near-sighted Tile",
    "65% of the steps": "*65 % of the steps*",
    "Token Downsampling": "Token Downsampling",
    "Token Merging": "Token Merging",
}
"""What the README tells of, from the least that is left on, and in which words."""
SHOWN = (
    *(name for name in METHODS if name not in ("Plain Tiles", "Agent Attention")),
    "Token Merging 0.7", "Slothful Attention, strengths 6 and 4", *PRESETS,
    *(f"{method}, {preset}" for method in ("Slothful Attention", "Near-sighted Attention")
      for preset in PRESETS[:2]),
    "Slothful Attention, deep blocks n = 3, 1 awake, linear",
    "Near-sighted Attention, deep blocks n = 3, 1 awake, linear",
    *(f"{share}% of the steps" for share in (90, 80, 65, 50, 35)),
    "DeepCache 3", "DeepCache 5", "EasyCache", "tomesd 0.5", "downsampled keys 2",
)  # fmt: skip
"""What docs/effects.md tells of."""

Made = dict[str, dict[str, Row]]
"""The rows of each variant by their seeds."""


def made_at(size: str) -> Made:
    """The rows of one size."""
    found: Made = {}
    for row in read_rows(ROWS):
        if row.size == size:
            found.setdefault(row.variant, {})[row.seed] = row
    return found


def advised_table() -> str:
    """What is left and how much images change at 512x512, over the images that there are of all."""
    made = made_at(SIZES[0])
    seeds = set.intersection(*(set(made[name]) for name in ADVISED))
    lines = []
    for name, words in ADVISED.items():
        rows = [made[name][seed] for seed in sorted(seeds)]
        lines.append([words, _share(rows), f"{_mean(rows, 'change'):.4f}"])
    return markdown(["", "of the U-Net left to compute", f"change, {len(seeds)} images"], lines)


def contest_table() -> str:
    """The same at both sizes with intervals, distances and the number of images, by the change at
    the larger size or what is left.
    """
    both = [made_at(size) for size in SIZES]
    lines = []
    for name in sorted(SHOWN, key=lambda each: -_left(both, each)):
        cells = [f"**{name}**" if name in (*METHODS, *PRESETS) else name]
        for made in both:
            rows = list(made.get(name, {}).values())
            if not rows:
                cells += ["-"] * 4
                continue
            change = interval([float(row.change) for row in rows])
            told = f"{change.mean:.4f} ({change.low:.4f} to {change.high:.4f})"
            cells += [_share(rows), told, f"{_mean(rows, 'distance'):.4f}", str(len(rows))]
        lines.append(cells)
    headers = [""]
    for size in SIZES:
        headers += [f"left, {size}", "change", "distance", "images"]
    return markdown(headers, lines)


def _left(both: Iterable[Made], name: str) -> float:
    """What is left at the larger size of which there are rows."""
    return next(_mean(made[name].values(), "left") for made in both if name in made)


def _share(rows: Iterable[Row]) -> str:
    return f"{100 * _mean(rows, 'left'):.0f} %"


def _mean(rows: Iterable[Row], measure: str) -> float:
    return statistics.fmean(float(getattr(row, measure)) for row in rows)


TABLES: dict[Path, Tables] = {
    README: {"contest": advised_table},
    EFFECTS: {"contest": contest_table},
}
"""As those of `standalone.documentation`."""


if __name__ == "__main__":
    for path, tables in TABLES.items():
        path.write_text(with_tables(path, tables), encoding="utf-8")
