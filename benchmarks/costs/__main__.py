"""The estimate in seconds against the clock, on full-size U-Nets with random weights.

python -m benchmarks.costs                              SD1.5 at 512 and 1024 pixels
python -m benchmarks.costs --model sdxl --size 512x512
python -m benchmarks.costs --clock cpu --threads 1      on a machine that others use as well

Measures the parts of a U-Net as "Measure this machine" does, then times whole calls of kinds and
sizes that this has not seen, and prints both. All in one run, for what a machine takes differs
from run to run.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence

import torch

import slothful
from benchmarks.pictures.timing import CLOCKS
from benchmarks.speed.attention import BACKENDS
from benchmarks.speed.machine import machine_name
from benchmarks.speed.models import make_inputs, make_unet
from benchmarks.speed.options import DTYPES, add_models, check_dtype, check_only, read_size
from slothful import Moment, Settings
from slothful.settings.methods import (
    ATTENTION,
    DEEP,
    METHODS,
    NO_METHOD,
    SELF_ATTENTION,
    TRANSFORMERS,
)  # fmt: skip
from slothful.unet.measuring import measure
from standalone.console import replace_unknown_letters

STEADY = dict(time_decay=0.0)
CASES = {
    "no patch": Settings(method=NO_METHOD),
    **{name: Settings(method=name, **STEADY) for name in METHODS},
    "first token of each cell": Settings(kept_token="first", **STEADY),
    **{
        f"{part} asleep": Settings(method=NO_METHOD, sleep=part)
        for part in (SELF_ATTENTION, ATTENTION, TRANSFORMERS, DEEP)
    },
}
"""Each is one call in which it does all that it can."""

TIMES = (0.6, 0.59)
"""Two steps of a pass: whatever sleeps is awake in the first and asleep in the second."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    parser = argparse.ArgumentParser(
        prog="benchmarks.costs", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_models(parser)
    add = parser.add_argument
    add("--size", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    add("--batch", type=int, default=2, help="rows of a call")
    add("--rounds", type=int, default=1, help="how often each call is timed; the median counts")
    add("--threads", type=int, default=0, help="of PyTorch on a CPU; 0: as many as it takes")
    add("--clock", choices=list(CLOCKS), default="wall",
        help="cpu: the processor's own time, on a machine that others use as well")  # fmt: skip
    add("--only", nargs="+", metavar="TEXT", help="only calls whose names begin with TEXT")
    args = parser.parse_args(arguments)
    try:
        sizes = [read_size(text) for text in args.size]
        check_dtype(args.device, args.dtype)
        check_only(args.only or (), CASES)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.threads:
        torch.set_num_threads(args.threads)
    for model in args.model:
        unet = make_unet(model, torch.device(args.device), DTYPES[args.dtype])
        with (
            torch.no_grad(),
            BACKENDS[args.backend](),
            torch.autocast(args.device, DTYPES[args.dtype], enabled=args.dtype != "fp32"),
        ):
            _check(unet, model, sizes, args)
        del unet
    return 0


def _check(unet, model: str, sizes: Sequence[tuple[int, int]], args) -> None:
    clock = CLOCKS[args.clock]
    positional, keywords = make_inputs(unet, 64, 64, args.batch, 600.0)
    begin = time.perf_counter()
    costs = measure(unet, positional, keywords, clock=clock)
    print(
        f"{model}, {args.device} {args.dtype}, {args.backend}, {machine_name(args.device)}: "
        f"measured in {time.perf_counter() - begin:.0f} s\n"
    )
    print("| size | call | estimate, s | clock, s | off by |\n| --- | --- | --- | --- | --- |")
    shape = slothful.shape_of(unet)
    wanted = tuple(args.only or CASES)
    for width, height in sizes:
        for name, settings in (case for case in CASES.items() if case[0].startswith(wanted)):
            seconds = [
                _time(unet, settings, (width, height), args, clock) for _ in range(args.rounds)
            ]
            real = statistics.median(seconds)
            moment = Moment(1000 * TIMES[1], 1 - TIMES[1], 1, size=(width, height),
                            times=tuple(1 - each for each in TIMES), index=1)  # fmt: skip
            settings = settings.replace(sleep_min_steps=1)
            told = slothful.estimate_seconds(
                settings, shape, costs, width, height, [moment], args.batch
            ).left
            print(
                f"| {width}x{height} | {name} | {told:.3f} | {real:.3f} | {told / real - 1:+.1%} |",
                flush=True,
            )
    print()


def _time(unet, settings: Settings, size: tuple[int, int], args, clock) -> float:
    """Seconds of the second of two calls; the first wakes what sleeps in the second."""
    (latent, timesteps), keywords = make_inputs(unet, *size, args.batch, 0.0)
    sleeps = settings.sleep != "nothing"
    settings = settings.replace(sleep_min_steps=1)
    works = settings.method != NO_METHOD or sleeps
    with slothful.applied(unet, settings) if works else contextlib.nullcontext() as application:
        if works:
            schedule = slothful.PassClock([1000 * each for each in TIMES])
            application.begin_pass("base", schedule, size)
        for number, each in enumerate(TIMES):
            if number == 0 and not sleeps:
                continue
            _wait(args.device)
            begin = clock()
            unet(latent, timesteps.fill_(1000 * each), **keywords)
            _wait(args.device)
            seconds = clock() - begin
    return seconds


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
