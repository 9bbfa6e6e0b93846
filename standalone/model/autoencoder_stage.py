"""Trains the autoencoder's halves: the encoder towards the code, the decoder back from it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from standalone.checkpoint import StableDiffusion
from standalone.model import loop
from standalone.model.latent_code import latent_code
from standalone.model.resampling import residual_branches, start_as_resampling
from standalone.model.scenes import random_scene

VIEWS = ((8, 256, 64), (2, 128, 128), (8, 256, 64), (2, 256, 128))
"""Per step, in turn: pictures, their side and the side of the crop, in pixels. Crops are many edges
for little work; whole pictures have the statistics that the norms meet in use."""
CODE_NOISE = 0.08
"""Standard deviation of the noise on the code that the decoder learns from; the U-Net's samples
aren't exact either. Also the spread of the encoder's posterior."""
REPORT_EVERY = 25


def train_autoencoder(
    model: StableDiffusion, work: Path, *, until: int, rate: float, begun: bool = False
) -> None:
    """Absolute error of colours and of their differences between neighbours; state in `work`.

    The networks work in units of the code; `fold_scale` brings them to SD1's. A model that is
    `begun` is trained on from its weights, which are in SD1's units.
    """
    autoencoder, path = model.first_stage_model, work / "autoencoder.pt"
    device = next(autoencoder.parameters()).device
    weights = copy.deepcopy(autoencoder.state_dict())
    start_as_resampling(autoencoder)
    if begun:
        autoencoder.load_state_dict(weights)
        fold_scale(autoencoder, 1 / model.scale_factor)
    branches = residual_branches(autoencoder)
    optimizer = loop.make_optimizer(branches)
    start = loop.resume(path, optimizer, autoencoder=autoencoder)
    progress = loop.Progress("autoencoder", work)
    for step in loop.steps(start, until, optimizer, rate):
        generator = np.random.default_rng(step)
        batch = _crops(generator, *VIEWS[step % len(VIEWS)]).to(device)
        code = latent_code(batch)
        noise = torch.from_numpy(generator.standard_normal(code.shape, np.float32)).to(device)
        with loop.autocast(device):
            moments = autoencoder.quant_conv(autoencoder.encoder(batch)).float()
            rebuilt = autoencoder.decode(code + CODE_NOISE * noise).float()
        code_error = F.mse_loss(moments[:, :4], code)
        colour_error = (rebuilt - batch).abs().mean()
        edge_error = sum((rebuilt.diff(dim=d) - batch.diff(dim=d)).abs().mean() for d in (2, 3))
        loss = colour_error + edge_error + code_error
        loop.descend(loss, optimizer, branches)
        progress.add(colour_error)
        if step % REPORT_EVERY == 0 or step == until:
            progress.report(step, f", code {code_error.item():.4f}, edges {edge_error.item():.4f}")
            loop.save(path, step, optimizer, autoencoder=autoencoder)


@torch.no_grad()
def fold_scale(autoencoder: nn.Module, scale_factor: float) -> None:
    """Fold SD1's scale factor into the convolutions around the latents, in place.

    Afterwards scale_factor times the posterior's mode is the code, and decode takes its inverse.
    """
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    before.weight[:4] /= scale_factor
    before.bias[:4] /= scale_factor
    before.weight[4:] = 0
    before.bias[4:] = 2 * np.log(CODE_NOISE / scale_factor)
    after.weight *= scale_factor


def _crops(generator: np.random.Generator, count: int, side: int, crop: int) -> torch.Tensor:
    """(count, 3, crop, crop) in [-1, 1], cut at random places from pictures of that side."""
    drawn = loop.pictures([random_scene(generator) for _ in range(count)], side)
    top, left = generator.integers(0, side - crop + 1, (2, count))
    return torch.stack([p[:, y : y + crop, x : x + crop] for p, y, x in zip(drawn, top, left)])
