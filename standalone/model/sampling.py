"""Samples the small model's networks where they are trained: nothing but torch is needed, on any
device.

The images are those that the host's Euler sampler makes, but for the last bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from standalone.model.noise import SCALE_FACTOR, TIMESTEPS, alphas_cumprod
from standalone.model.train import begin_from, new_networks
from standalone.model.words import tokens_of


class Sampler:
    """The networks of a checkpoint or a pack on a device. Raises `CheckpointError`."""

    def __init__(self, checkpoint: Path, device: torch.device | str = "cpu"):
        networks = new_networks(0)
        begin_from(networks, checkpoint)
        self.device = torch.device(device)
        for network in networks.values():
            network.to(self.device).eval().requires_grad_(False)
        self._unet, self._text = networks["unet"], networks["text"]
        self._autoencoder = networks["autoencoder"]

    @torch.no_grad()
    def sample(
        self, captions: Sequence[str], seeds: Sequence[int], size: int, steps: int, scale: float
    ) -> list[np.ndarray]:
        """One picture, uint8 (size, size, 3), for each caption and seed, all in one batch.

        Euler's method (Karras et al., 2022) with classifier-free guidance of that scale.
        """
        shape = (4, size // 8, size // 8)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        tokens = [tokens_of(caption)[0] for caption in [*captions, *[""] * len(captions)]]
        context = self._text(torch.tensor(tokens, device=self.device))
        timesteps, sigmas = schedule(steps)
        x = torch.stack(noise).to(self.device) * sigmas[0]
        for timestep, sigma, following in zip(timesteps, sigmas, sigmas[1:]):
            scaled = torch.cat([x, x]) / (sigma**2 + 1) ** 0.5
            at = torch.full((len(scaled),), timestep, device=self.device)
            positive, negative = self._unet(scaled, at, context).chunk(2)
            x = x + (negative + scale * (positive - negative)) * (following - sigma)
        decoded = [self._autoencoder.decode(latent[None] / SCALE_FACTOR)[0] for latent in x]
        return [_picture(values) for values in decoded]


def schedule(steps: int) -> tuple[list[float], list[float]]:
    """Timesteps evenly spaced from the noisiest on, and their noise levels with 0 after the last.

    Between whole timesteps levels are interpolated on a logarithmic scale, as in k-diffusion.
    """
    alphas = alphas_cumprod()
    levels = ((1 - alphas) / alphas).sqrt().log()
    timesteps = torch.linspace(TIMESTEPS - 1, 0, steps)
    low = timesteps.floor().long().clamp(max=TIMESTEPS - 2)
    sigmas = torch.lerp(levels[low], levels[low + 1], timesteps - low).exp()
    return timesteps.tolist(), [*sigmas.tolist(), 0.0]


def _picture(values: torch.Tensor) -> np.ndarray:
    """uint8 (height, width, 3) of (3, height, width) in [-1, 1]."""
    scaled = ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(1, 2, 0).cpu().numpy()
