"""Timing of variants side by side: interleaved rounds, medians and spread, peak memory."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from benchmarks.speed.memory import watch_memory

Variant = Callable[[nn.Module], contextlib.AbstractContextManager]

NONE, FLOOR = "no patch", "floor"


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, and the most memory that a call needs (bytes, see `memory`)."""

    seconds: tuple[float, ...]
    peak_memory: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the range between the quartiles, relative to the median."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (third - first) / 2 / self.median


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant at one size: its speed-up over no patch, its share of the removable time, and for
    ours the share that its settings allow (see `allowed`).
    """

    variant: str
    seconds: float
    spread: float
    speedup: float
    share: float
    peak_memory: int | None
    allowed: float | None = None


@torch.inference_mode()
def measure(
    unet: nn.Module,
    inputs: tuple[tuple, dict],
    variants: Mapping[str, Variant],
    rounds: int,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time one call of the U-Net under each variant, `rounds` times in turn, after a warm-up.

    The variants take turns in an order that changes from round to round, so that neither a machine
    that is slower for a while nor the memory that another variant leaves behind favours one.
    """
    names = list(variants)
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, int | None] = {}
    for turn in range(rounds + 1):
        for name in order.sample(names, len(names)):
            with variants[name](unet):
                if turn:
                    seconds[name].append(_timed(unet, inputs))
                else:
                    # the round that warms up: to watch the memory of a CPU costs time
                    peak = watch_memory(inputs[0][0].device)
                    _timed(unet, inputs)
                    memory[name] = peak()
            progress()
    return {name: Timing(tuple(seconds[name]), memory[name]) for name in names}


def _timed(unet: nn.Module, inputs: tuple[tuple, dict]) -> float:
    """Seconds of one call."""
    arguments, keywords = inputs
    on_gpu = arguments[0].is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    begin = time.perf_counter()
    unet(*arguments, **keywords)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def rows(timings: Mapping[str, Timing]) -> list[Row]:
    """The table: needs the variants `NONE` and `FLOOR`."""
    none, floor = timings[NONE].median, timings[FLOOR].median
    return [
        Row(
            name,
            timing.median,
            timing.spread,
            none / timing.median,
            (none - timing.median) / (none - floor),
            timing.peak_memory,
        )
        for name, timing in timings.items()
    ]
