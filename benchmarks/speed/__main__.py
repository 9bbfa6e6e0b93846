"""Speed of every method and its peers on full-size U-Nets with random weights.

python -m benchmarks.speed                      SD1.5 at 512 and 1024 pixels
python -m benchmarks.speed --model sdxl --size 1024x1024 --batch 2
python -m benchmarks.speed --targets            on a GPU: what is wanted of one, and what it shows
python -m benchmarks.speed --quick --json       a narrow U-Net, within a minute

Writes a table to the console and speed.csv and speed.png to --out. Speed-up is the time without
a patch over the time with it; share is the part of the removable time that was removed, where the
floor is self-attention without attention, to_out(to_q(x)).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import slothful
from benchmarks.speed import peers, targets
from benchmarks.speed.allowed import allowed_share, changed_attentions
from benchmarks.speed.attention import BACKENDS
from benchmarks.speed.machine import machine_name
from benchmarks.speed.models import make_inputs, make_unet
from benchmarks.speed.options import DTYPES, add_models, check_dtype, check_only, read_size
from benchmarks.speed.report import Conditions, Result, as_table, draw_plot, summary, write_csv
from benchmarks.speed.timing import FIRST, FLOOR, NONE, Variant, measure, rows
from slothful import TRAIN_STEPS, Moment, Settings
from slothful.settings.methods import METHODS, NO_METHOD, SLOTHFUL, SUBSAMPLING
from standalone.console import replace_unknown_letters

FEWER = "fewer channels 0.5"
TEXTBOOK = "textbook "
"""Begins the names of our methods' textbook forms; those that end in `FIRST` compute the same."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    if args.quick:
        args.model, args.size, args.rounds, args.batch = ["narrow"], ["768x768"], 2, 1
    elif args.targets:
        args.model, args.size, args.only = targets.MODELS, targets.SIZES, targets.ONLY
    try:
        if args.targets and (args.quick or args.json):
            raise ValueError("--targets prints tables of full-size U-Nets: no --quick, no --json")
        settings = Settings.from_mapping(json.loads(args.settings))
        sizes = [read_size(text) for text in args.size]
        check_only(args.only or (), variants(settings, Moment(0.0, 1.0)))
        check_dtype(args.device, args.dtype)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = []
    for model in args.model:
        unet = make_unet(model, torch.device(args.device), DTYPES[args.dtype])
        for width, height in sizes:
            results += _run(args, unet, model, width, height, settings)
        del unet
    if args.json:
        print(json.dumps(summary(results)))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    write_csv(results, args.out / "speed.csv")
    draw_plot(results, args.out / "speed.png")
    if args.targets:
        print(f"\n{targets.as_table(targets.verdicts(results))}")
    print(f"\n{args.out / 'speed.csv'}\n{args.out / 'speed.png'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_models(parser)
    add = parser.add_argument
    add("--size", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    add(
        "--batch",
        type=int,
        default=2 if torch.cuda.is_available() else 1,
        help="images of one call, with negatives",
    )
    add("--rounds", type=int, default=5)
    add("--only", nargs="+", metavar="TEXT", help="only variants whose names begin with TEXT")
    add("--settings", default="{}", metavar="JSON", help="changes to the default settings")
    add("--out", type=Path, default=Path("outputs/speed"))
    add(
        "--targets",
        action="store_true",
        help="which targets hold, of SD1.5 and SDXL at all sizes; without --quick and --json",
    )
    add("--quick", action="store_true", help="a narrow U-Net at 768x768")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def variants(
    settings: Settings, moment: Moment, methods: Sequence[str] = METHODS
) -> dict[str, Variant]:
    """Everything that is timed, by name: ours with `settings` and each method, and the peers."""
    found: dict[str, Variant] = {NONE: lambda unet: contextlib.nullcontext(), FLOOR: peers.floor}
    for method in methods:
        found[method] = functools.partial(_ours, settings=settings.replace(method=method))
    few = {f"channels_depth_{depth}": 0.5 for depth in (1, 2, 3)}
    half = settings.replace(method=NO_METHOD, **few)
    found[FEWER] = functools.partial(_ours, settings=half)
    still = settings.replace(method=SLOTHFUL, in_slothful=1, out_slothful=1)
    found["ours, nothing reduced"] = functools.partial(_ours, settings=still)
    depth = 2 ** (settings.tiling_max_depth - 1)
    found["tomesd 0.5"] = peers.merged_tokens
    found["plain tiles"] = functools.partial(
        peers.plain_tiles, tile_size=settings.tile_size, max_depth=depth
    )
    found["downsampled keys"] = peers.downsampled_keys
    if settings.replace(method=SLOTHFUL).changed() == {}:  # the textbook forms know defaults
        for method in SUBSAMPLING:
            # which do not merge: ours that compute the same stand beside them
            own = settings.replace(method=method, kept_token="first")
            found[method + FIRST] = functools.partial(_ours, settings=own)
            found[TEXTBOOK + method] = functools.partial(
                peers.textbook, settings=own, moment=moment
            )
    return found


def _ours(unet, settings):
    return slothful.applied(unet, settings)


def _run(args, unet, model, width, height, settings) -> list[Result]:
    time = settings.peak_time
    moment = Moment(TRAIN_STEPS * (1 - time), time)
    inputs = make_inputs(unet, width, height, args.batch, moment.timestep)
    chosen = variants(settings, moment, SUBSAMPLING if args.quick else METHODS)
    if args.quick:  # which has no time for all
        pairs = [name for method in METHODS for name in (TEXTBOOK + method, method + FIRST)]
        left_out = (FEWER, *pairs)
        chosen = {name: v for name, v in chosen.items() if name not in left_out}
    if args.only:
        wanted = (NONE, FLOOR, *args.only)
        chosen = {name: v for name, v in chosen.items() if name.startswith(wanted)}
    with (
        BACKENDS[args.backend](),
        # as the webui computes in half precision
        torch.autocast(args.device, DTYPES[args.dtype], enabled=args.dtype != "fp32"),
        tqdm(total=len(chosen) * (args.rounds + 1), leave=False, disable=args.json or None) as bar,
    ):
        timings = measure(
            unet, inputs, chosen, args.rounds, bar.update, watch_memory=not args.quick
        )
    table = rows(timings)
    shape = slothful.shape_of(unet)
    for index, row in enumerate(table):
        method = row.variant.removesuffix(FIRST)
        if method in METHODS:
            first = dict(kept_token="first") if method != row.variant else {}
            call = shape, width, height, moment
            own = settings.replace(method=method, **first)
            allowed = allowed_share(own, *call) if not first else None
            attentions = changed_attentions(own, *call)
            table[index] = dataclasses.replace(row, allowed=allowed, attentions=attentions)
    conditions = Conditions(
        model, width, height, args.batch, args.device, args.dtype, args.backend, args.rounds,
        machine_name(args.device),
    )  # fmt: skip
    if not args.json:
        print(f"\n{conditions}\n\n{as_table(table)}", flush=True)
    return [(conditions, row) for row in table]


if __name__ == "__main__":
    sys.exit(main())
