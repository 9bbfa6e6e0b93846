"""Writes the tables of the contest into the documents, from the rows that lie beside these.

python -m benchmarks.pictures.documented
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.effects.table import interval
from benchmarks.pictures.quality import Row, read_rows
from benchmarks.pictures.variants import PRESETS
from benchmarks.speed.report import markdown
from slothful.settings.methods import METHODS
from standalone.documentation import README, ROOT, Tables, write_tables

EFFECTS = ROOT / "docs" / "effects.md"
ROWS = ROOT / "docs" / "effects" / "contest.csv"
SIZES = ("512x512", "256x256")
IN_README = {
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
IN_EFFECTS = (
    *(name for name in METHODS if name not in ("Plain Tiles", "Agent Attention")),
    "Token Merging 0.7", "Slothful Attention, strengths 6 and 4", *PRESETS,
    *(f"Slothful Attention, {preset}" for preset in PRESETS[:2]),
    "Slothful Attention, deep blocks n = 3, 1 awake, linear",
    "Near-sighted Attention, deep blocks n = 3, 1 awake, linear",
    *(f"{share}% of the steps" for share in (80, 65, 50, 35)), "DeepCache 3", "tomesd 0.5",
)  # fmt: skip
"""What docs/effects.md tells of."""

Made = dict[str, dict[str, Row]]
"""The rows of each variant by their seeds."""


def made_at(size: str, names: Iterable[str]) -> Made:
    """The rows of one size of those that are named and of which there are any: of the images that
    there are of all of these.
    """
    rows = read_rows(ROWS)
    (_,) = {row[:3] for row in rows}  # one model, one sampler, one number of steps
    found: Made = {name: {} for name in names}
    for row in rows:
        if row.size == size and row.variant in found:
            found[row.variant][row.seed] = row
    found = {name: made for name, made in found.items() if made}
    seeds = set.intersection(*map(set, found.values()))
    return {name: {s: made[s] for s in sorted(seeds)} for name, made in found.items()}


def readme_table() -> str:
    """What is left and how much images change at the larger size."""
    made = made_at(SIZES[0], IN_README)
    lines = [
        [words, _share(made[name]), f"{_mean(made[name], 'change'):.4f}"]
        for name, words in IN_README.items()
    ]
    return markdown(["", "of the U-Net left to compute", f"change, {_count(made)} images"], lines)


def contest_table() -> str:
    """The same at both sizes with intervals and distances, from the most that is left on; what
    was made at the smaller one alone, at the end.
    """
    both = [made_at(size, IN_EFFECTS) for size in SIZES]
    order = {name: (at, -_mean(made[name], "left")) for at, made in list(enumerate(both))[::-1]
             for name in made}  # fmt: skip
    lines = []
    for name in sorted(order, key=lambda each: order[each]):
        words = name.replace("%", " %")
        cells = [f"**{words}**" if name in (*METHODS, *PRESETS) else words]
        for made in both:
            if name not in made:
                cells += ["-"] * 3
                continue
            change = interval([float(row.change) for row in made[name].values()])
            told = f"{change.mean:.4f} ({change.low:.4f} to {change.high:.4f})"
            cells += [_share(made[name]), told, f"{_mean(made[name], 'distance'):.4f}"]
        lines.append(cells)
    headers = [""]
    for size, made in zip(SIZES, both):
        headers += [f"left, {size}", f"change, {_count(made)} images", "distance"]
    return markdown(headers, lines)


def _count(made: Made) -> int:
    return len(next(iter(made.values())))


def _share(rows: Mapping[str, Row]) -> str:
    return f"{100 * _mean(rows, 'left'):.0f} %"


def _mean(rows: Mapping[str, Row], measure: str) -> float:
    return statistics.fmean(float(getattr(row, measure)) for row in rows.values())


TABLES: dict[Path, Tables] = {
    README: {"contest": readme_table},
    EFFECTS: {"contest": contest_table},
}
"""As those of `standalone.documentation`."""


if __name__ == "__main__":
    write_tables(TABLES)
