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
import contextlib
import csv
import dataclasses
import functools
import hashlib
import math
import sys
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

import slothful
from benchmarks.effects.cost import peer_left
from benchmarks.effects.metrics import fidelity, likeness
from benchmarks.effects.peers import PEERS
from benchmarks.effects.report import draw_sheet
from benchmarks.effects.runs import kind_of
from benchmarks.effects.table import interval
from benchmarks.effects.variants import both_sides
from benchmarks.pictures.front import Point, draw_front
from benchmarks.pictures.sampling import Picture, picture
from benchmarks.pictures.variants import (
    PRESETS,
    Call,
    Ours,
    Play,
    Variant,
    deep,
    deep_cache,
    variants,
)
from benchmarks.rivals import RIVALS, EasyCache
from benchmarks.speed.options import check_only, read_size
from benchmarks.speed.report import markdown
from slothful import UnetShape
from slothful.settings.methods import (
    AGENTS,
    DOWNSAMPLING,
    FORECASTS,
    METHODS,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    PLAIN_TILES,
    SLOTHFUL,
    TOKEN_MERGING,
)
from slothful.unet.foreign import OwnHook
from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, CheckpointError, StableDiffusion, load
from standalone.console import replace_unknown_letters
from standalone.model.scenes import KINDS, Scene
from standalone.processing import to_images
from standalone.samplers import SAMPLERS, Sampler, randn

FIRST = {"search": 41_000_000, "judge": 42_000_000}
"""Seeds of the scenes whose captions are the prompts, and of the noise; training, evaluation and
the study of effects use others."""


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


class Fewer(Variant):
    """No patch, and this share of the steps."""

    def __init__(self, share: float):
        self.share = share


