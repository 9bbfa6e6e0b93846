"""Likeness: tokens that are not kept join the kept token that is most like them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

WIDTH = 64
"""Channels in which tokens are compared."""

_ROOM = 1
"""Likenesses that are held at a time, in multiples of the values that are compared."""


def features_of(tokens: torch.Tensor) -> torch.Tensor:
    """By what tokens are compared, each of length 1: (batch, tokens, channels) ->
    (batch, tokens, width), the width being at most `WIDTH`.

    Angles between tokens are kept, nearly, by a projection to few random directions (Johnson and
    Lindenstrauss, 1984), which makes the comparison several times cheaper.
    """
    channels = tokens.shape[-1]
    if channels > WIDTH:
        tokens = tokens @ _directions(channels, tokens.device, tokens.dtype)
    return F.normalize(tokens, dim=-1)


@functools.lru_cache(maxsize=64)
def _directions(channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(channels, `WIDTH`), the same on every device and at every time."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, WIDTH, generator=generator) / channels**0.5
    return drawn.to(device, dtype)


def join_alike(features: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """For each token the place of the kept one that it joins: (batch, tokens) int64 in 0..kept - 1.

    `features`: (batch, tokens, width) of length 1; `kept`: (kept,), indices of tokens. A token
    joins the one at the smallest angle, a kept one itself. Source: Token Merging (Bolya et al.,
    2023), where only the most alike join; here all do, as points join centres in k-means.
    """
    _, tokens, width = features.shape
    centres = features.index_select(1, kept).transpose(1, 2)
    # in parts, as all likenesses at once would need more memory than the attention itself
    parts = features.split(max(1, _ROOM * tokens * width // len(kept)), dim=1)
    joined = torch.cat([(part @ centres).argmax(dim=-1) for part in parts], dim=1)
    # a kept token may be equal to another one
    joined[:, kept] = _numbers(len(kept), features.device)
    return joined


def sizes_of(joined: torch.Tensor, count: int) -> torch.Tensor:
    """How many tokens joined each kept one: (batch, tokens) -> (batch, count) float32."""
    sizes = torch.zeros(len(joined), count, device=joined.device)
    return sizes.scatter_add_(1, joined, torch.ones_like(joined, dtype=sizes.dtype))


def means_of(tokens: torch.Tensor, joined: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """The mean of the tokens that joined each kept one: (batch, tokens, channels) -> (batch, count,
    channels), for `joined` (batch, tokens) and their `sizes_of` (batch, count).
    """
    batch, count = sizes.shape
    place = (joined + _row_starts(batch, count, tokens.device)).flatten()
    flat = tokens.flatten(0, 1)
    if tokens.device.type in ("cpu", "cuda"):
        # index_add, on a GPU, adds in another order each time, and a sum depends on its order
        members = place.argsort(stable=True)
        ends = sizes.flatten().long().cumsum(0)
        means = F.embedding_bag(members, flat, ends - sizes.flatten().long(), mode="mean")
    else:
        sums = flat.new_zeros(batch * count, flat.shape[-1]).index_add_(0, place, flat)
        means = sums / sizes.reshape(-1, 1).to(sums.dtype)
    return means.unflatten(0, (batch, count))


# both are kept on the device, so that a step sends nothing there
@functools.lru_cache(maxsize=256)
def _numbers(count: int, device: torch.device) -> torch.Tensor:
    """0 to count - 1."""
    return torch.arange(count, device=device)


@functools.lru_cache(maxsize=256)
def _row_starts(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """Where each row of a batch begins, with `count` places a row: (batch, 1)."""
    return torch.arange(0, batch * count, count, device=device)[:, None]
