"""Timing pictures side by side, every variant on a U-Net of its own with the same weights."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.pictures.sampling import Picture
from benchmarks.pictures.variants import NONE, Call, Play, Variant, held_bytes
from benchmarks.speed.timing import Inputs, kernels_of, with_the_same_weights

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
MOST = 3
"""Calls of one kind that are timed where their amount of work differs: the least, the middle and
the greatest. The others lie on the lines between them.
"""


@dataclasses.dataclass(frozen=True)
class Timed:
    """A call, by its number in the picture, and the seconds that it took."""

    call: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Profiled(Timed):
    """The seconds are those of a GPU's `kernels`, of which so many were started."""

    kernels: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """One variant: its calls in each round, and the most bytes that it kept between two calls; on a
    GPU also its calls' kernels and the most memory (bytes) that a round took.
    """

    rounds: tuple[tuple[Timed, ...], ...]
    kept: int
    profiled: tuple[Profiled, ...] = ()
    peak: int | None = None


def script(calls: Sequence[Call], history: int) -> list[int]:
    """Which calls of a picture have to be run so that each kind is timed: `MOST` of a kind where
    they differ, and before each the calls that it looks back at.
    """
    chosen: set[int] = set()
    wanted: dict[tuple[str, float], int] = {}
    for kind in dict.fromkeys(call.kind for call in calls):
        own = [(round(call.cost, 6), i) for i, call in enumerate(calls) if call.kind == kind]
        costs = sorted({cost for cost, _ in own})
        for cost in {costs[i * (len(costs) - 1) // (MOST - 1)] for i in range(MOST)}:
            wanted[kind, cost] = min(i for each, i in own if each == cost)
    for index in wanted.values():
        if not calls[index].keeps:
            before = [i for i in range(index) if calls[i].keeps]
            chosen |= {index, *before[len(before) - history :]}
    # calls that keep something may be among those already
    there = {(calls[i].kind, round(calls[i].cost, 6)) for i in chosen}
    return sorted(chosen | {index for each, index in wanted.items() if each not in there})


@torch.no_grad()
def measure(
    unet: nn.Module,
    inputs: Inputs,
    variants: Mapping[str, Variant],
    scripts: Mapping[str, Sequence[int]],
    picture: Picture,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Measured]:
    """Run the calls of `scripts` under each variant, `rounds` times after a warm-up, call by call
    in turn and in an order that changes, so that a machine that slows down favours none; on a GPU
    all of them once before, for a kernel's first start takes long. `clock` tells the time (s).
    """
    order, found, kept = random.Random(0), defaultdict(list), dict.fromkeys(variants, 0)
    unets = {name: with_the_same_weights(unet) for name in variants}
    on_gpu = inputs[0][0].device.type == "cuda"
    run = functools.partial(_run, inputs, picture)
    with variants[NONE].playing(unets[NONE], picture):
        run(unets[NONE], scripts[NONE][0])  # the warm-up
    for number in range(rounds + on_gpu):
        timed: dict[str, list[Timed]] = defaultdict(list)
        with contextlib.ExitStack() as stack:
            plays = {
                name: stack.enter_context(variant.playing(unets[name], picture))
                for name, variant in variants.items()
            }
            turns = [(place, name) for name in variants for place in range(len(scripts[name]))]
            order.shuffle(turns)
            for place, name in sorted(turns, key=lambda turn: turn[0]):
                call = scripts[name][place]
                plays[name].prepare(call)
                begin = _now(clock, on_gpu)
                run(unets[name], call)
                timed[name].append(Timed(call, _now(clock, on_gpu) - begin))
                kept[name] = max(kept[name], held_bytes(plays[name].kept()))
                progress()
        for name in variants if number >= on_gpu else ():
            found[name].append(tuple(timed[name]))
    more = {}
    for name, variant in variants.items() if on_gpu else ():
        with variant.playing(unets[name], picture) as play:
            more[name] = _looked_at(functools.partial(run, unets[name]), play, scripts[name])
    return {
        name: Measured(tuple(found[name]), kept[name], *more.get(name, ())) for name in variants
    }


def _run(inputs: Inputs, picture: Picture, unet: nn.Module, call: int) -> None:
    (latent, timesteps), keywords = inputs
    unet(latent, timesteps.fill_(picture.calls[call]), **keywords)


def _now(clock: Callable[[], float], on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return clock()


def _looked_at(
    run: Callable[[int], None], play: Play, calls: Sequence[int]
) -> tuple[tuple[Profiled, ...], int]:
    """The kernels of each call, and the most memory that all of them took."""
    torch.cuda.reset_peak_memory_stats()
    before, found = torch.cuda.memory_allocated(), []
    for call in calls:
        play.prepare(call)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            run(call)
            torch.cuda.synchronize()
        found.append(Profiled(call, *kernels_of(profiled)))
    return tuple(found), torch.cuda.max_memory_allocated() - before


def total(
    calls: Sequence[Call], run: Sequence[Call], values: Sequence[float], everything: bool
) -> float:
    """The sum over a picture's calls of what was measured at the calls that were `run`: of
    `everything`, if they are the picture's own; else those of a kind lie on the lines between the
    nearest costs of theirs.
    """
    if everything:
        return sum(values)
    known: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for call, value in zip(run, values, strict=True):
        known[call.kind][round(call.cost, 6)].append(value)
    lines = {
        kind: (sorted(own), [statistics.fmean(own[cost]) for cost in sorted(own)])
        for kind, own in known.items()
    }
    return sum(float(np.interp(call.cost, *lines[call.kind])) for call in calls)
