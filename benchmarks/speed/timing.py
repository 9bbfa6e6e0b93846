"""Timing of variants side by side: part by part in turn, medians and spread, peak memory."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from greenlet import getcurrent, greenlet
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.memory import peak_memory
from slothful import find_sites

Variant = Callable[[nn.Module], contextlib.AbstractContextManager]
Parts = tuple[float, ...]
"""Seconds of the parts of one call, alternately outside and inside a transformer block."""
Inputs = tuple[tuple, dict]
"""Arguments of one call: (positional, by keyword); the first two are latents and timesteps."""

NONE, FLOOR = "no patch", "floor"
FIRST = ", first token"
"""Ends the name of a method that keeps the first token of each cell."""

STEP = 1e-3
"""Timesteps from one round to the next, as in sampling: what a method makes anew at each step is
part of the call. Too few to change a schedule.
"""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The parts of each round's call (see `at_one_pace`), and the most memory that a call needs
    (bytes, see `memory`).

    What disturbs a call for a moment hits another part in every round, so sums of the parts'
    medians are far steadier than medians of whole calls.
    """

    rounds: tuple[Parts, ...]
    peak_memory: int | None = None
    kernels: float | None = None
    """Seconds that a GPU's kernels took, one after the other. A call takes longer where the host
    cannot start them as fast as a GPU is done with them.
    """
    started: int | None = None
    """How many of these there were."""

    @property
    def seconds(self) -> float:
        """Of a call: the sum of its parts' medians."""
        return sum(self._medians())

    @property
    def in_blocks(self) -> float:
        """The same, of the parts inside transformer blocks. All else is the same under every
        variant, and only adds the machine's unrest.
        """
        return sum(self._medians()[1::2])

    @property
    def spread(self) -> float:
        """Half the range between the quartiles of whole calls, relative to their median."""
        whole = [sum(parts) for parts in self.rounds]
        if len(whole) < 2:
            return 0.0
        first, middle, third = statistics.quantiles(whole, n=4, method="inclusive")
        return (third - first) / 2 / middle

    def _medians(self) -> list[float]:
        return [statistics.median(part) for part in zip(*self.rounds, strict=True)]


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant at one size: its speed-up over no patch, its share of the removable time, for the
    whole call, from the time in the transformer blocks and from that of a GPU's kernels, and for
    ours the share that its settings allow (see `allowed`) and the attentions that are changed.
    """

    variant: str
    seconds: float
    spread: float
    speedup: float
    share: float
    share_in_blocks: float
    peak_memory: int | None
    kernels: float | None = None
    share_of_kernels: float | None = None
    started: int | None = None
    allowed: float | None = None
    attentions: int | None = None


@torch.inference_mode()
def measure(
    unet: nn.Module,
    inputs: Inputs,
    variants: Mapping[str, Variant],
    rounds: int,
    progress: Callable[[], None] = lambda: None,
    *,
    watch_memory: bool = True,
) -> dict[str, Timing]:
    """Time one call of the U-Net under each variant, `rounds` times, after a warm-up.

    Each variant has a U-Net of its own, all with the same weights. On a CPU they run in step: every
    part of a call is done under all variants before the next, in an order that changes, so that a
    machine that slows down for some seconds favours none. A GPU works behind the host's back and
    idles between parts, so there whole calls take turns.
    """
    order = random.Random(0)
    (latent, timesteps), keywords = inputs
    timesteps, device = timesteps.clone(), latent.device
    inputs = (latent, timesteps), keywords
    found: dict[str, list[Parts]] = {name: [] for name in variants}
    memory: dict[str, int | None] = {}
    kernels: dict[str, tuple[float, int]] = {}
    with contextlib.ExitStack() as patches:
        unets = {name: with_the_same_weights(unet) for name in variants}
        for name, own in unets.items():
            patches.enter_context(variants[name](own))
            if watch_memory:  # which takes time on a CPU
                memory[name] = peak_memory(device, lambda own=own: _call(own, inputs))
            else:
                _call(own, inputs)
            progress()
        take_turns = call_by_call if device.type == "cuda" else part_by_part
        for _ in range(rounds):
            timesteps -= STEP
            for name, parts in take_turns(unets, inputs, order):
                found[name].append(parts)
                progress()
        if device.type == "cuda":
            kernels = {name: _kernels(own, inputs) for name, own in unets.items()}
    paced = at_one_pace(found)
    return {
        name: Timing(paced[name], memory.get(name), *kernels.get(name, (None, None)))
        for name in variants
    }


def at_one_pace(found: Mapping[str, Sequence[Parts]]) -> dict[str, tuple[Parts, ...]]:
    """Each variant's rounds as if the machine had been as fast in all of them: every part relative
    to its mean over the variants of its round, times the median of these means over the rounds.
    """
    seconds = np.array(list(found.values()))  # (variants, rounds, parts)
    pace = seconds.mean(axis=0)
    seconds *= np.median(pace, axis=0) / pace
    return {name: tuple(map(tuple, own)) for name, own in zip(found, seconds.tolist())}


def part_by_part(
    unets: Mapping[str, nn.Module],
    inputs: Inputs,
    order: random.Random,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[str, Parts]]:
    """One call of each, in step; for work that is done when the host goes on. `clock` tells the
    time (s).
    """
    here = getcurrent()

    def run(own: nn.Module) -> None:
        with _at_bounds(own, here.switch):
            _call(own, inputs)

    runs = {name: greenlet(run) for name in unets}
    parts: dict[str, list[float]] = {name: [] for name in unets}
    while runs:
        for name in order.sample(list(runs), len(runs)):
            begin = clock()
            runs[name].switch(unets[name])  # to the next bound; what it is given counts once
            parts[name].append(clock() - begin)
            if runs[name].dead:
                del runs[name]
                yield name, tuple(parts[name])


def call_by_call(
    unets: Mapping[str, nn.Module], inputs: Inputs, order: random.Random
) -> Iterator[tuple[str, Parts]]:
    """One call of each, one after the other, timed by a GPU itself."""
    for name in order.sample(list(unets), len(unets)):
        marks: list[torch.cuda.Event] = []

        def mark(marks: list[torch.cuda.Event] = marks) -> None:
            marks.append(torch.cuda.Event(enable_timing=True))
            marks[-1].record()

        torch.cuda.synchronize()
        mark()
        with _at_bounds(unets[name], mark):
            _call(unets[name], inputs)
        mark()
        torch.cuda.synchronize()
        yield name, tuple(a.elapsed_time(b) / 1000 for a, b in zip(marks, marks[1:]))


def _kernels(unet: nn.Module, inputs: Inputs) -> tuple[float, int]:
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        _call(unet, inputs)
        torch.cuda.synchronize()
    return kernels_of(profiled)


def kernels_of(profiled: profile) -> tuple[float, int]:
    """How long a GPU's kernels took (s), and how many there were."""
    kind = torch.autograd.DeviceType.CUDA
    took = [e.time_range.elapsed_us() for e in profiled.events() if e.device_type == kind]
    return sum(took) / 1e6, len(took)


