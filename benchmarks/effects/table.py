"""The rows of a study as numbers, and what they say with 95 % certainty."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

RESAMPLES = 2000
Picture = tuple[str, str]
"""(prompt, seed)."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval by bootstrap over pictures; NaN of fewer than two."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g})"


def interval(values: Sequence[float]) -> Interval:
    """The interval of values, those that are not a number left out; reproducible.

    Percentile bootstrap (Efron and Tibshirani, 1993) by scipy.
    """
    kept = np.array([value for value in values if not math.isnan(value)])
    if not len(kept):
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(kept.mean())
    if len(kept) < 2:
        return Interval(mean, math.nan, math.nan, len(kept))
    if np.ptp(kept) == 0:  # scipy warns of what is no accident here
        return Interval(mean, mean, mean, len(kept))
    low, high = stats.bootstrap(
        (kept,), np.mean, n_resamples=RESAMPLES, method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(low), float(high), len(kept))


class Table:
    """The rows of a study.

    Measures are the columns, and "change": 1 - SSIM, how far a picture is from its reference.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]):
        self._rows: dict[tuple[str, str], dict[Picture, Mapping[str, str]]] = {}
        for row in rows:
            pictures = self._rows.setdefault((row["task"], row["variant"]), {})
            pictures[row["prompt"], row["seed"]] = row

    def has(self, variant: str, task: str = "txt2img") -> bool:
        """Whether there is a row of a variant."""
        return (task, variant) in self._rows

    def values(self, variant: str, measure: str, task: str = "txt2img") -> dict[Picture, float]:
        """A measure of each picture of a variant; empty without rows."""
        rows = self._rows.get((task, variant), {})
        return {picture: _number(row, measure) for picture, row in rows.items()}

    def mean(self, variant: str, measure: str, task: str = "txt2img") -> Interval:
        """A measure over all pictures of a variant."""
        return interval(list(self.values(variant, measure, task).values()))

    def paired(
        self,
        first: dict[Picture, float],
        second: dict[Picture, float],
        difference: Callable[[float, float], float] = lambda a, b: a - b,
    ) -> Interval:
        """A difference between pictures of the same prompt and seed."""
        return interval([difference(first[p], second[p]) for p in first if p in second])


def _number(row: Mapping[str, str], measure: str) -> float:
    if measure == "change":
        return 1 - float(row.get("ssim", math.nan))
    return float(row.get(measure, math.nan))


def write_summary(table: Table, keys: Iterable[tuple[str, str, str]], path: Path) -> None:
    """One line for each (task, variant, measure): mean, interval and number of pictures."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "variant", "measure", "mean", "low", "high", "pictures"))
        for task, variant, measure in keys:
            found = table.mean(variant, measure, task)
            if found.count:
                numbers = (f"{value:.5g}" for value in (found.mean, found.low, found.high))
                writer.writerow((task, variant, measure, *numbers, found.count))