class Peer(Variant):
    """One of `PEERS`, alike at every step. What it leaves is known when an image is made."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, math.nan

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """Of the image that was made last."""
        return [Call("peer", self._left) for _ in picture.calls]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        self._left = peer_left(unet, self._name, picture.size)
        with PEERS[self._name](unet):
            yield Play(lambda call: None, lambda: ())


class MeasuredEasyCache(Variant):
    """EasyCache by its own rule: how much it skips is known when the image is made."""

    def __init__(self) -> None:
        self._skipped: set[int] = set()

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """Of the image that was made last."""
        return [
            Call("skipped", 0.0) if index in self._skipped else Call("computed", 1.0)
            for index in range(len(picture.calls))
        ]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        with EasyCache(unet) as rival:
            rival.begin_pass(len(picture.calls))
            yield Play(functools.partial(setattr, rival, "index"), lambda: ())
            self._skipped = set(rival.skipped)  # which it forgets at its end


_NO_ENDS = {"sleep_first": 0, "sleep_last": 0}


_HALF: dict[str, Any] = {f"channels_depth_{depth}": 0.5 for depth in (1, 2, 3)}
_ORIGINAL = dict(method=SLOTHFUL, in_slothful=6, out_slothful=4)
AWAKE: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in METHODS},
    "Slothful Attention, strengths 6 and 4": _ORIGINAL,
    "Slothful Attention, strengths 6 and 4, jittered": dict(_ORIGINAL, kept_token="jittered"),
    "Slothful Attention, strengths 4": dict(both_sides(slothful=4), method=SLOTHFUL),
    "Slothful Attention, strengths 24": dict(both_sides(slothful=24), method=SLOTHFUL),
    "Slothful Attention, at every step": dict(method=SLOTHFUL, time_decay=0),
    "Slothful Attention, no depth decay": dict(both_sides(depth_decay=0), method=SLOTHFUL),
    "Near-sighted Tile, tiles 24, global 0.5": dict(
        method=NEAR_SIGHTED_TILE, tile_size=24, global_ratio=0.5
    ),
    "Near-sighted Tile, tiles 32, global 0.5": dict(
        method=NEAR_SIGHTED_TILE, tile_size=32, global_ratio=0.5
    ),
    "Plain Tiles of 256 pixels": dict(method=PLAIN_TILES, plain_tile_size=256),
    "Token Merging 0.7": dict(method=TOKEN_MERGING, merge_ratio=0.7),
    "Token Merging 0.7, at every step": dict(method=TOKEN_MERGING, merge_ratio=0.7, time_decay=0),
    "Token Merging 0.9, strides 4, at every step": dict(
        method=TOKEN_MERGING, merge_ratio=0.9, merge_stride_x=4, merge_stride_y=4, time_decay=0
    ),
    "Token Downsampling 3": dict(method=DOWNSAMPLING, downsample_depth_1=3.0),
    "Token Downsampling 3, at every step": dict(
        method=DOWNSAMPLING, downsample_depth_1=3.0, time_decay=0
    ),
    "Agent Attention, cells": dict(method=AGENTS, agent_pool="cells"),
    "Agent Attention, shortcut 0.1": dict(method=AGENTS, agent_shortcut=0.1),
    "fewer channels 0.75": dict.fromkeys(_HALF, 0.75),
    "fewer channels 0.5": _HALF,
}
"""Settings of methods, with every step awake; the first are the methods at their defaults."""
PEERS_SHOWN = ("tomesd 0.25", "tomesd 0.5", "tile only 16", "downsampled keys 2",
               "downsampled keys 3")  # fmt: skip


def contestants() -> dict[str, Variant]:
    """All that are compared, by name."""
    found: dict[str, Variant] = {f"{share:.0%} of the steps": Fewer(share)
                                 for share in (0.9, 0.8, 0.65, 0.5, 0.35)}  # fmt: skip
    timed = variants()
    found |= {name: timed[name] for name in timed if name.startswith(("T-G", "Spec"))}
    found |= {name: deep_cache(name) for name in RIVALS if name.startswith("DeepCache")}
    found["EasyCache"] = MeasuredEasyCache()
    found |= {name: Peer(name) for name in PEERS_SHOWN}
    for every in (2.5, 3, 5):
        for awake in (1, 2):
            for forecast in FORECASTS[:2]:
                own = deep(every, awake, sleep_forecast=forecast, **_NO_ENDS)
                found[f"deep blocks n = {every:g}, {awake} awake, {forecast}"] = own
    for preset in PRESETS:
        found[preset] = timed[f"preset {preset}"]
    for method in (SLOTHFUL, NEAR_SIGHTED):
        own = deep(3, 1, sleep_forecast="linear", method=method, **_NO_ENDS)
        found[f"{method}, deep blocks n = 3, 1 awake, linear"] = own
        for preset in PRESETS[:2]:
            values = timed[f"preset {preset}"].settings.changed()
            found[f"{method}, {preset}"] = Ours(**{**values, "method": method})
    for every in (2, 3, 5):
        found[f"negative side n = {every}"] = Ours(negative="asleep", negative_every=every)
    found |= {name: Ours(**values) for name, values in AWAKE.items()}
    found |= {name: timed[name] for name in timed if name.startswith("whole")}
    return found


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that are compared: of a model, a sampler, of (width, height) pixels."""

    model: StableDiffusion
    sampler: str
    steps: int
    size: tuple[int, int]
    cfg_scale: float

    @torch.no_grad()
    def made(
        self,
        variant: Variant,
        prompts: Sequence[str],
        seeds: Sequence[int],
        negatives: Sequence[str] | None = None,
    ) -> tuple[list[np.ndarray], Picture]:
        """An image (height, width, 3) for each prompt, negative prompt and seed, in one batch, and
        its calls.
        """
        share = variant.share if isinstance(variant, Fewer) else 1.0
        made = picture(self.sampler, max(round(self.steps * share), 1), self.size)
        unet = self.model.model.diffusion_model
        sampler = Sampler(self.sampler, self.model, lambda params: None)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = randn(generators, (4, self.size[1] // 8, self.size[0] // 8))
        noise = noise.to(next(unet.parameters()).device)
        both = prompts, negatives or [""] * len(seeds)
        texts = (self.model.get_learned_conditioning(list(each)) for each in both)
        request: Any = types.SimpleNamespace(cfg_scale=self.cfg_scale)
        with sdpa_attention(), variant.playing(unet, made) as play:
            calls = iter(range(len(made.calls)))
            # before whatever the variant does to a call, and no obstacle to it
            prepare = OwnHook(lambda *_: play.prepare(next(calls)))
            handle = unet.register_forward_pre_hook(prepare, prepend=True)
            try:
                sigmas = sampler.get_sigmas(None, made.steps)
                latents = sampler.run(request, noise, sigmas, generators, seeds, *texts)
            finally:
                handle.remove()
            decoded = self.model.decode_first_stage(latents)
        return [np.asarray(image) for image in to_images(decoded)], made


def add_images(parser: argparse.ArgumentParser) -> None:
    """The options that say which images are made, which of them, and where they are kept."""
    add = parser.add_argument
    add("--model", type=Path, default=SMALL, help="an SD1 checkpoint with its .yaml next to it")
    add("--device", default="cpu")
    add("--batch", type=int, default=4, help="images at a time")
    add("--size", default="256x256")
    add("--steps", type=int, default=20)
    add("--cfg", type=float, default=5.0)
    add("--images", type=int, default=24)
    add("--search", action="store_true", help="captions and seeds to choose settings on")
    add("--only", nargs="+", metavar="NAME", help="the beginnings of names")
    add("--out", type=Path, default=Path("outputs/pictures"))


def images_of(args: argparse.Namespace, sampler: str) -> Images:
    """Those of the options. Raises `CheckpointError`, and `ValueError` for the size."""
    model = load(args.model, device=args.device)
    return Images(model, sampler, args.steps, read_size(args.size), args.cfg)


def seeds_of(args: argparse.Namespace) -> range:
    """Those of the options."""
    first = FIRST["search" if args.search else "judge"]
    return range(first, first + args.images)


def shown(seed: int) -> tuple[str, Scene]:
    """The kind of an image's scene, by turns, and the scene, whose caption is the prompt."""
    kind = kind_of(seed % 1000)
    return kind, KINDS[kind][1](np.random.default_rng(seed))


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    chosen = contestants()
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
        if found := points(same, contestants()):
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
        own, others = (
            changes[name].values(),
            (_mean(rows, name, m) for m in ("distance", "caption")),
        )
        means = [f"{mean:.3g}" for mean in others]
        lines.append([name, f"{left[name]:.0%}", str(interval(list(own))), *means, str(len(own)),
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
    found = []
    for name, variant in listed.items():
        changes = [float(row.change) for row in rows if row.variant == name]
        if len(changes) < images or not any(changes):
            continue
        standing = "peer"
        if isinstance(variant, Fewer):
            standing = "steps"
        elif isinstance(variant, Ours):
            standing = "default" if name in (*METHODS, *PRESETS) else "settings"
        found.append(Point(name, _mean(rows, name, "left"), interval(changes), standing))
    return found


if __name__ == "__main__":
    sys.exit(main())
