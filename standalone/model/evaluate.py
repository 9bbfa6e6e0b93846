"""Measures the small model: samples captions, looks at the pictures, compares.

python -m standalone.model.evaluate --captions 50 --sheet outputs/sheet.png
python -m standalone.model.evaluate --truth --captions 300

The second measures the judge: it looks at drawn pictures in place of samples.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, CheckpointError, StableDiffusion, load
from standalone.model.analyse import Seen, analyse
from standalone.model.scenes import Scene, draw, random_scene
from standalone.processing import to_images
from standalone.samplers import external, randn, sampling

HELD_OUT_SEED = 10_000_000
"""Scenes are drawn from this seed on; training uses pairs of numbers as seeds, which differ."""
SIZE = 256
BATCH = 10


def main() -> int:
    """The command line; 2 when the checkpoint cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SMALL)
    parser.add_argument("--captions", type=int, default=50)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--first-seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--sheet", type=Path, help="write all pictures into this PNG")
    parser.add_argument("--truth", action="store_true", help="judge drawn pictures")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.captions)
    scenes = [random_scene(np.random.default_rng(seed)) for seed in seeds]
    try:
        pictures = (
            [draw(scene, SIZE) for scene in scenes]
            if args.truth
            else sample_all(load(args.model), scenes, seeds, args.steps, args.cfg_scale)
        )
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seen = [analyse(picture) for picture in pictures]
    if args.sheet:
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pictures, scenes, seen).save(args.sheet)
    print(json.dumps(figures(scenes, seen), indent=2))
    return 0


def sample_all(
    model: StableDiffusion, scenes: list[Scene], seeds: range, steps: int, cfg_scale: float
) -> list[np.ndarray]:
    """One picture, uint8 (256, 256, 3), for each scene's caption, with its seed."""
    pictures: list[np.ndarray] = []
    for first in range(0, len(scenes), BATCH):
        captions = [scene.caption for scene in scenes[first : first + BATCH]]
        pictures += sample(model, captions, seeds[first : first + BATCH], steps, cfg_scale)
    return pictures


@torch.no_grad()
def sample(
    model: StableDiffusion, captions: list[str], seeds: range, steps: int, cfg_scale: float
) -> list[np.ndarray]:
    """Euler's method (Karras et al., 2022) with classifier-free guidance, one batch."""
    denoiser = external.CompVisDenoiser(model)
    context = model.get_learned_conditioning([*captions, *[""] * len(captions)])

    def guided(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        both = denoiser(torch.cat([x, x]), torch.cat([sigma, sigma]), cond=context)
        positive, negative = both.chunk(2)
        return negative + cfg_scale * (positive - negative)

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = randn(generators, (4, SIZE // 8, SIZE // 8))
    sigmas = denoiser.get_sigmas(steps)
    with sdpa_attention():
        latents = sampling.sample_euler(guided, noise * sigmas[0], sigmas, disable=True)
        decoded = torch.cat([model.decode_first_stage(latent[None]) for latent in latents])
    return [np.asarray(image) for image in to_images(decoded)]


def figures(scenes: list[Scene], seen: list[Seen]) -> dict[str, float]:
    """Percentages of pictures in which each part, and everything, is as the caption says."""
    parts = {
        "background": [s.background == scene.background for s, scene in zip(seen, scenes)],
        "object colour": [s.colour == scene.colour for s, scene in zip(seen, scenes)],
        "shape": [s.shape == scene.shape for s, scene in zip(seen, scenes)],
        "count": [s.count == scene.count for s, scene in zip(seen, scenes)],
    }
    right = np.array(list(parts.values()))
    one = np.array([scene.count == 1 and scene.texture == "plain" for scene in scenes])
    return {
        "captions": len(scenes),
        **{name: _percent(values) for name, values in parts.items()},
        "both colours": _percent(right[:2].all(0)),
        "everything": _percent(right.all(0)),
        "everything, one plain object": _percent(right.all(0)[one]),
        "overlap with ideal shape": _percent([s.overlap for s in seen]),
    }


def contact_sheet(
    pictures: list[np.ndarray], scenes: list[Scene], seen: list[Seen], columns: int = 10
) -> Image.Image:
    """All pictures at half size, each with its caption, and with what was seen if that differs."""
    cell, text = SIZE // 2, 34
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (cell + text)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (picture, scene, found) in enumerate(zip(pictures, scenes, seen)):
        x, y = index % columns * cell, index // columns * (cell + text)
        sheet.paste(Image.fromarray(picture).resize((cell, cell), Image.Resampling.LANCZOS), (x, y))
        wanted = (scene.count, scene.texture, scene.colour, scene.shape, "on", scene.background)
        pen.text((x + 2, y + cell), " ".join(map(str, wanted)), "black", font_size=9)
        got = (found.count, found.colour, found.shape, "on", found.background)
        if got != tuple(part for part in wanted if part != scene.texture):
            pen.text((x + 2, y + cell + 12), " ".join(map(str, got)), "red", font_size=9)
    return sheet


def _percent(values: object) -> float:
    values = np.asarray(values, dtype=float)
    return round(100 * float(values.mean()), 1) if values.size else float("nan")


if __name__ == "__main__":
    sys.exit(main())
