"""Speed of every method and its peers on full-size U-Nets with random weights.

python -m benchmarks.speed                      SD1.5 at 512 and 1024 pixels
python -m benchmarks.speed --model sdxl --size 1024 --batch 2
python -m benchmarks.speed --quick --json       a narrow U-Net, within a minute

Writes a table to the console and speed.csv (and speed.png) to --out. Speed-up is the time without
a patch over the time with it; share is the part of the removable time that was removed, where the
floor is self-attention without attention, to_out(to_q(x)).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import functools
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

import slothful
from benchmarks.speed import peers
from benchmarks.speed.attention import BACKENDS
from benchmarks.speed.models import FAMILIES, make_inputs, make_unet
from benchmarks.speed.timing import FLOOR, NONE, Row, Variant, measure, rows
from slothful import Moment, Settings
from slothful.schedule import TRAIN_STEPS
from slothful.settings import METHODS

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    args = _parser().parse_args(arguments)
    if args.quick:
        args.model, args.size, args.rounds, args.batch = ["narrow"], ["768x768"], 3, 1
    try:
        settings = Settings.from_mapping(json.loads(args.settings))
        sizes = [_read_size(text) for text in args.size]
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
        print(json.dumps(_summary(results)))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    _write_csv(results, args.out / "speed.csv")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    cuda = torch.cuda.is_available()
    add = parser.add_argument
    add("--model", nargs="+", choices=list(FAMILIES), default=["sd15"], metavar="MODEL",
        help=", ".join(FAMILIES))  # fmt: skip
    add("--size", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    add("--batch", type=int, default=2 if cuda else 1, help="pictures of one call, with negatives")
    add("--device", default="cuda" if cuda else "cpu")
    add("--dtype", choices=list(DTYPES), default="fp16" if cuda else "fp32")
    add("--backend", choices=list(BACKENDS), default="sdpa", help="how attention is computed")
    add("--rounds", type=int, default=5)
    add("--settings", default="{}", metavar="JSON", help="changes to the default settings")
    add("--out", type=Path, default=Path("outputs/speed"))
    add("--quick", action="store_true", help="a narrow U-Net at 768x768")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def _read_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) % 64 == int(height) % 64 == 0):
        raise ValueError(f"size must be WIDTHxHEIGHT in multiples of 64, got {text!r}")
    return int(width), int(height)


def variants(settings: Settings, moment: Moment) -> dict[str, Variant]:
    """Everything that is timed, by name: ours with `settings` and each method, and the peers."""
    found: dict[str, Variant] = {NONE: lambda unet: contextlib.nullcontext(), FLOOR: peers.floor}
    for method in METHODS:
        found[method] = functools.partial(_ours, settings=settings.replace(method=method))
    still = settings.replace(method=METHODS[0], in_slothful=1, out_slothful=1)
    found["ours, nothing reduced"] = functools.partial(_ours, settings=still)
    depth = 2 ** (settings.tiling_max_depth - 1)
    found["tomesd 0.5"] = peers.merged_tokens
    found["plain tiles"] = functools.partial(
        peers.plain_tiles, tile_size=settings.tile_size, max_depth=depth
    )
    found["downsampled keys"] = peers.downsampled_keys
    if settings.replace(method=METHODS[0]).changed() == {}:  # the textbook forms know defaults
        for method in METHODS:
            found[f"textbook {method}"] = functools.partial(
                peers.textbook, settings=settings.replace(method=method), moment=moment
            )
    return found


def _ours(unet, settings):
    return slothful.applied(unet, settings)


@dataclasses.dataclass(frozen=True)
class Result:
    """A row with the conditions under which it was measured."""

    model: str
    width: int
    height: int
    batch: int
    device: str
    dtype: str
    backend: str
    row: Row

    def as_dict(self) -> dict:
        flat = dataclasses.asdict(self)
        return {**flat, **flat.pop("row")}


def _run(args, unet, model, width, height, settings) -> list[Result]:
    time = settings.peak_time
    moment = Moment(TRAIN_STEPS * (1 - time), time)
    inputs = make_inputs(unet, width, height, args.batch, moment.timestep)
    chosen = variants(settings, moment)
    with (
        BACKENDS[args.backend](),
        tqdm(total=len(chosen) * (args.rounds + 1), leave=False, disable=args.json) as bar,
    ):
        table = rows(measure(unet, inputs, chosen, args.rounds, bar.update))
    conditions = (model, width, height, args.batch, args.device, args.dtype, args.backend)
    if not args.json:
        print(f"\n{model} at {width}x{height}, batch {args.batch}, {args.device} {args.dtype}, "
              f"{args.backend}, {args.rounds} rounds\n\n{as_table(table)}")  # fmt: skip
    return [Result(*conditions, row) for row in table]


def as_table(table: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| variant | time, s | spread | speed-up | share of removable time | peak memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table:
        memory = f"{row.peak_memory / 2**20:.0f}" if row.peak_memory else "-"
        lines.append(
            f"| {row.variant} | {row.seconds:.4g} | {row.spread:.1%} | {row.speedup:.3f} "
            f"| {row.share:.1%} | {memory} |"
        )
    return "\n".join(lines)


def _summary(results: list[Result]) -> dict:
    return {
        "model": results[0].model,
        "size": f"{results[0].width}x{results[0].height}",
        "variants": {
            r.row.variant: {
                "seconds": round(r.row.seconds, 4),
                "speedup": round(r.row.speedup, 4),
                "share": round(r.row.share, 4),
            }
            for r in results
        },
    }


def _write_csv(results: list[Result], path: Path) -> None:
    lines = [result.as_dict() for result in results]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    print(f"\n{path}")


if __name__ == "__main__":
    sys.exit(main())
