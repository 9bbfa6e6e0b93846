"""Measures the small model: samples captions, looks at the images, compares.

python -m standalone.model.evaluate
python -m standalone.model.evaluate --kind related --captions 50 --size 512 --sheet sheet.png
python -m standalone.model.evaluate --truth --captions 300

The last measures the judge: it looks at drawn images in place of samples. Kinds of scenes without
a judge are only sampled, for the sheet.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, CheckpointError, StableDiffusion, load
from standalone.model.judges import JUDGES, Verdict, figures
from standalone.model.scenes import KINDS, Scene, draw
from standalone.processing import to_images
from standalone.samplers import external, randn, sampling

HELD_OUT_SEED = 10_000_000
"""Scenes are drawn from this seed on; the seeds of training are pairs of numbers, or smaller."""
SIZES = (256, 512)
BATCH = 10
"""Captions at once at 256 pixels, fewer at more."""
LETTER_WIDTH, LINE_HEIGHT = 5, 11
"""Of the writing on the sheet, in pixels."""


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when the checkpoint cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SMALL)
    parser.add_argument("--kind", choices=tuple(KINDS), default="simple", help="kind of scenes")
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--size", type=int, choices=SIZES, default=SIZES[0], help="in pixels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--first-seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--sheet", type=Path, help="write all images into this PNG")
    parser.add_argument("--truth", action="store_true", help="judge drawn images")
    args = parser.parse_args(argv)
    if args.captions < 1:
        parser.error(f"--captions must be 1 or more, got {args.captions}")
    seeds = range(args.first_seed, args.first_seed + args.captions)
    random_scene = KINDS[args.kind][1]
    scenes = [random_scene(np.random.default_rng(seed)) for seed in seeds]
    try:
        pictures = (
            [draw(scene, args.size) for scene in scenes]
            if args.truth
            else sample_all(
                load(args.model), scenes, seeds, args.steps, args.cfg_scale, size=args.size
            )
        )
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    judge = JUDGES.get(args.kind)
    verdicts = [judge(scene, p) for scene, p in zip(scenes, pictures)] if judge else []
    if args.sheet:
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pictures, scenes, verdicts).save(args.sheet)
    print(json.dumps({"captions": len(scenes), **figures(verdicts)}, indent=2))
    return 0


def sample_all(
    model: StableDiffusion,
    scenes: list[Scene],
    seeds: range,
    steps: int,
    cfg_scale: float,
    *,
    size: int = SIZES[0],
) -> list[np.ndarray]:
    """One picture, uint8 (size, size, 3), for each scene's caption, with its seed."""
    pictures: list[np.ndarray] = []
    batch = max(BATCH * SIZES[0] ** 2 // size**2, 1)
    for first in range(0, len(scenes), batch):
        part = slice(first, first + batch)
        captions = [scene.caption for scene in scenes[part]]
        pictures += sample(model, captions, seeds[part], steps, cfg_scale, size=size)
    return pictures


@torch.no_grad()
def sample(
    model: StableDiffusion,
    captions: list[str],
    seeds: range,
    steps: int,
    cfg_scale: float,
    *,
    size: int = SIZES[0],
) -> list[np.ndarray]:
    """Euler's method (Karras et al., 2022) with classifier-free guidance, one batch."""
    denoiser = external.CompVisDenoiser(model)
    context = model.get_learned_conditioning([*captions, *[""] * len(captions)])

    def guided(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        both = denoiser(torch.cat([x, x]), torch.cat([sigma, sigma]), cond=context)
        positive, negative = both.chunk(2)
        return negative + cfg_scale * (positive - negative)

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = randn(generators, (4, size // 8, size // 8))
    sigmas = denoiser.get_sigmas(steps)
    with sdpa_attention():
        latents = sampling.sample_euler(guided, noise * sigmas[0], sigmas, disable=True)
        decoded = torch.cat([model.decode_first_stage(latent[None]) for latent in latents])
    return [np.asarray(image) for image in to_images(decoded)]


def contact_sheet(
    pictures: list[np.ndarray], scenes: list[Scene], verdicts: list[Verdict], columns: int = 10
) -> Image.Image:
    """All pictures at half size, each with its caption, and with what was seen if that differs.

    Without verdicts there are only the captions.
    """
    cell = len(pictures[0]) // 2
    notes = [textwrap.wrap(scene.caption, cell // LETTER_WIDTH) for scene in scenes]
    wrong = [[] if v.right else textwrap.wrap(v.seen, cell // LETTER_WIDTH) for v in verdicts]
    wrong = wrong or [[]] * len(scenes)
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
