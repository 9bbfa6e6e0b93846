"""Timing of variants side by side: interleaved rounds, medians and spread, peak memory."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from benchmarks.speed.memory import peak_memory
from slothful import find_sites

Variant = Callable[[nn.Module], contextlib.AbstractContextManager]

NONE, FLOOR = "no patch", "floor"


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, of the whole call and inside each transformer block, and the most
    memory that a call needs (bytes, see `memory`).
    """

    seconds: tuple[float, ...]
    by_block: tuple[tuple[float, ...], ...]
    peak_memory: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def in_blocks(self) -> float:
        """The sum of the blocks' medians. What disturbs a call for a moment hits another block in
        every round, so this is far steadier than the median of whole calls.
        """
        return sum(statistics.median(rounds) for rounds in zip(*self.by_block))

    @property
    def spread(self) -> float:
        """Half the range between the quartiles, relative to the median."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (third - first) / 2 / self.median


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant at one size: its speed-up over no patch, its share of the removable time, for the
    whole call and from the time in the transformer blocks, and for ours the share that its settings
    allow (see `allowed`).
    """

    variant: str
    seconds: float
    spread: float
    speedup: float
    share: float
    share_in_blocks: float
    peak_memory: int | None
    allowed: float | None = None


@torch.inference_mode()
def measure(
    unet: nn.Module,
    inputs: tuple[tuple, dict],
    variants: Mapping[str, Variant],
    rounds: int,
    progress: Callable[[], None] = lambda: None,
    *,
    watch_memory: bool = True,
) -> dict[str, Timing]:
    """Time one call of the U-Net under each variant, `rounds` times in turn, after a warm-up.

    The variants take turns in an order that changes from round to round, so that neither a machine
    that is slower for a while nor the memory that another variant leaves behind favours one.
    """
    names = list(variants)
    order = random.Random(0)
    times: dict[str, list[tuple[float, tuple[float, ...]]]] = {name: [] for name in names}
    memory: dict[str, int | None] = {}
    for turn in range(rounds + 1):
        for name in order.sample(names, len(names)):
            with variants[name](unet):
                if turn:
                    times[name].append(_timed(unet, inputs))
                elif watch_memory:  # which takes time on a CPU
                    device = inputs[0][0].device
                    memory[name] = peak_memory(device, lambda: _timed(unet, inputs))
                else:
                    _timed(unet, inputs)
            progress()
    return {name: Timing(*zip(*times[name]), memory.get(name)) for name in names}


def _timed(unet: nn.Module, inputs: tuple[tuple, dict]) -> tuple[float, tuple[float, ...]]:
    """Seconds of one call, in all and inside each transformer block.

    All else in the U-Net is the same under every variant, and only adds the machine's unrest.
    """
    arguments, keywords = inputs
    clock = Clock(arguments[0].device)
    marks: list[tuple[Any, Any]] = []
    began: list[Any] = []
    handles = []
    for layer in (layer for site in find_sites(unet) for layer in site.layers):
        # around the hooks and replacements of the variant, which are there already
        begin = layer.register_forward_pre_hook(
            lambda module, args: began.append(clock.mark()), prepend=True
        )
        end = layer.register_forward_hook(
            lambda module, args, output: marks.append((began.pop(), clock.mark()))
        )
        handles += [begin, end]
    try:
        clock.wait()
        first = time.perf_counter()
        unet(*arguments, **keywords)
        clock.wait()
        seconds = time.perf_counter() - first
    finally:
        for handle in handles:
            handle.remove()
    return seconds, tuple(clock.between(begin, end) for begin, end in marks)


class Clock:
    """Marks in the work of a device, and the seconds between two of them."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"

    def mark(self) -> Any:
        """Now, in the order of the device's work; does not wait for it."""
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Until the device has done all its work."""
        if self._on_gpu:
            torch.cuda.synchronize()

    def between(self, begin: Any, end: Any) -> float:
        """Seconds; call after `wait`."""
        return begin.elapsed_time(end) / 1000 if self._on_gpu else end - begin


def rows(timings: Mapping[str, Timing]) -> list[Row]:
    """The table: needs the variants `NONE` and `FLOOR`."""
    none, floor = timings[NONE].median, timings[FLOOR].median
    inside = {name: timing.in_blocks for name, timing in timings.items()}
    removable = inside[NONE] - inside[FLOOR]
    return [
        Row(
            name,
            timing.median,
            timing.spread,
            none / timing.median,
            (none - timing.median) / (none - floor),
            (inside[NONE] - inside[name]) / removable,
            timing.peak_memory,
        )
        for name, timing in timings.items()
    ]
