"""DeepCache (Ma et al., CVPR 2024): between full calls only the blocks around the first skip
connections are computed; what came up from the deeper ones is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from ldm.modules.diffusionmodules.util import timestep_embedding
from torch import nn

from benchmarks.rivals.rival import Rival


class DeepCache(Rival):
    """Uniform: every `interval`-th call is full, from the first on.

    `branch` is the skip connection at which the kept features enter, 0 the outermost: the first
    `branch` + 1 input blocks and as many last output blocks are computed. The authors' package
    starts from 3 and 0; their experiments' cache point is 1.
    """

    def __init__(self, unet: nn.Module, interval: int = 3, branch: int = 0):
        super().__init__(unet)
        self.interval, self.awake = interval, branch + 1
        self._kept: torch.Tensor | None = None

    def kinds(self, calls: int) -> list[str]:
        """See `Rival`."""
        return ["shallow" if index % self.interval else "full" for index in range(calls)]

    def _forget(self) -> None:
        self._kept = None

    def _answer(self, latent: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.index % self.interval:
            return self._shallow(latent, *args, **kwargs)
        inner = self.unet.output_blocks[-self.awake - 1]
        handle = inner.register_forward_hook(self._keep)
        try:
            return self._plain(latent, *args, **kwargs)
        finally:
            handle.remove()

    def _keep(self, block: nn.Module, args: Any, output: torch.Tensor) -> None:
        self._kept = output

    def _shallow(
        self,
        latent: torch.Tensor,
        timesteps: torch.Tensor,
        context: Any = None,
        y: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """ldm's forward without what lies inside."""
        unet = self.unet
        embedding = unet.time_embed(timestep_embedding(timesteps, unet.model_channels))
        if y is not None:
            embedding = embedding + unet.label_emb(y)
        skips, features = [], latent.type(unet.dtype)
        for block in unet.input_blocks[: self.awake]:
            features = block(features, embedding, context)
            skips.append(features)
        features = self._kept
        for block in unet.output_blocks[-self.awake :]:
            features = block(torch.cat([features, skips.pop()], dim=1), embedding, context)
        return unet.out(features.type(latent.dtype))
