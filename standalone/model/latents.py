"""The pictures that the U-Net is trained on, as latents."""

from __future__ import annotations

import torch

from standalone.model.autoencoder import Autoencoder
from standalone.model.captioned import Captioned
from standalone.model.noise import SCALE_FACTOR
from standalone.model.scenes.drawing import draw_batch
from standalone.model.scenes.sprites import Sprites
from standalone.model.words import LENGTH

EMPTY_CAPTIONS = 0.08
"""Part of the captions that are replaced by an empty one, for classifier-free guidance."""


class Latents:
    """Latents of one size with their captions; the newest take the place of the oldest.

    `added` counts all that have come, `seen` all that were given out.
    """

    def __init__(self, size: int, capacity: int, device: torch.device):
        self.size = size
        shape = (capacity, 4, size // 8, size // 8)
        self._latents = torch.empty(shape, dtype=torch.float16, device=device)
        self._tokens = torch.empty((capacity, LENGTH), dtype=torch.int32, device=device)
        self.added, self.seen = 0, 0

    @torch.no_grad()
    def add(
        self, scenes: Captioned, autoencoder: Autoencoder, sprites: Sprites, dtype: torch.dtype
    ) -> None:
        """Draw and encode all scenes of a chunk."""
        device = self._latents.device
        step = max(64 * 256**2 // self.size**2, 1)
        for first in range(0, len(scenes.drawn), step):
            part = slice(first, first + step)
            drawn = draw_batch(scenes.drawn[part], self.size, sprites, device) * 2 - 1
            latents = autoencoder.encode(drawn.to(dtype)) * SCALE_FACTOR
            place = (self.added + torch.arange(len(latents), device=device)) % len(self._latents)
            self._latents[place] = latents.half()
            self._tokens[place] = torch.from_numpy(scenes.tokens[part]).int().to(device)
            self.added += len(latents)

    def sample(
        self, count: int, empty: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents, tokens) of that many at random, some captions `empty` (LENGTH,)."""
        options = dict(generator=generator, device=self._latents.device)
        which = torch.randint(min(self.added, len(self._latents)), (count,), **options)
        dropped = torch.rand(count, **options) < EMPTY_CAPTIONS
        self.seen += count
        tokens = torch.where(dropped[:, None], empty, self._tokens[which].long())
        return self._latents[which].float(), tokens
