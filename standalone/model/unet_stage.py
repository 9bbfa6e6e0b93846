"""Trains the U-Net and the text model together to predict noise."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from standalone.checkpoint import StableDiffusion
from standalone.model import loop
from standalone.model.latent_code import latent_code
from standalone.model.scenes import random_scene

EMPTY_CAPTIONS = 0.05
"""Part of the captions that are replaced by an empty one, for classifier-free guidance."""
TIMESTEP_POWER = 0.8
"""Timesteps are 1000 u^0.8, u uniform: colours and shapes are decided at high noise."""
OFFSET_NOISE = 0.1
"""Standard deviation of noise that a whole channel shares. Even at the highest noise level SD1's
schedule leaves a trace of the picture's mean; without this the U-Net reads the background's colour
there in training, and finds a random one when it samples (Guttenberg, 2023)."""
UNSHIFTED_SIZE = 256
"""Up to this side in pixels timesteps are drawn as above; see `_timesteps`."""
REPORT_EVERY = 25
HELD_OUT_EVERY = 100
HELD_OUT_BATCHES = 6
"""Batches of each size that no step trains on, the same at every look."""


def train_unet(
    model: StableDiffusion,
    work: Path,
    *,
    sizes: Sequence[int],
    batches: Sequence[int],
    until: int,
    rate: float,
    hold: float = loop.HOLD,
    seed: int = 0,
) -> None:
    """Train until that many steps, which take the sizes in turn, each with its batch.

    `sizes`: sides of the pictures in pixels; `batches`: as many; `rate` and `hold` as in
    `loop.steps`; `seed`: another draws other pictures, captions and noise. Begins from the state of
    the next smaller pictures. The state, with an exponential average of the weights, lies in
    `work`/unet-SIZE.pt for the largest size.
    """
    trained = trained_modules(model)
    device = next(trained.parameters()).device
    path = work / f"unet-{max(sizes)}.pt"
    if not path.exists():
        _begin_from_before(trained, work, max(sizes), device)
    average = copy.deepcopy(trained).requires_grad_(False)
    optimizer = loop.make_optimizer(trained)
    start = loop.resume(path, optimizer, trained=trained, average=average)
    turns = list(zip(sizes, batches, strict=True))
    progress = loop.Progress(f"unet {_in_words(sizes)} px", work)
    for step in loop.steps(start, until, optimizer, rate, hold):
        size, batch = turns[step % len(turns)]
        loss = _loss(model, size, batch, seed=(size, step, seed), device=device)
        loop.descend(loss, optimizer, trained)
        loop.update_average(average, trained, step)
        progress.add(loss)
        if step % HELD_OUT_EVERY == 0 or step == until:
            with _weights_of(average, trained):
                _look_at_held_out(model, turns, step, work, device)
        if step % REPORT_EVERY == 0 or step == until:
            progress.report(step)
            loop.save(path, step, optimizer, trained=trained, average=average)


def _in_words(sizes: Sequence[int]) -> str:
    return " and ".join(map(str, sorted(set(sizes))))


@contextlib.contextmanager
def _weights_of(average: nn.Module, trained: nn.Module) -> Iterator[None]:
    """The model has the averaged weights while the context lasts, which are what is exported."""
    _exchange(average, trained)
    try:
        yield
    finally:
        _exchange(average, trained)


def _exchange(one: nn.Module, other: nn.Module) -> None:
    for a, b in zip(one.parameters(), other.parameters()):
        a.data, b.data = b.data, a.data


@torch.no_grad()
def _look_at_held_out(
    model: StableDiffusion,
    turns: Sequence[tuple[int, int]],
    step: int,
    work: Path,
    device: torch.device,
) -> None:
    """Write the loss of pictures that are never trained on, for each size."""
    for size, batch in sorted(set(turns)):
        progress = loop.Progress(f"unet held out {size} px", work)
        for index in range(HELD_OUT_BATCHES):
            progress.add(_loss(model, size, batch, seed=(size, 0, index), device=device))
        progress.report(step)


def trained_modules(model: StableDiffusion) -> nn.ModuleList:
    """The two parts that this stage trains, in the order of its states."""
    return nn.ModuleList([model.model.diffusion_model, model.cond_stage_model.transformer])


def newest_state(work: Path, below: int = 10**9) -> Path | None:
    """The state of the largest pictures trained so far, of fewer than `below` pixels."""
    states = {int(path.stem.split("-")[1]): path for path in work.glob("unet-*.pt")}
    sizes = [size for size in states if size < below]
    return states[max(sizes)] if sizes else None


def _begin_from_before(trained: nn.ModuleList, work: Path, size: int, device: torch.device) -> None:
    before = newest_state(work, below=size)
    if before:
        trained.load_state_dict(torch.load(before, map_location=device)["average"])
    elif (work / "text.pt").exists():
        trained[1].load_state_dict(torch.load(work / "text.pt", map_location=device)["text_model"])


def _loss(
    model: StableDiffusion, size: int, batch: int, *, seed: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """The error of the noise predicted for a batch that depends on the seed only.

    Weighted with 1 / sqrt(SNR), midway between the errors of the noise and of the picture: plain
    noise errors are largest where little noise is left and the picture long decided.
    """
    generator = np.random.default_rng(seed)
    noise_source = torch.Generator().manual_seed(int(generator.integers(2**31)))
    scenes = [random_scene(generator) for _ in range(batch)]
    captions = ["" if generator.random() < EMPTY_CAPTIONS else scene.caption for scene in scenes]
    clean = latent_code(loop.pictures(scenes, size)).to(device)
    timesteps = _timesteps(model.alphas_cumprod.cpu(), size, batch, noise_source).to(device)
    noise = torch.randn(clean.shape, generator=noise_source)
    noise += OFFSET_NOISE * torch.randn((batch, clean.shape[1], 1, 1), generator=noise_source)
    noise = noise.to(device)
    signal = model.alphas_cumprod[timesteps][:, None, None, None]
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    with loop.autocast(device):
        predicted = model.apply_model(noisy, timesteps, model.get_learned_conditioning(captions))
    weight = ((1 - signal) / signal).sqrt().clamp(max=10)
    return _multi_scale_error(weight.sqrt() * (predicted.float() - noise))


def _timesteps(
    alphas_cumprod: torch.Tensor, size: int, batch: int, noise_source: torch.Generator
) -> torch.Tensor:
    """Timesteps 0..999 to train at, (batch,).

    A larger picture shows its layout through more noise, as averaging over more pixels removes
    more of it. Its timesteps move to where the noise is larger in proportion to the side
    (Hoogeboom et al., 2023), so that layouts are learnt as often as at the smaller size.
    """
    drawn = 1000 * torch.rand(batch, generator=noise_source) ** TIMESTEP_POWER
    drawn = drawn.long().clamp(max=999)
    if size <= UNSHIFTED_SIZE:
        return drawn
    noise = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    shifted = torch.searchsorted(noise, noise[drawn] * (size / UNSHIFTED_SIZE))
    return shifted.clamp(max=999)


def _multi_scale_error(error: torch.Tensor) -> torch.Tensor:
    """Mean square of an error (batch, channels, side, side), of its blocks and of its mean.

    Per pixel, a wrong tint of the whole picture weighs next to nothing, and is what one sees first;
    Hoogeboom et al., 2023 ("simple diffusion") add coarser scales. Their weight for the coarsest,
    the side in latents, drowned the shapes here.
    """
    blocks, tint = F.avg_pool2d(error, 4), error.mean((2, 3))
    return error.square().mean() + 4 * blocks.square().mean() + tint.square().mean()
