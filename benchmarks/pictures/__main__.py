"""The U-Net's time of whole pictures: sleep, fewer steps and rivals, relative to no patch.

python -m benchmarks.pictures                       SD1.5 at 512x512, 20 and 30 steps
python -m benchmarks.pictures --model sdxl --size 1024x1024 --only "deep blocks" DeepCache
python -m benchmarks.pictures --quick --json        a narrow U-Net, every call of 20 steps run

Full-size U-Nets with random weights. Each kind of call that a variant makes (full, asleep, ...) is
timed in turn with the others, and a picture's time added up by the plan of its calls; with
--every-call all calls of the picture are run. Calls of a kind that do different amounts of work lie
on the line between those that were timed. Counted is the arithmetic by our estimate.
EasyCache and Spectrum: of random weights a measured change means nothing, so EasyCache skips every
other call between its bounds; Spectrum's steps are its own default schedule.
Writes tables to the console and pictures.csv to --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

import slothful
from benchmarks.pictures.report import (
    Conditions,
    Result,
    against_targets,
    as_table,
    rows,
    summary,
    write_csv,
)
from benchmarks.pictures.sampling import Picture, picture
from benchmarks.pictures.timing import CLOCKS, measure, script
from benchmarks.pictures.variants import NONE, Variant, variants
from benchmarks.speed.attention import BACKENDS
from benchmarks.speed.machine import machine_name
from benchmarks.speed.models import make_inputs, make_unet
from benchmarks.speed.options import DTYPES, add_models, check_dtype, check_only, read_size
from standalone.console import replace_unknown_letters

SAMPLERS = ("Euler", "DPM++ 2M", "DPM++ SDE")
NEAR_SIGHTED = "Near-sighted Attention, deep blocks n = 3, 1"
QUICK = ("DeepCache 3", "T-GATE", "EasyCache", "Spectrum", "attention n", "transformers",
         "deep blocks n = 3", "deep blocks n = 2, 3", NEAR_SIGHTED, "whole")  # fmt: skip
"""The beginnings of what the quick form has time for."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    if args.quick:
        args.model, args.size, args.rounds, args.every_call = ["narrow"], ["192x192"], 1, True
        args.sampler, args.steps, args.only = ["Euler"], [20], args.only or QUICK
    chosen = variants()
    try:
        sizes = [read_size(text) for text in args.size]
        check_only(args.only or (), chosen)
        if min(args.steps) < 1:
            raise ValueError(f"--steps must be at least 1, got {min(args.steps)}")
        if args.batch < 2 or args.batch % 2:
            raise ValueError(f"--batch must be even, for half of it is negative, got {args.batch}")
        if args.device != "cpu" and args.clock == "cpu":
            raise ValueError("--clock must be wall where the device is not the CPU")
        check_dtype(args.device, args.dtype)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.only:
        wanted = (NONE, *args.only)
        chosen = {name: v for name, v in chosen.items() if name.startswith(wanted)}
    results: list[Result] = []
    for model in args.model:
        unet = make_unet(model, torch.device(args.device), DTYPES[args.dtype])
        for size in sizes:
            made = [picture(name, steps, size) for name in args.sampler for steps in args.steps]
            # by kinds of calls, what is measured for one serves all
            groups = [[each] for each in made] if args.every_call else [made]
            for group in groups:
                results += _run(args, unet, model, group, chosen)
        del unet
    if args.json:
        print(json.dumps(summary(results)))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    write_csv(results, args.out / "pictures.csv")
    print(f"\n{args.out / 'pictures.csv'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.pictures", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_models(parser)
    add = parser.add_argument
    add("--size", nargs="+", default=["512x512"], metavar="WIDTHxHEIGHT")
    add("--sampler", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), metavar="SAMPLER",
        help=", ".join(SAMPLERS))  # fmt: skip
    add("--steps", nargs="+", type=int, default=[20, 30])
    add("--batch", type=int, default=2, help="rows of a call, half of them negative")
    add("--rounds", type=int, default=3)
    add("--clock", choices=list(CLOCKS), default="wall",
        help="cpu: the processor's own time, on a machine that others use as well")  # fmt: skip
    add("--every-call", action="store_true", help="run every call of the pictures")
    add("--only", nargs="+", metavar="TEXT", help="only variants whose names begin with TEXT")
    add("--out", type=Path, default=Path("outputs/pictures"))
    add("--quick", action="store_true", help="a narrow U-Net at 192x192, every call of 20 steps")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def _run(args, unet, model: str, group: list[Picture], chosen: dict[str, Variant]) -> list[Result]:
    shape, at = slothful.shape_of(unet), group[0]
    if args.every_call:
        leaders = chosen
        scripts = {name: range(len(at.calls)) for name in chosen}
    else:
        programs = {variant.program: name for name, variant in reversed(chosen.items())}
        leaders = {name: v for name, v in chosen.items() if programs[v.program] == name}
        scripts = {
            name: script(v.calls(shape, at), v.history) if name != NONE else [0, 0]
            for name, v in leaders.items()
        }
    inputs = make_inputs(unet, *at.size, args.batch, at.calls[0])
    latent = inputs[0][0]
    latent[args.batch // 2 :] = latent[: args.batch // 2]  # as both halves of a CFG batch have it
    clock = CLOCKS[args.clock]
    steps = sum(map(len, scripts.values())) * (args.rounds + (args.device != "cpu"))
    with (
        BACKENDS[args.backend](),
        # as the webui computes in half precision
        torch.autocast(args.device, DTYPES[args.dtype], enabled=args.dtype != "fp32"),
        tqdm(total=steps, leave=False, disable=args.json or None) as bar,
    ):
        measured = measure(unet, inputs, leaders, scripts, at, args.rounds, clock, bar.update)
    conditions = Conditions(
        model, *at.size, args.batch, args.device, args.dtype, torch.get_num_threads(),
        args.clock, args.rounds, args.every_call, machine_name(args.device),
    )  # fmt: skip
    results = []
    for made in group:
        table = rows(shape, made, at, chosen, measured, args.every_call)
        results.append((conditions, made, table))
        if not args.json:
            title = f"{made.sampler}, {made.steps} steps, {len(made.calls)} calls"
            print(f"\n{conditions}\n{title}\n\n{as_table(table)}\n", flush=True)
            for line in against_targets(conditions, made, table):
                print(line, flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
