"""What is wanted of a GPU, and what a run shows of it.

How long kernels take and how many are started is seen on a GPU alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from benchmarks.speed.report import Conditions, Result, markdown
from benchmarks.speed.timing import FIRST, NONE, Row
from slothful.settings.methods import AGENTS, METHODS, NEAR_SIGHTED, SLOTHFUL

SIX = tuple(name for name in METHODS if name != AGENTS)
MODELS = ("sd15", "sdxl")
SIZES = ("512x512", "768x768", "1024x1024", "1536x1536", "2048x2048")
ONLY = (*SIX, *(name + FIRST for name in (SLOTHFUL, NEAR_SIGHTED)))

SHARE = {"sd15": 0.8, "sdxl": 0.5}
"""Of the removable kernel time at 1024x1024, by model."""

BY_KERNELS, BY_CLOCK = 0.99, 0.97
"""Of no patch's speed, at least, at every size."""

MORE_MERGED, MORE_FIRST = 5.0, 0.0
"""Kernels that an attention starts more, at most, with merged tokens and with the first one: a
wish, for docs/speed.md counts 9 and 1 where a site has one layer.
"""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was wanted of a variant, what was `measured` (None: this machine cannot tell), and
    whether it `holds`.
    """

    conditions: Conditions
    variant: str
    wanted: str
    measured: float | None
    holds: bool | None


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """Of all that was run, for `ONLY`."""
    none = {conditions: row for conditions, row in results if row.variant == NONE}
    found = []
    for conditions, row in results:
        for wanted, measured, holds in _of(conditions, row, none[conditions]):
            verdict = None if measured is None else holds(measured)
            found.append(Verdict(conditions, row.variant, wanted, measured, verdict))
    return found


Target = tuple[str, "float | None", Callable[[float], bool]]
"""What is wanted, what was measured, and whether a number is right."""


def _of(conditions: Conditions, row: Row, none: Row) -> Iterator[Target]:
    if row.variant not in ONLY:
        return
    if row.variant in SIX:
        faster = none.kernels / row.kernels if none.kernels and row.kernels else None
        yield f"speed by kernels >= {BY_KERNELS}", faster, lambda x: x >= BY_KERNELS
        yield f"speed by the clock >= {BY_CLOCK}", row.speedup, lambda x: x >= BY_CLOCK
    pools = row.variant in (SLOTHFUL, NEAR_SIGHTED)
    at_1024 = (conditions.width, conditions.height) == (1024, 1024)
    if pools and at_1024 and conditions.model in SHARE:
        least = SHARE[conditions.model]
        yield f"share of kernels >= {least}", row.share_of_kernels, lambda x: x >= least
    first = row.variant.endswith(FIRST)
    if (pools or first) and row.attentions:
        most = MORE_FIRST if first else MORE_MERGED
        more = None
        if row.started is not None and none.started is not None:
            more = (row.started - none.started) / row.attentions
        yield f"kernels more an attention <= {most:g}", more, lambda x: x <= most


def as_table(found: Sequence[Verdict]) -> str:
    """Markdown, those that do not hold first."""
    said = {True: "holds", False: "does not hold", None: "needs a GPU"}
    order = [False, None, True]
    lines = [
        [
            f"{each.conditions.model} {each.conditions.width}x{each.conditions.height}",
            each.variant,
            each.wanted,
            "-" if each.measured is None else f"{each.measured:.3f}",
            said[each.holds],
        ]
        for each in sorted(found, key=lambda each: order.index(each.holds))
    ]
    return markdown(["model, size", "variant", "wanted", "measured", ""], lines)
