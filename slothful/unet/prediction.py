"""What a U-Net predicts, and the denoised image that follows from it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import torch

KINDS = ("noise", "velocity", "image")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of a model that predicts the noise ("noise"), v ("velocity"; Salimans and Ho, 2022) or the
    denoised image itself ("image").

    `alphas_cumprod` are those of its training schedule, one a timestep; none: Stable Diffusion's.
    """

    kind: str = "noise"
    alphas_cumprod: tuple[float, ...] = ()

    def denoised(self, latent: torch.Tensor, output: torch.Tensor, timestep: float) -> torch.Tensor:
        """The denoised image, (batch, channels, height, width), that an output stands for."""
        if self.kind == "image":
            return output.clone()  # the host may write into its own
        signal, noise = self._shares(timestep)
        latent = latent[:, : output.shape[1]]
        if self.kind == "velocity":
            return latent * signal - output * noise
        return (latent - output * noise) / signal

    def output(self, latent: torch.Tensor, denoised: torch.Tensor, timestep: float) -> torch.Tensor:
        """The inverse of `denoised`."""
        if self.kind == "image":
            return denoised.clone()
        signal, noise = self._shares(timestep)
        latent = latent[:, : denoised.shape[1]]
        if self.kind == "velocity":
            return (latent * signal - denoised) / noise
        return (latent - denoised * signal) / noise

    def _shares(self, timestep: float) -> tuple[float, float]:
        """Of the image and of the noise in a latent, whose squares sum up to 1."""
        alphas = self.alphas_cumprod or _stable_diffusion_alphas()
        below = min(max(int(timestep), 0), len(alphas) - 1)
        above = min(below + 1, len(alphas) - 1)
        alpha = alphas[below] + (alphas[above] - alphas[below]) * (timestep - below)
        alpha = min(max(alpha, 1e-6), 1.0 - 1e-6)
        return math.sqrt(alpha), math.sqrt(1.0 - alpha)


@functools.cache
def _stable_diffusion_alphas() -> Sequence[float]:
    """Betas whose roots are evenly spaced; Stable Diffusion 1, 2 and XL were trained on these."""
    first, last, alphas, product = 0.00085**0.5, 0.012**0.5, [], 1.0
    for index in range(1000):
        product *= 1.0 - (first + (last - first) * index / 999) ** 2
        alphas.append(product)
    return tuple(alphas)
