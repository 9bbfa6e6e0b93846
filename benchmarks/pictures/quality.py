"""How far images are from those computed in full, and how much of the arithmetic they cost.

python -m benchmarks.pictures.quality                        the small model, held-out captions
python -m benchmarks.pictures.quality --search --images 6    others, to choose settings on
python -m benchmarks.pictures.quality --size 512x512 --images 6 --only "asleep" "tomesd 0.5"
python -m benchmarks.pictures.quality --device cuda --batch 24

Fewer steps, the rivals and ours, on images of the project's small model. Every image is measured
against the one of the same caption, seed and number of steps without a patch. Change is 1 - SSIM,
distance that of what our reader sees (LPIPS-like), caption whether the image shows what its caption
says; cost is the counted arithmetic of all of the image's calls of the U-Net. Intervals are of
95 %, by bootstrap over images. Adds a row for each image to contest.csv in --out; what is there is
not made again. Draws front.png.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

import slothful
from benchmarks.effects.metrics import fidelity, likeness
from benchmarks.effects.report import draw_sheet
from benchmarks.effects.table import interval
from benchmarks.pictures.contestants import Fewer, contestants
from benchmarks.pictures.front import Point, draw_front
from benchmarks.pictures.images import Images, add_images, images_of, seeds_of, shown
from benchmarks.pictures.variants import PRESETS, Ours, Variant
from benchmarks.speed.options import check_only
from benchmarks.speed.report import markdown
from slothful.planning.choice import FRONT
from slothful.settings.methods import METHODS
from standalone.checkpoint import CheckpointError
from standalone.console import replace_unknown_letters
from standalone.model.scenes import Scene
from standalone.samplers import SAMPLERS


class Row(NamedTuple):
    """An image: how it was made, what was left of its arithmetic, its change, its distance from the
    image in full, and whether it shows what its caption says (0 or 1).
    """

    model: str
    sampler: str
    steps: str
    size: str
    variant: str
    seed: str
    left: str
    change: str
    distance: str
    caption: str


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    chosen = listed = contestants()
    try:
        check_only(args.only or (), chosen)
        images = images_of(args, args.sampler)
    except (CheckpointError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.only:
        # the beginning of a name, but a whole name is itself alone
        whole = [text for text in args.only if text in chosen]
        beginnings = tuple(text for text in args.only if text not in chosen)
        chosen = {
            name: v for name, v in chosen.items() if name in whole or name.startswith(beginnings)
        }
    path = args.out / "contest.csv"
    conditions = (_name_of(args.model), args.sampler, str(args.steps), args.size)
    seeds = seeds_of(args)
    if not args.report:
        _make(images, chosen, conditions, seeds, args.batch, path)
    rows = read_rows(path)
    own = [row for row in rows if row[:4] == conditions and int(row.seed) in seeds]
    print(as_table(own, list(chosen)))
    panels = {}
    for size in sorted({row.size for row in rows}):
        same = [row for row in rows if row[:4] == (*conditions[:3], size)]
        if found := points(same, listed):
            panels[size] = found
    if panels:
        draw_front(panels, args.out / "front.png")
    if args.sheet:
        draw_sheet(_columns(images, chosen, seeds[: args.sheet]), args.out / "sheet.png")
    return 0


def _name_of(model: Path) -> str:
    """Of a checkpoint, by what is in it: another one may have the same file name."""
    return f"{model.stem} {hashlib.sha256(model.read_bytes()).hexdigest()[:8]}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.pictures.quality", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_images(parser)
    add = parser.add_argument
    add("--sampler", default="Euler", choices=list(SAMPLERS), metavar="NAME")
    add("--sheet", type=int, default=0, metavar="N", help="show the first N images in sheet.png")
    add("--report", action="store_true", help="make no images")
    return parser


def _columns(
    images: Images, chosen: dict[str, Variant], seeds: Sequence[int]
) -> dict[str, Sequence[Image.Image]]:
    """The images in full, and those of each variant, by its name."""
    prompts = [shown(seed)[1].caption for seed in seeds]
    return {
        name: [Image.fromarray(each) for each in images.made(variant, prompts, seeds)[0]]
        for name, variant in {"in full": Variant(), **chosen}.items()
    }


def _make(
    images: Images,
    chosen: dict[str, Variant],
    conditions: tuple[str, ...],
    seeds: Sequence[int],
    size: int,
    path: Path,
) -> None:
    """Make and measure what is missing, batch by batch."""
    done = {(row.variant, int(row.seed)) for row in read_rows(path) if row[:4] == conditions}
    shape = slothful.shape_of(images.model.model.diffusion_model)
    batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    with tqdm(total=len(batches) * (1 + len(chosen)), unit="batch") as bar:
        for batch in batches:
            scenes = [shown(seed) for seed in batch]
            prompts = [scene.caption for _, scene in scenes]
            missing = [name for name in chosen if any((name, seed) not in done for seed in batch)]
            bar.update(1 + len(chosen) - len(missing))
            full, whole = images.made(Variant(), prompts, batch) if missing else ([], None)
            for name in missing:
                bar.set_postfix_str(name)
                own, made = images.made(chosen[name], prompts, batch)
                cost = sum(call.cost for call in chosen[name].calls(shape, made))
                left = cost / len(whole.calls)
                _append(
                    path,
                    [
                        Row(*conditions, name, str(seed), f"{left:.4f}", *measured(*pair, *scene))
                        for seed, scene, *pair in zip(batch, scenes, own, full)
                    ],
                )
                bar.update()


def measured(
    image: np.ndarray, reference: np.ndarray, kind: str, scene: Scene
) -> tuple[str, str, str]:
    """The change, the distance and the caption of a `Row`; `reference` is the image in full."""
    alike, caption = likeness(image, reference), fidelity(image, scene, kind)["caption"]
    return f"{1 - alike['ssim']:.5f}", f"{alike['distance']:.5f}", f"{caption:g}"


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; none where there is no table."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(*row) for row in csv.reader(file)][1:]


def _append(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([Row._fields, *rows] if new else rows)


def as_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A Markdown table of the variants of which there are images, from the most arithmetic left to
    the least: what was measured, and the difference of the change to that of the next one of fewer
    steps, and of DeepCache, that leave no less.
    """
    names = [name for name in names if any(row.variant == name for row in rows)]
    changes = {
        name: {row.seed: float(row.change) for row in rows if row.variant == name} for name in names
    }
    left = {name: _mean(rows, name, "left") for name in names}
    rivals = {"fewer steps": "of the steps", "DeepCache": "DeepCache"}
    lines = []
    for name in sorted(names, key=lambda each: -left[each]):
        cells = []
        for kind in rivals.values():
            others = [o for o in names if kind in o and o != name and left[o] >= left[name] - 0.01]
            nearest = min(others, key=lambda each: left[each], default=None)
            paired = [v - changes[nearest][seed] for seed, v in changes[name].items()
                      if nearest and seed in changes[nearest]]  # fmt: skip
            cells.append(f"{interval(paired)} ({nearest})" if nearest else "")
        own = list(changes[name].values())
        means = [f"{_mean(rows, name, measure):.3g}" for measure in ("distance", "caption")]
        lines.append([name, f"{left[name]:.0%}", str(interval(own)), *means, str(len(own)),
                      *cells])  # fmt: skip
    headers = ["variant", "left", "change", "distance", "caption", "images",
               *(f"less {rival}" for rival in rivals)]  # fmt: skip
    return markdown(headers, lines)


def _mean(rows: Sequence[Row], variant: str, measure: str) -> float:
    return float(np.mean([float(getattr(r, measure)) for r in rows if r.variant == variant]))


def points(rows: Sequence[Row], listed: Mapping[str, Variant]) -> list[Point]:
    """The variants that change something, by the images that there are of most variants; those
    that lack some of these are left out.
    """
    made = Counter(row.seed for row in rows)
    most = 0.75 * len({row.variant for row in rows})
    rows = [row for row in rows if made[row.seed] >= most]
    images = len({row.seed for row in rows})
    wishes = [slothful.Settings(**candidate.settings) for candidate in FRONT]
    found = []
    for name, variant in listed.items():
        changes = [float(row.change) for row in rows if row.variant == name]
        if len(changes) < images or not any(changes):
            continue
        standing = "peer"
        if isinstance(variant, Fewer):
            standing = "steps"
        elif isinstance(variant, Ours):
            comes = name in (*METHODS, *PRESETS) or variant.settings in wishes
            standing = "default" if comes else "settings"
        found.append(Point(name, _mean(rows, name, "left"), interval(changes), standing))
    return found


if __name__ == "__main__":
    sys.exit(main())
