"""Trains the U-Net and the text model together to predict noise."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from standalone.checkpoint import StableDiffusion
from standalone.model import loop
from standalone.model.latent_code import latent_code
from standalone.model.scenes import random_scene

EMPTY_CAPTIONS = 0.1
"""Part of the captions that are replaced by an empty one, for classifier-free guidance."""
TIMESTEP_POWER = 0.7
"""Timesteps are 1000 u^0.7, u uniform: colours and shapes are decided at high noise."""
REPORT_EVERY = 50


def train_unet(
    model: StableDiffusion, work: Path, *, size: int, until: int, batch: int, rate: float
) -> None:
    """Train on pictures of `size` pixels until that many steps; begins from the next smaller size.

    The state, with an exponential average of the weights, lies in `work`/unet-SIZE.pt.
    """
    trained = trained_modules(model)
    device = next(trained.parameters()).device
    path = work / f"unet-{size}.pt"
    if not path.exists():
        _begin_from_before(trained, work, size, device)
    average = copy.deepcopy(trained).requires_grad_(False)
    optimizer = loop.make_optimizer(trained)
    start = loop.resume(path, optimizer, trained=trained, average=average)
    progress = loop.Progress(f"unet {size} px")
    for step in loop.steps(start, until, optimizer, rate):
        loss = _loss(model, size, batch, seed=(size, step), device=device)
        loop.descend(loss, optimizer, trained)
        loop.update_average(average, trained, step)
        progress.add(loss)
        if step % REPORT_EVERY == 0 or step == until:
            progress.report(step)
            loop.save(path, step, optimizer, trained=trained, average=average)


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
    model: StableDiffusion, size: int, batch: int, *, seed: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """The error of the noise predicted for a batch that depends on the seed only.

    Weighted with min(1, 1 / SNR), so that little noise, where the prediction is hard and the
    picture long decided, does not rule the gradient (Hang et al., 2023, with gamma 1).
    """
    generator = np.random.default_rng(seed)
    noise_source = torch.Generator().manual_seed(int(generator.integers(2**31)))
    scenes = [random_scene(generator) for _ in range(batch)]
    captions = ["" if generator.random() < EMPTY_CAPTIONS else scene.caption for scene in scenes]
    clean = latent_code(loop.pictures(scenes, size)).to(device)
    timesteps = 1000 * torch.rand(batch, generator=noise_source) ** TIMESTEP_POWER
    timesteps = timesteps.long().clamp(max=999).to(device)
    noise = torch.randn(clean.shape, generator=noise_source).to(device)
    signal = model.alphas_cumprod[timesteps][:, None, None, None]
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    with loop.autocast(device):
        predicted = model.apply_model(noisy, timesteps, model.get_learned_conditioning(captions))
    weight = ((1 - signal) / signal).clamp(max=1)
    return (weight * (predicted.float() - noise).square()).mean()
