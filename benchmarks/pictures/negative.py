"""What the negative side's ways cost and change, and how far the negative prompt is obeyed.

python -m benchmarks.pictures.negative            the small model, held-out captions
python -m benchmarks.pictures.negative --search --images 6      others, to choose settings on
python -m benchmarks.pictures.negative --report   the tables only

Images of simple captions, each once with no negative prompt and once with one that names what the
caption asks for: the colour of its objects. Change is 1 - SSIM to the image in full of the same
prompts and seed; cost is counted arithmetic; looks are relative to the image in full. A negative
prompt is obeyed where the objects do not have the colour that it names, though there are objects.
Adds a row for each image to negative.csv in --out; what is there is not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import slothful
from benchmarks.effects.metrics import FIDELITY, LOOKS, fidelity, likeness, looks
from benchmarks.effects.runs import scene_of
from benchmarks.effects.table import Interval, interval
from benchmarks.pictures.contestants import Fewer
from benchmarks.pictures.images import Images, add_images, images_of, seeds_of
from benchmarks.pictures.sampling import Picture
from benchmarks.pictures.variants import Call, Ours, Play, Variant
from benchmarks.speed.options import check_only
from benchmarks.speed.report import markdown
from slothful import UnetShape
from slothful.unet.foreign import OwnHook
from standalone.checkpoint import CheckpointError
from standalone.console import replace_unknown_letters
from standalone.model.analyse import analyse

FULL = "in full"
NEGATIVES = ("none", "named")
"""No negative prompt, and the colour of the objects that the caption asks for."""
ONLY = {
    "none": ("65%", "no negative", "asleep n = 3"),
    "named": ("zeros", "push", "share", "repel"),
}
"""What is made with one of these alone, by the beginnings of names; all else with both."""
KEYS = ("variant", "negative", "seed")
MEASURES = ("left", "change", "mask_iou", *(f"{each}_change" for each in LOOKS), *FIDELITY, "named")
SHOWN = ("change", "caption", "named", "sharpness_change", "contrast_change", "mask_iou")
"""The measures of the tables."""
IN_ATTENTION: dict[str, Any] = dict(negative="in the attention", negative_last=0)


class Zeros(Variant):
    """The author's own form: the negative rows leave behind the first block with attention, and
    zeros are their output. Rows do not look at each other, so it is the same to zero it at the end.
    """

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """See `Variant`. Of the negative half, the blocks up to the first site are computed."""
        inside, moment = shape.sites[0].site.inside, picture.moment(0)
        full = slothful.estimate(Ours().settings, shape, *picture.size, [moment]).full
        first = sum(
            block.per_position * math.prod(slothful.grid_of(*picture.size, block.level))
            for block in shape.rest
            if 0 <= block.inside <= inside and block.level == 1
        )
        return [Call("zeros", 0.5 + 0.25 * first / full) for _ in picture.calls]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""

        def leave(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            positive, negative = output.chunk(2)
            return torch.cat([positive, torch.zeros_like(negative)])

        handle = unet.register_forward_hook(OwnHook(leave))
        try:
            yield Play(lambda call: None, lambda: ())
        finally:
            handle.remove()


def contestants() -> dict[str, Variant]:
    """All that are compared, by name; the first is what images are measured against."""
    found: dict[str, Variant] = {FULL: Variant()}
    found |= {f"{share:.0%} of the steps": Fewer(share) for share in (0.65, 0.5)}
    for every in (2, 3):
        found[f"asleep n = {every}"] = Ours(negative="asleep", negative_every=every)
    for first in (0.4, 0.2, 0.0):
        name = f"from {first:.0%} of the steps"
        found[f"NAG {name}"] = Ours(**IN_ATTENTION, negative_first=first)
    for first in (0.4, 0.0):
        vsf = {"negative_form": "VSF", "negative_first": first}
        found[f"VSF from {first:.0%} of the steps"] = Ours(**IN_ATTENTION, **vsf)
    found["no negative side from 40% of the steps"] = Ours(
        **IN_ATTENTION, negative_first=0.4, negative_alpha=0.0
    )
    found["zeros"] = Zeros()
    for mix in ("push", "share", "repel"):
        found[f"{mix} 0.5"] = Ours(mix=mix, mix_amount=0.5)
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    chosen = contestants()
    try:
        check_only(args.only or (), chosen)
        images = images_of(args, "Euler")
    except (CheckpointError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.only:
        chosen = {n: v for n, v in chosen.items() if n == FULL or n.startswith(tuple(args.only))}
    path = args.out / "negative.csv"
    seeds = seeds_of(args)
    if not args.report:
        _make(images, chosen, seeds, args.batch, path)
    rows = [row for row in read_rows(path).values() if int(row["seed"]) in seeds]
    for negative in NEGATIVES:
        own = [row for row in rows if row["negative"] == negative]
        made = {row["variant"] for row in own}
        names = [name for name in chosen if name in made]
        print(f"negative prompt: {negative}", as_table(own, names), sep="\n\n", end="\n\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.pictures.negative", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_images(parser)
    parser.add_argument("--report", action="store_true", help="make no images")
    return parser


def _make(
    images: Images, chosen: Mapping[str, Variant], seeds: Sequence[int], size: int, path: Path
) -> None:
    """Make and measure what is missing, batch by batch."""
    shape = slothful.shape_of(images.model.model.diffusion_model)
    batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    tasks = [(batch, negative) for batch in batches for negative in NEGATIVES]
    with tqdm(tasks, unit="batch") as bar:
        for batch, negative in bar:
            done = read_rows(path)
            missing = [
                name
                for name in chosen
                if _is_made(name, negative)
                and any((name, negative, str(seed)) not in done for seed in batch)
            ]
            scenes = [scene_of(seed, 0) for seed in batch]
            prompts = [scene.caption for scene in scenes]
            texts = [scene.colour if negative == "named" else "" for scene in scenes]
            full = None
            for name in dict.fromkeys([FULL, *missing]) if missing else ():
                bar.set_postfix_str(name)
                own, made = images.made(chosen[name], prompts, batch, texts)
                full = full or own
                if name not in missing:
                    continue
                calls = chosen[name].calls(shape, made)
                left = sum(call.cost for call in calls) / images.steps
                rows = [
                    {"variant": name, "negative": negative, "seed": seed, "left": left,
                     **measured(image, reference, scene)}
                    for seed, image, reference, scene in zip(batch, own, full, scenes)
                ]  # fmt: skip
                _append(path, rows)


def _is_made(name: str, negative: str) -> bool:
    """Whether a variant is made with such a negative prompt."""
    others = [starts for other, starts in ONLY.items() if other != negative]
    return not any(name.startswith(starts) for starts in others)


def measured(image: np.ndarray, reference: np.ndarray, scene: Any) -> dict[str, float]:
    """Everything that a row says of an image (height, width, 3); `reference` is the one in full.
    "named": whether its objects have the colour that the caption asks for, NaN without objects.
    """
    own, before, alike = looks(image), looks(reference), likeness(image, reference)
    changes = {f"{n}_change": own[n] / before[n] - 1 if before[n] else math.nan for n in LOOKS}
    seen = analyse(image)
    named = float(seen.colour == scene.colour) if seen.count else math.nan
    return {"change": 1 - alike["ssim"], "mask_iou": alike["mask_iou"], **changes,
            **fidelity(image, scene), "named": named}  # fmt: skip


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a table by their `KEYS`; none where there is no table."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return {tuple(row[name] for name in KEYS): row for row in rows}


def _append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = (*KEYS, *MEASURES)
        written = [[_short(row[name]) for name in columns] for row in rows]
        writer.writerows([list(columns), *written] if new else written)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def as_table(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> str:
    """A Markdown table: the means with their 95 % intervals, and where a variant differs from the
    image in full and from the next one of fewer steps that leaves no less.
    """
    values = {
        (name, measure): {row["seed"]: float(row[measure]) for row in rows
                          if row["variant"] == name}
        for name in names for measure in MEASURES
    }  # fmt: skip
    left = {name: float(np.mean(list(values[name, "left"].values()) or [math.nan]))
            for name in names}  # fmt: skip
    lines = []
    for name in sorted(names, key=lambda each: -left[each]):
        means = [str(interval(list(values[name, each].values()))) for each in SHOWN]
        steps = [n for n in names if "of the steps" in n and n[0].isdigit()]
        rivals = [n for n in steps if n != name and left[n] >= left[name] - 0.01]
        rival = min(rivals, key=lambda each: left[each], default=None)
        less = str(_paired(values, name, rival, "change")) if rival else ""
        lines.append([name, f"{left[name]:.0%}", *means, f"{less} ({rival})" if rival else ""])
    return markdown(["variant", "left", *SHOWN, "change less fewer steps'"], lines)


def _paired(
    values: Mapping[tuple[str, str], Mapping[str, float]], first: str, second: str, measure: str
) -> Interval:
    own, other = values[first, measure], values[second, measure]
    return interval([own[seed] - other[seed] for seed in own if seed in other])


if __name__ == "__main__":
    sys.exit(main())
