"""What the small model's latents mean: a fixed code of each 8x8 patch, known before any training.

A learned autoencoder chooses its own latents, and the U-Net has to wait for it. Here the code is
chosen: the patch's mean colour, with the palette's correlations removed, and how much the colours
vary inside the patch. The encoder learns to compute it, the decoder to undo it (it finds edges
from the coverage of neighbouring patches), and the U-Net trains on the code itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import einsum

PATCH = 8
MEAN_COLOUR = (0.1308, -0.1266, -0.2067)
"""Of the training pictures, with channels in [-1, 1]."""
WHITENING = (
    (1.5840, -0.5613, 0.1558),
    (-0.5613, 2.1060, -0.2938),
    (0.1558, -0.2938, 1.6254),
)
"""Inverse square root of the covariance of the patches' mean colours (1500 pictures of 128 px)."""
MEAN_CONTRAST, CONTRAST_SPREAD = 0.049, 0.131
"""Of the standard deviation inside a patch, over the same pictures."""


def latent_code(pictures: torch.Tensor) -> torch.Tensor:
    """The latents (batch, 4, height / 8, width / 8) of pictures (batch, 3, height, width).

    Pictures are in [-1, 1]; over the training pictures every channel of the code has mean 0 and
    standard deviation 1.
    """
    colour = F.avg_pool2d(pictures, PATCH)
    square = F.avg_pool2d(pictures.square(), PATCH)
    contrast = (square - colour.square()).mean(1, keepdim=True).clamp(min=0).sqrt()
    centred = colour - pictures.new_tensor(MEAN_COLOUR)[:, None, None]
    whitened = einsum(centred, pictures.new_tensor(WHITENING), "b c h w, c d -> b d h w")
    return torch.cat([whitened, (contrast - MEAN_CONTRAST) / CONTRAST_SPREAD], dim=1)
