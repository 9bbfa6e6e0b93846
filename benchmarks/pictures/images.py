"""The images of the small model that are compared, and the options that say which."""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.effects.runs import kind_of
from benchmarks.pictures.contestants import Fewer
from benchmarks.pictures.sampling import Picture, picture
from benchmarks.pictures.variants import Variant
from benchmarks.speed.options import read_size
from slothful.unet.foreign import OwnHook
from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, StableDiffusion, load
from standalone.model.scenes import KINDS, Scene
from standalone.processing import to_images
from standalone.samplers import Sampler, randn

FIRST = {"search": 41_000_000, "judge": 42_000_000}
"""Seeds of the scenes whose captions are the prompts, and of the noise; training, evaluation and
the study of effects use others."""


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
