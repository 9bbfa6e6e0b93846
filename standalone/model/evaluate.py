"""Measures the small model: samples captions, looks at the images, compares.

python -m standalone.model.evaluate
python -m standalone.model.evaluate --kind related --captions 50 --size 512 --sheet sheet.png
python -m standalone.model.evaluate --truth --captions 300

The last measures the judges: they look at drawn images in place of samples. Images are kept in
--out and never made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from standalone.model.judges import JUDGES, Verdict, figures
from standalone.model.packed import SMALL, CheckpointError
from standalone.model.sampling import Sampler
from standalone.model.scenes import KINDS, Scene, draw, random_kind

HELD_OUT_SEED = 10_000_000
"""Scenes are drawn from this seed on; the seeds of training are pairs of numbers, or smaller."""
SIZES = (256, 512)
BATCH = {"cuda": 64, "cpu": 1}
"""Captions at once at 256 pixels on each kind of device, fewer at more; the processor is fastest
with one."""
LETTER_WIDTH, LINE_HEIGHT = 5, 11
"""Of the writing on the sheet, in pixels."""


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when the checkpoint cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SMALL)
    parser.add_argument("--kind", choices=tuple(KINDS), help="kind of scenes (all, as in training)")
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--size", type=int, choices=SIZES, default=SIZES[0], help="in pixels")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--cfg-scale", type=float, default=5.0)
    parser.add_argument("--first-seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--out", type=Path, help="folder in which the images are kept")
    parser.add_argument("--sheet", type=Path, help="write all images into this PNG")
    parser.add_argument("--truth", action="store_true", help="judge drawn images")
    args = parser.parse_args(argv)
    if args.captions < 1:
        parser.error(f"--captions must be 1 or more, got {args.captions}")
    seeds = range(args.first_seed, args.first_seed + args.captions)
    kinds, scenes = zip(*(held_out(seed, args.kind) for seed in seeds))
    try:
        if args.truth:
            pictures = [draw(scene, args.size) for scene in scenes]
        else:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            pictures = sample_all(
                Sampler(args.model, device), scenes, seeds, size=args.size, steps=args.steps,
                scale=args.cfg_scale, out=args.out,
            )  # fmt: skip
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verdicts = [JUDGES[kind](*seen) for kind, *seen in zip(kinds, scenes, pictures)]
    if args.sheet:
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pictures, scenes, verdicts).save(args.sheet)
    found = {"captions": len(scenes), "all": figures(verdicts)}
    for kind in dict.fromkeys(kinds):
        of_kind = [verdict for verdict, each in zip(verdicts, kinds) if each == kind]
        found[kind] = {"captions": len(of_kind), **figures(of_kind)}
    print(json.dumps(found, indent=2))
    return 0


def held_out(seed: int, kind: str | None) -> tuple[str, Scene]:
    """A kind of scenes, as often as in training unless it is given, and a scene of it."""
    generator = np.random.default_rng(seed)
    kind = kind or random_kind(generator)
    return kind, KINDS[kind][1](generator)


def sample_all(
    sampler: Sampler,
    scenes: Sequence[Scene],
    seeds: range,
    *,
    size: int,
    steps: int,
    scale: float,
    out: Path | None = None,
) -> list[np.ndarray]:
    """One picture, uint8 (size, size, 3), for each scene's caption, with its seed.

    They are kept in `out`, from which those that are there already are taken.
    """
    pictures: list[np.ndarray] = []
    batch = max(BATCH[sampler.device.type] * SIZES[0] ** 2 // size**2, 1)
    for first in range(0, len(scenes), batch):
        part = slice(first, first + batch)
        captions = [scene.caption for scene in scenes[part]]
        paths = [out / f"{size}-{seed}.webp" for seed in seeds[part]] if out else []
        if paths and all(path.exists() for path in paths):
            pictures += [np.asarray(Image.open(path)) for path in paths]
            continue
        made = sampler.sample(captions, seeds[part], size, steps, scale)
        for path, picture in zip(paths, made):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path.with_suffix(".part"), "WEBP", lossless=True)
            path.with_suffix(".part").replace(path)
        pictures += made
    return pictures


def contact_sheet(
    pictures: Sequence[np.ndarray],
    scenes: Sequence[Scene],
    verdicts: Sequence[Verdict],
    columns: int = 10,
) -> Image.Image:
    """All pictures at half size, each with its caption, and with what was seen if that differs."""
    cell = len(pictures[0]) // 2
    notes = [textwrap.wrap(scene.caption, cell // LETTER_WIDTH) for scene in scenes]
    wrong = [[] if v.right else textwrap.wrap(v.seen, cell // LETTER_WIDTH) for v in verdicts]
    below = LINE_HEIGHT * max(len(note) + len(seen) for note, seen in zip(notes, wrong)) + 4
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (cell + below)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (picture, note, seen) in enumerate(zip(pictures, notes, wrong)):
        x, y = index % columns * cell, index // columns * (cell + below)
        sheet.paste(Image.fromarray(picture).resize((cell, cell), Image.Resampling.LANCZOS), (x, y))
        for line, text in enumerate([*note, *seen]):
            place = (x + 2, y + cell + LINE_HEIGHT * line)
            pen.text(place, text, "black" if line < len(note) else "red", font_size=9)
    return sheet


if __name__ == "__main__":
    sys.exit(main())
