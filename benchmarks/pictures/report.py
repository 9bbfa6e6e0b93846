"""The results of a run: a table for each picture, a CSV file, one JSON object."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pictures.sampling import Picture, picture
from benchmarks.pictures.timing import Measured, total
from benchmarks.pictures.variants import NONE, Call, Variant
from benchmarks.speed.report import markdown, write_lines
from slothful import UnetShape

REFERENCE = "deep blocks n = 3, 1 awake"
"""What fewer steps are compared with: as many as take no more time."""
TARGETS = {
    ("sd15", (512, 512)): (("deep blocks n = 3, 1", 0.5),),
    ("sd15", (1024, 1024)): (
        ("deep blocks n = 3, 1", 0.55), ("Near-sighted Attention, deep blocks n = 3, 1", 0.4),
    ),
    ("sdxl", (1024, 1024)): (("deep blocks n = 3, 1", 0.5),),
}  # fmt: skip
"""How much of the U-Net's time may be left in 20 steps, by the beginning of variants' names: by the
clock on a CPU, by its kernels on a GPU, which may wait for its host.
"""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What was measured. `batch` counts rows, negatives included. `every_call`: each call of a
    picture was run; else a few of each kind were, and added up by the plan.
    """

    model: str
    width: int
    height: int
    batch: int
    device: str
    dtype: str
    threads: int
    clock: str
    rounds: int
    every_call: bool
    machine: str

    def __str__(self) -> str:
        how = "every call run" if self.every_call else "each kind of call run, added up by the plan"
        return (
            f"{self.model} at {self.width}x{self.height}, batch {self.batch}, {self.device} "
            f"{self.dtype}, {self.threads} threads, {self.clock} time, {self.rounds} rounds, {how}"
            f"\n{self.machine}"
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant in one picture: its U-Net time relative to no patch by the clock, the median of the
    rounds and half the range between their quartiles; the arithmetic that is counted; how many of
    the calls are full; the bytes kept between calls; of GPUs also the kernels' time relative to no
    patch and in seconds, how many were started, and the peak memory above no patch (bytes).
    """

    variant: str
    relative: float
    spread: float
    counted: float
    full_calls: str
    seconds: float
    kept: int = 0
    kernel_time: float | None = None
    kernel_seconds: float | None = None
    kernels: int | None = None
    peak_over_none: int | None = None


def rows(
    shape: UnetShape,
    made: Picture,
    measured_at: Picture,
    variants: Mapping[str, Variant],
    measured: Mapping[str, Measured],
    every_call: bool,
) -> list[Row]:
    """The table of one picture, from what was measured at another one or at the same."""
    by_program = {variants[name].program: name for name in reversed(measured)}
    leaders = {
        name: name if name in measured else by_program[variant.program]
        for name, variant in variants.items()
    }
    sums = {}
    for name, variant in variants.items():
        at = variants[leaders[name]].calls(shape, measured_at)
        sums[name] = _Sums(variant.calls(shape, made), at, measured[leaders[name]], every_call)
    none, found = sums[NONE], []
    for name, own in sums.items():
        leader = leaders[name]
        ratios = [a / b for a, b in zip(own.seconds, none.seconds)]
        counted = statistics.fmean(call.cost for call in own.calls)
        full = sum(call.keeps for call in own.calls)
        row = Row(
            name, statistics.median(ratios), _spread(ratios), counted,
            f"{full} of {len(own.calls)}", statistics.median(own.seconds), measured[leader].kept,
        )  # fmt: skip
        if own.kernels and none.kernels:
            row = dataclasses.replace(
                row, kernel_time=own.kernel_seconds / none.kernel_seconds,
                kernel_seconds=own.kernel_seconds, kernels=round(own.kernels),
                peak_over_none=measured[leader].peak - measured[NONE].peak,
            )  # fmt: skip
        found.append(row)
    return [found[0], *_fewer_steps(made, found), *found[1:]]


class _Sums:
    """Sums over a picture's `calls` of what was measured at calls of a picture with calls `at`."""

    def __init__(
        self, calls: Sequence[Call], at: Sequence[Call], measured: Measured, every_call: bool
    ):
        self.calls = calls

        def over(values: Sequence[tuple[int, float]]) -> float:
            run = [at[call] for call, _ in values]
            return total(calls, run, [value for _, value in values], every_call)

        self.seconds = [over([(t.call, t.seconds) for t in own]) for own in measured.rounds]
        self.kernel_seconds = self.kernels = 0.0
        if measured.profiled:
            self.kernel_seconds = over([(t.call, t.seconds) for t in measured.profiled])
            self.kernels = over([(t.call, t.kernels) for t in measured.profiled])


def _spread(ratios: Sequence[float]) -> float:
    if len(ratios) < 2:
        return 0.0
    first, _, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return (third - first) / 2


def _fewer_steps(made: Picture, found: Sequence[Row]) -> list[Row]:
    """No patch, with as many steps as take no more time than the reference."""
    reference = next((row for row in found if row.variant == REFERENCE), None)
    if reference is None:
        return []
    count = len(made.calls)
    for steps in range(made.steps, 0, -1):
        share = len(picture(made.sampler, steps, made.size).calls) / count
        if share <= reference.relative:
            break
    none = found[0]
    row = dataclasses.replace(
        none, variant=f"fewer steps: {steps}", relative=share, counted=share,
        full_calls=f"{round(share * count)} of {count}", seconds=none.seconds * share,
    )  # fmt: skip
    if none.kernel_seconds is not None and none.kernels is not None:
        row = dataclasses.replace(
            row, kernel_time=share, kernel_seconds=none.kernel_seconds * share,
            kernels=round(none.kernels * share),
        )  # fmt: skip
    return [row]


def as_table(rows: Sequence[Row]) -> str:
    """Markdown."""
    headers = ["variant", "U-Net time", "spread", "counted", "full calls", "time, s", "kept, MiB"]
    on_gpu = any(row.kernel_time is not None for row in rows)
    if on_gpu:
        headers += ["kernels' time", "kernels, s", "kernels started", "peak over no patch, MiB"]
    lines = []
    for row in rows:
        cells = [row.variant, f"{row.relative:.1%}", f"{row.spread:.1%}", f"{row.counted:.1%}",
                 row.full_calls, f"{row.seconds:.4g}", f"{row.kept / 2**20:.1f}"]  # fmt: skip
        if on_gpu and row.kernel_time is not None:
            cells += [f"{row.kernel_time:.1%}", f"{row.kernel_seconds:.4g}", f"{row.kernels}",
                      f"{row.peak_over_none / 2**20:.1f}"]  # fmt: skip
        lines.append(cells)
    return markdown(headers, lines)


def against_targets(conditions: Conditions, made: Picture, rows: Sequence[Row]) -> list[str]:
    """A line for each variant that has a target in this picture."""
    targets = TARGETS.get((conditions.model, made.size), ()) if made.steps == 20 else ()
    left = {
        row.variant: row.relative if row.kernel_time is None else row.kernel_time for row in rows
    }
    return [
        f"{name}: {share:.1%}, {'met' if share <= most else 'missed'} (target: at most {most:.0%})"
        for beginning, most in targets
        for name, share in left.items()
        if name.startswith(beginning)
    ]


Result = tuple[Conditions, Picture, Sequence[Row]]


def summary(results: Sequence[Result]) -> dict:
    """The figures, JSON-ready: by variant, relative to no patch."""
    return {
        "conditions": dataclasses.asdict(results[0][0]),
        "pictures": [
            {
                "model": conditions.model,
                "size": list(made.size),
                "sampler": made.sampler,
                "steps": made.steps,
                "calls": len(made.calls),
                "variants": {
                    row.variant: {
                        key: round(value, 4) if isinstance(value, float) else value
                        for key, value in dataclasses.asdict(row).items()
                        if key != "variant"
                    }
                    for row in own
                },
            }
            for conditions, made, own in results
        ],
    }


def write_csv(results: Sequence[Result], path: Path) -> None:
    """One line for each variant in each picture."""
    lines = [
        dataclasses.asdict(conditions)
        | {"sampler": made.sampler, "steps": made.steps}
        | dataclasses.asdict(row)
        for conditions, made, own in results
        for row in own
    ]
    write_lines(lines, path)
