"""Pictures whose latent the U-Net's levels do not divide.

Downsampling rounds up, so upsampled maps can be a row or column larger than the skip connection
they meet. The webui resizes them where they are joined; so does this, with the same rule.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from ldm.modules.diffusionmodules import openaimodel


class _Torch:
    """`torch` as ldm's U-Net sees it, with a `cat` that lets feature maps differ in size."""

    def __getattr__(self, name: str):
        return getattr(torch, name)

    @staticmethod
    def cat(tensors: list[torch.Tensor], *args, **kwargs) -> torch.Tensor:
        """(batch, channels, height, width) maps are brought to the size of the last of them."""
        size = tensors[-1].shape[-2:]
        resized = [
            t if t.ndim != 4 or t.shape[-2:] == size else F.interpolate(t, size, mode="nearest")
            for t in tensors
        ]
        return torch.cat(resized, *args, **kwargs)


@contextlib.contextmanager
def resized_skips() -> Iterator[None]:
    """While the context lasts, ldm's U-Net takes latents of any size."""
    before = openaimodel.th
    openaimodel.th = _Torch()
    try:
        yield
    finally:
        openaimodel.th = before
