"""Trains the autoencoder on pieces of drawn pictures and on whole ones."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from standalone.model import loop
from standalone.model.autoencoder import Autoencoder
from standalone.model.autoencoder_start import branches_and_path, start_as_resampling
from standalone.model.captioned import captioned_chunk
from standalone.model.noise import SCALE_FACTOR
from standalone.model.scenes.drawing import draw_batch
from standalone.model.scenes.sprites import load_sprites
from standalone.model.streams import Stream

SIZES = (256, 512)
CODE_NOISE = 0.06
"""Of the latents' spread: noise that the decoder learns from, since the U-Net's samples aren't
exact either. Also the spread of the encoder's posterior."""
PATH_SHARE = 0.03
"""Of the rate: what `branches_and_path` calls the path learns that much slower."""
WHOLE = (3, 6, 7)
"""Of eight steps, those with whole pictures, which have the statistics that the norms meet in use;
the others have pieces, many edges for little work."""
LARGE = (1, 5, 7)
"""Of eight steps, those with pictures of the larger size."""


def train_autoencoder(
    autoencoder: Autoencoder,
    work: Path,
    budget: loop.Budget,
    *,
    rate: float,
    seed: int,
    workers: int,
    device: torch.device,
    sizes: tuple[int, int] = SIZES,
    pictures: int = 4096,
    piece: int = 128,
    pieces: int = 64,
) -> None:
    """Absolute error of colours and of their differences between neighbours; state in `work`.

    Trains on that many `pictures` of the smaller size and an eighth as many of the larger, on
    batches of `pieces` with `piece` pixels a side, and of as many pixels in whole pictures.
    Latents of smaller pictures are made to be smaller latents (EQ-VAE, Kouzelis et al., 2025). At
    the end scales are folded in: `fold_scale`.
    """
    stream = Stream(functools.partial(captioned_chunk, min(256, pictures)), seed, workers)
    try:
        pools = [_draw(stream, pictures // part, size, device) for part, size in zip((1, 8), sizes)]
    finally:
        stream.close()
    autoencoder.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    start_as_resampling(autoencoder, _pieces(pools[0], min(24, pieces), piece, generator))
    shares = zip(branches_and_path(autoencoder), (1.0, PATH_SHARE))
    groups = [{"params": parameters, "share": share} for parameters, share in shares]
    optimizer = loop.make_optimizer(groups, device)
    state = loop.State(work / "autoencoder.pt", budget, optimizer, autoencoder=autoencoder)
    state.resume()
    progress = loop.Progress("autoencoder", work)
    for step in budget:
        generator.manual_seed(loop.seed_of(seed, step))
        pool = pools[step % 8 in LARGE]
        side = pool.shape[-1] if step % 8 in WHOLE else piece
        batch = _pieces(pool, max(pieces * piece**2 // side**2, 1), side, generator)
        loop.set_rate(optimizer, rate, step, budget.progress, hold=0.0)
        colour, loss = _errors(autoencoder, batch, step, generator, loop.half_of(device))
        loop.descend(loss, optimizer)
        progress.add(colour)
        if progress.due() or budget.progress >= 1:
            progress.report(step)
        if state.due() and budget.progress < 1:
            state.save()
    fold_scale(autoencoder, pools[0])
    state.save()
    signal = [psnr(autoencoder, pool[-min(len(pool), 32) :]) for pool in pools]
    print(", ".join(f"{size} px: {value:.2f} dB" for size, value in zip(sizes, signal)), flush=True)


def _errors(
    autoencoder: Autoencoder,
    batch: torch.Tensor,
    step: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(error of the colours, loss) of pictures (batch, 3, side, side) in [-1, 1]."""
    latents = autoencoder.encode(batch.to(dtype))
    spread = latents.std((0, 2, 3))
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    latents_seen = latents + CODE_NOISE * spread.detach()[:, None, None] * noise
    rebuilt = autoencoder.decode(latents_seen, dtype).float()
    colour = (rebuilt - batch).abs().mean()
    coarse = _edges(F.avg_pool2d(rebuilt, 2), F.avg_pool2d(batch, 2))
    loss = colour + _edges(rebuilt, batch) + 0.5 * coarse
    loss = loss + 1e-2 * (latents.mean((0, 2, 3)).square() + (spread - 1).square()).mean()
    if step % 3 == 0:
        part = slice(max(len(batch) // 2, 1))
        smaller = autoencoder.decode(F.avg_pool2d(latents_seen[part], 2), dtype).float()
        loss = loss + 0.5 * (smaller - F.avg_pool2d(batch[part], 2)).abs().mean()
    return colour, loss


def _edges(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The error of the differences between neighbours."""
    return sum((one.diff(dim=d) - other.diff(dim=d)).abs().mean() for d in (2, 3))


@torch.no_grad()
def fold_scale(autoencoder: Autoencoder, pool: torch.Tensor) -> None:
    """Fold SD1's scale factor into the convolutions around the latents, in place: times the
    factor, the latents of a pool's pictures have mean 0 and deviation 1 in each channel.
    """
    latents = torch.cat([autoencoder.encode(_values(part)) for part in pool[:512].split(16)])
    mean = latents.mean((0, 2, 3))
    scale = latents.std((0, 2, 3)) * SCALE_FACTOR
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    before.bias[:4] = (before.bias[:4] - mean) / scale
    before.weight[:4] /= scale[:, None, None, None]
    before.weight[4:], before.bias[4:] = 0, 2 * math.log(CODE_NOISE / SCALE_FACTOR)
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
    after.weight *= scale[None, :, None, None]


@torch.no_grad()
def psnr(autoencoder: Autoencoder, pool: torch.Tensor) -> float:
    """In decibels, the mean over pictures, uint8 (pictures, 3, side, side), that went through."""
    found = []
    for part in pool.split(1):
        picture = _values(part)
        rebuilt = autoencoder.decode(autoencoder.encode(picture)).clamp(-1, 1)
        error = float(((rebuilt - picture) / 2).square().mean())
        found.append(-10 * math.log10(max(error, 1e-9)))
    return sum(found) / len(found)


def _draw(stream: Stream, count: int, size: int, device: torch.device) -> torch.Tensor:
    """(count, 3, size, size), uint8."""
    sprites, found, left = load_sprites(str(device)), [], max(count, 1)
    while left > 0:
        drawn = stream.next().drawn[:left]
        left -= len(drawn)
        for first in range(0, len(drawn), 64):
            part = draw_batch(drawn[first : first + 64], size, sprites, device)
            found.append((part * 255 + 0.5).to(torch.uint8))
    return torch.cat(found)


def _pieces(pool: torch.Tensor, count: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 3, side, side) in [-1, 1], cut at random places, half of them mirrored."""
    device, spare = pool.device, pool.shape[-1] - side + 1
    options = dict(generator=generator, device=device)
    which = torch.randint(len(pool), (count,), **options)
    top, left = torch.randint(spare, (2, count), **options)
    along, channel = torch.arange(side, device=device), torch.arange(3, device=device)
    cut = pool[
        which[:, None, None, None],
        channel[None, :, None, None],
        (top[:, None] + along)[:, None, :, None],
        (left[:, None] + along)[:, None, None, :],
    ]
    mirrored = torch.rand(count, **options) < 0.5
    return torch.where(mirrored[:, None, None, None], _values(cut).flip(3), _values(cut))


def _values(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.float() / 127.5 - 1
