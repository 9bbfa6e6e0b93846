"""The grid of images: off and each method, on the same seed, with the time in the U-Net."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from slothful import METHODS
from slothful_webui.preset_box import OWN
from standalone.checkpoint import load
from standalone.processing import Processed, Processing, process_images
from standalone.runner import ScriptRunner

OFF = "off"
PER_ROW = 4
WIDTH = 2 + max(map(len, METHODS))
"""Of the column of names, in letters."""


def draw_grid(
    args: argparse.Namespace,
    settings: dict[str, Any],
    make_request: Callable[..., Processing],
    save_png: Callable[[Image.Image, str, Path], Path],
) -> None:
    """Write an image for each method into `args.out` as soon as it is there, and at last all of
    them as grid.png; print a table of their times.

    Each is made once, after a step that is not counted.
    """
    make_request(args, object())  # what is wrong with it is told before anything is loaded
    model = load(args.model)
    rows = {OFF: {"enabled": False}}
    rows |= {method: {"method": method, **settings} for method in METHODS}
    results: dict[str, Processed] = {}
    _warm_up(args, model, make_request)
    with _Progress(len(rows) * (2 if args.hires != 1 else 1)) as progress:
        for name, values in rows.items():
            request = make_request(args, model)
            request.progress = progress.of_run(name)
            result = process_images(request, ScriptRunner([values]))
            path = args.out / f"grid-{name}.png"
            progress.say(save_png(result.images[0], result.infotexts[0], path))
            results[name] = result
    pictures = {name: result.images[0] for name, result in results.items()}
    path = save_png(lay_out(pictures, PER_ROW), results[OFF].infotexts[0], args.out / "grid.png")
    print("\n" + _table({name: result.unet_seconds for name, result in results.items()}))
    for name, result in results.items():
        for comment in result.comments:
            print(f"\n{name}: {comment.removeprefix(OWN)}")
    print(f"\n{path}")


def _warm_up(args: argparse.Namespace, model: Any, make_request: Callable[..., Processing]) -> None:
    request = make_request(args, model)
    request.steps, request.progress = 1, None
    process_images(request, ScriptRunner())


class _Progress:
    """One bar for all passes of all runs, on standard error."""

    def __init__(self, passes: int):
        self._passes = passes
        # a file or a pipe gets a line now and then
        self._bar = tqdm(
            total=100, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            mininterval=0.2 if sys.stderr.isatty() else 5,
        )  # fmt: skip
        self._log = logging_redirect_tqdm([logging.getLogger("slothful_webui")])

    def __enter__(self) -> _Progress:
        self._log.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._log.__exit__(*exception)
        self._bar.close()

    def of_run(self, name: str) -> Callable[[str, int, int], None]:
        """The callback of a request that makes the image of this name."""

        def step(_: str, step: int, steps: int) -> None:
            self._bar.set_description_str(f"{name:<{WIDTH}}", refresh=False)
            part = 100 / self._passes / steps
            self._bar.update(min(part, 100 - self._bar.n))  # sums of parts are not exact

        return step

    def say(self, line: object) -> None:
        """Print a line, above the bar where both are on one screen."""
        with self._bar.external_write_mode():
            print(line, flush=True)


def _table(seconds: dict[str, float]) -> str:
    lines = [f"{'method':<{WIDTH}}{'U-Net time':>12}{'speed-up':>12}"]
    for name, time in seconds.items():
        lines.append(f"{name:<{WIDTH}}{time:>10.2f} s{seconds[OFF] / time:>10.2f} x")
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