def with_the_same_weights(unet: nn.Module) -> nn.Module:
    """A U-Net of its own for a variant, whose weights are those of `unet`."""
    return copy.deepcopy(unet, {id(weight): weight for weight in unet.parameters()})


def _call(unet: nn.Module, inputs: Inputs) -> None:
    arguments, keywords = inputs
    unet(*arguments, **keywords)


@contextlib.contextmanager
def _at_bounds(unet: nn.Module, act: Callable[[], object]) -> Iterator[None]:
    """Within, `act` is called before and after every transformer block, and before and after the
    hooks and replacements of the variant, which are there already.
    """

    def hook(*_: object) -> None:
        act()

    layers = [layer for site in find_sites(unet) for layer in site.layers]
    handles = [layer.register_forward_pre_hook(hook, prepend=True) for layer in layers]
    handles += [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rows(timings: Mapping[str, Timing]) -> list[Row]:
    """The table: needs the variants `NONE` and `FLOOR`."""
    none, floor = timings[NONE], timings[FLOOR]
    return [
        Row(
            name,
            timing.seconds,
            timing.spread,
            none.seconds / timing.seconds,
            (none.seconds - timing.seconds) / (none.seconds - floor.seconds),
            (none.in_blocks - timing.in_blocks) / (none.in_blocks - floor.in_blocks),
            timing.peak_memory,
            timing.kernels,
            timing.kernels and (none.kernels - timing.kernels) / (none.kernels - floor.kernels),
            timing.started,
        )
        for name, timing in timings.items()
    ]
