"""SD1's noise: how much of it each timestep has, as training adds it, and what is lost by it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

TIMESTEPS = 1000
SCALE_FACTOR = 0.18215
"""Of SD1's latents: times this, they have a standard deviation of about 1."""
TIMESTEP_POWER = 0.8
"""Timesteps are 1000 u^0.8, u uniform: colours and shapes are decided at high noise."""
OFFSET_NOISE = 0.1
"""Standard deviation of noise that a whole channel shares. Even at the highest noise level SD1's
schedule leaves a trace of the picture's mean; without this the U-Net reads the background's colour
there in training, and finds a random one when it samples (Guttenberg, 2023)."""
LEAST_WEIGHT, MOST_WEIGHT = 0.15, 10.0
UNSHIFTED_SIDE = 32
"""Of latents; larger ones get more noise, see `timesteps_for`."""


def alphas_cumprod() -> torch.Tensor:
    """(TIMESTEPS,): the part of the picture's variance that is left at each timestep.

    SD's "linear" schedule is linear in the square root (Rombach et al., 2022).
    """
    roots = torch.linspace(0.00085**0.5, 0.0120**0.5, TIMESTEPS).double()
    return torch.cumprod(1 - roots**2, dim=0).float()


def timesteps_for(
    side: int, count: int, alphas: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Timesteps 0 to 999 to train latents of that side at, (count,).

    A larger picture shows its layout through more noise, as averaging over more pixels removes
    more of it (Hoogeboom et al., 2023): half of its timesteps move to noise larger in proportion
    to the side.
    """
    device = alphas.device
    drawn = torch.rand(count, generator=generator, device=device) ** TIMESTEP_POWER
    drawn = (TIMESTEPS * drawn).long().clamp(max=TIMESTEPS - 1)
    if side <= UNSHIFTED_SIDE:
        return drawn
    noise = ((1 - alphas) / alphas).sqrt()
    shifted = torch.searchsorted(noise, noise[drawn] * side / UNSHIFTED_SIDE)
    half = torch.rand(count, generator=generator, device=device) < 0.5
    return torch.where(half, shifted.clamp(max=TIMESTEPS - 1), drawn)


def add_noise(
    latents: torch.Tensor, timesteps: torch.Tensor, alphas: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(noisy latents, the noise), both as the latents (batch, 4, height, width)."""
    options = dict(generator=generator, device=latents.device)
    noise = torch.randn(latents.shape, **options)
    noise += OFFSET_NOISE * torch.randn((*latents.shape[:2], 1, 1), **options)
    signal = alphas[timesteps][:, None, None, None]
    return signal.sqrt() * latents + (1 - signal).sqrt() * noise, noise


def noise_loss(
    predicted: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """The error of a prediction of the noise, weighted with 1 / sqrt(SNR), on three scales.

    The weight is midway between the errors of the noise and of the picture: plain noise errors are
    largest where little noise is left and the picture long decided. Per pixel a wrong tint of the
    whole picture weighs next to nothing, and is what one sees first; coarser scales make up for
    that (Hoogeboom et al., 2023, "simple diffusion").
    """
    signal = alphas[timesteps][:, None, None, None]
    weight = ((1 - signal) / signal).sqrt().clamp(LEAST_WEIGHT, MOST_WEIGHT)
    error = weight.sqrt() * (predicted.float() - noise)
    blocks, tint = F.avg_pool2d(error, 4), error.mean((2, 3))
    return error.square().mean() + 4 * blocks.square().mean() + tint.square().mean()
