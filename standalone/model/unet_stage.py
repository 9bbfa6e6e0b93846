"""Trains the U-Net and the text model together to predict noise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from standalone.model import loop
from standalone.model.autoencoder import Autoencoder
from standalone.model.captioned import captioned_chunk
from standalone.model.latents import Latents
from standalone.model.noise import add_noise, alphas_cumprod, noise_loss, timesteps_for
from standalone.model.scenes.sprites import load_sprites
from standalone.model.streams import Stream
from standalone.model.text_model import TextModel
from standalone.model.unet import ResBlock, SpatialTransformer, UNet
from standalone.model.words import tokens_of

HELD_OUT_SEED = 30_000_000
HELD_OUT_BATCHES = 4
"""Of each size, that no step trains on, the same at every look."""


def train_unet(
    unet: UNet,
    text: TextModel,
    autoencoder: Autoencoder,
    work: Path,
    budget: loop.Budget,
    *,
    sizes: Sequence[int],
    batches: Sequence[int],
    shares: Sequence[float],
    rate: float,
    hold: float,
    seed: int,
    workers: int,
    device: torch.device,
    begun: bool,
    pool: int = 49152,
    reuse: float = 12.0,
    compiled: bool = False,
) -> None:
    """Train on pictures of several sizes, each with its batch and its share of the steps.

    `rate` and `hold` as in `loop.set_rate`; `seed`: another draws other pictures and noise;
    `begun`: the weights are good already. Of each size `pool` pictures are kept (fewer of larger
    ones), each of them seen about `reuse` times. With `compiled` the U-Net's parts are compiled.
    The state, with the averaged weights, lies in `work`/unet.pt.
    """
    stream = Stream(functools.partial(captioned_chunk, max(batches)), seed, workers)
    trained = nn.ModuleList([unet, text]).to(device).train()
    encoder = autoencoder.to(device).requires_grad_(False)
    average = loop.Average(trained)
    optimizer = loop.make_optimizer(trained.parameters(), device)
    state = loop.State(work / "unet.pt", budget, optimizer, trained=trained, average=average.module)
    state.resume()
    if device.type == "cuda":
        trained.to(memory_format=torch.channels_last)
    if compiled:
        for part in unet.modules():
            if isinstance(part, ResBlock | SpatialTransformer):
                part.compile(dynamic=False)
    pools = [
        Latents(s, max(pool * sizes[0] ** 2 // s**2, b), device) for s, b in zip(sizes, batches)
    ]
    trainer = _Trainer(unet, text, encoder, device)
    progress = loop.Progress("unet", work)
    turns = [0.0] * len(sizes)
    try:
        for step in budget:
            turns = [turn + share for turn, share in zip(turns, shares)]
            which = turns.index(max(turns))
            turns[which] -= 1
            latents, batch = pools[which], batches[which]
            while latents.added * reuse < latents.seen + batch or latents.added < 2 * batch:
                latents.add(stream.next(), encoder, trainer.sprites, trainer.dtype)
                state.chunks += 1
            loop.set_rate(optimizer, rate, step, budget.progress, hold)
            loss = trainer.loss(latents, batch, seed=(seed, step))
            loop.descend(loss, optimizer)
            average.update(trained, step, begun)
            progress.add(loss)
            if progress.due() or budget.progress >= 1:
                progress.report(step, f", {sum(each.added for each in pools)} pictures drawn")
            if state.due() or budget.progress >= 1:
                state.save()
    finally:
        stream.close()
    _look_at_held_out(trainer, average.module, sizes, batches, work, budget.step)


class _Trainer:
    """The networks in use, and what a loss is computed with."""

    def __init__(
        self, unet: nn.Module, text: nn.Module, encoder: Autoencoder, device: torch.device
    ):
        self.unet, self.text, self.encoder, self.device = unet, text, encoder, device
        self.dtype = loop.half_of(device)
        self.sprites = load_sprites(str(device))
        self.alphas = alphas_cumprod().to(device)
        self.empty = torch.tensor(tokens_of("")[0], device=device)

    def loss(self, latents: Latents, batch: int, seed: tuple[int, ...]) -> torch.Tensor:
        """Of a batch that depends on the seed and on the pictures that are there."""
        generator = torch.Generator(self.device).manual_seed(loop.seed_of(*seed))
        clean, tokens = latents.sample(batch, self.empty, generator)
        timesteps = timesteps_for(latents.size // 8, batch, self.alphas, generator)
        noisy, noise = add_noise(clean, timesteps, self.alphas, generator)
        if self.device.type == "cuda":
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        states = self.text(tokens, self.dtype)
        predicted = self.unet(noisy.to(self.dtype), timesteps, states)
        return noise_loss(predicted, noise, timesteps, self.alphas)


@torch.no_grad()
def _look_at_held_out(
    trainer: _Trainer,
    average: nn.Module,
    sizes: Sequence[int],
    batches: Sequence[int],
    work: Path,
    step: int,
) -> None:
    """Write the loss of pictures that are never trained on, seen with the averaged weights."""
    trainer.unet, trainer.text = average
    for size, batch in zip(sizes, batches):
        progress = loop.Progress(f"unet held out {size} px", work)
        latents = Latents(size, 4 * batch, trainer.device)
        scenes = captioned_chunk(4 * batch, HELD_OUT_SEED, 0)
        latents.add(scenes, trainer.encoder, trainer.sprites, trainer.dtype)
        for index in range(HELD_OUT_BATCHES):
            progress.add(trainer.loss(latents, batch, seed=(HELD_OUT_SEED, index)))
        progress.report(step)
