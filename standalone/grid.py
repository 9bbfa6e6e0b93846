"""The picture grid: off and each method, on the same seed, with the time in the U-Net."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from slothful.methods import METHODS
from standalone.checkpoint import load
from standalone.processing import Processed, Processing, process_images
from standalone.runner import ScriptRunner

OFF = "off"
REPEATS = 2
PER_ROW = 4


def draw_grid(
    args: argparse.Namespace,
    settings: dict[str, Any],
    make_request: Callable[..., Processing],
    save_png: Callable[[Image.Image, str, Path], Path],
) -> None:
    """Write grid.png and one picture a method into `args.out`, and print a table.

    The runs are interleaved and repeated, so that a busy machine slows all of them alike; the
    times are medians of each method's runs.
    """
    model = load(args.model)
    rows = {OFF: {"enabled": False}}
    rows |= {method: {"method": method, **settings} for method in METHODS}
    results: dict[str, Processed] = {}
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    _warm_up(args, model, make_request)
    for _ in range(REPEATS):
        for name, values in rows.items():
            results[name] = process_images(make_request(args, model), ScriptRunner([values]))
            seconds[name].append(results[name].unet_seconds)
    for name, result in results.items():
        save_png(result.images[0], result.infotexts[0], args.out / f"grid-{name}.png")
    pictures = {name: result.images[0] for name, result in results.items()}
    path = save_png(lay_out(pictures, PER_ROW), results[OFF].infotexts[0], args.out / "grid.png")
    print(_table({name: statistics.median(times) for name, times in seconds.items()}))
    print(f"\n{path}")


def _warm_up(args: argparse.Namespace, model: Any, make_request: Callable[..., Processing]) -> None:
    request = make_request(args, model)
    request.steps = 1
    process_images(request, ScriptRunner())


def _table(seconds: dict[str, float]) -> str:
    lines = [f"{'method':<26}{'U-Net time':>12}{'against off':>14}"]
    for name, time in seconds.items():
        lines.append(f"{name:<26}{time:>10.2f} s{seconds[OFF] / time:>12.2f} x")
    return "\n".join(lines)


def lay_out(pictures: dict[str, Image.Image], per_row: int, margin: int = 24) -> Image.Image:
    """The pictures in rows, each under its name."""
    width, height = next(iter(pictures.values())).size
    height += margin
    rows = math.ceil(len(pictures) / per_row)
    sheet = Image.new("RGB", (width * min(per_row, len(pictures)), height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures.items()):
        x, y = index % per_row * width, index // per_row * height
        draw.text((x + 6, y + 6), name, fill="black")
        sheet.paste(picture, (x, y + margin))
    return sheet
