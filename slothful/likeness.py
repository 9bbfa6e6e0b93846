"""Likeness: tokens that are not kept join the kept token that is most like them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

WIDTH = 64
"""Channels in which tokens are compared."""

_ROOM = 8
"""Values that are held besides at a time, in multiples of those that are compared: still less than
the queries, keys and values that follow."""


def features_of(tokens: torch.Tensor) -> torch.Tensor:
    """By what tokens are compared: (batch, tokens, channels) -> (batch, tokens, width), the width
    being at most `WIDTH`.

    Angles between tokens are kept, nearly, by a projection to few random directions (Johnson and
    Lindenstrauss, 1984), which makes the comparison several times cheaper.
    """
    channels = tokens.shape[-1]
    return (
        tokens if channels <= WIDTH else tokens @ _directions(channels, tokens.device, tokens.dtype)
    )


@functools.lru_cache(maxsize=64)
def _directions(channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(channels, `WIDTH`), the same on every device and at every time."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, WIDTH, generator=generator) / channels**0.5
    return drawn.to(device, dtype)


def join_alike(features: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """For each token the place of the kept one that it joins: (batch, tokens) int64 in 0..kept - 1.

    `features`: (batch, tokens, width); `kept`: (kept,), indices of tokens. A token joins the one at
    the smallest angle, a kept one itself. Source: Token Merging (Bolya et al., 2023), where only
    the most alike join; here all do, as points join centres in k-means.
    """
    batch, tokens, width = features.shape
    # the length of a token itself does not change to which of them it is closest
    centres = F.normalize(features.index_select(1, kept), dim=-1).transpose(1, 2)
    # in parts, as all likenesses at once could need more memory than the attention itself
    parts = features.split(max(1, _ROOM * tokens * width // len(kept)), dim=1)
    places = [(part @ centres).argmax(dim=-1) for part in parts]
    joined = places[0] if len(places) == 1 else torch.cat(places, dim=1)
    # a kept token may be equal to another one
    return joined.index_copy_(1, kept, _places(batch, len(kept), features.device))


def sizes_of(joined: torch.Tensor, count: int) -> torch.Tensor:
    """How many tokens joined each kept one: (batch, tokens) -> (batch, count) float32."""
    sizes = torch.zeros(len(joined), count, device=joined.device)
    return sizes.scatter_(1, joined, 1.0, reduce="add")


def means_of(
    tokens: torch.Tensor, joined: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of the tokens that joined each kept one, and how many these are: for `joined`
    (batch, tokens) and tokens (batch, tokens, channels): (batch, count, channels) and
    (batch, count).

    The same every time: sums by atomic additions on a GPU would depend on their order.
    """
    few = count <= _ROOM * min(tokens.shape[-1], WIDTH)
    device = tokens.device.type
    if device == "cpu" or (device == "cuda" and not few):
        return means_by_bags(tokens, joined, count)
    return means_by_products(tokens, joined, count)


def means_by_bags(
    tokens: torch.Tensor, joined: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`means_of` by sorting: little arithmetic."""
    batch, device = len(tokens), tokens.device
    places = (joined + _row_starts(batch, count, device)).flatten()
    dtype = torch.int16 if batch * count < 2**15 else torch.int32  # the fewer bits to sort
    ordered, members = places.to(dtype).sort(stable=True)
    bounds = torch.searchsorted(ordered, _numbers(batch * count + 1, device, dtype))
    means = F.embedding_bag(
        members, tokens.flatten(0, 1), bounds, mode="mean", include_last_offset=True
    )
    return means.unflatten(0, (batch, count)), bounds.diff().reshape(batch, count)


def means_by_products(
    tokens: torch.Tensor, joined: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`means_of` by matrix products: few steps, and any number of members takes as long."""
    means, sizes = [], []
    for numbers in _numbers(count, tokens.device).split(_ROOM * min(tokens.shape[-1], WIDTH)):
        mine = joined[:, None] == numbers[:, None]
        sizes.append(mine.sum(dim=-1))
        shares = mine * sizes[-1].reciprocal().to(tokens.dtype)[..., None]
        means.append(shares @ tokens)
    if len(means) == 1:
        return means[0], sizes[0]
    return torch.cat(means, dim=1), torch.cat(sizes, dim=1)


# kept on the device, so that a step sends nothing there
@functools.lru_cache(maxsize=256)
def _numbers(count: int, device: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """0 to count - 1."""
    return torch.arange(count, device=device, dtype=dtype)


@functools.lru_cache(maxsize=256)
def _places(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """0 to count - 1 in each row: (batch, count)."""
    return _numbers(count, device).expand(batch, -1)


@functools.lru_cache(maxsize=256)
def _row_starts(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """Where each row of a batch begins, with `count` places a row: (batch, 1)."""
    return torch.arange(0, batch * count, count, device=device)[:, None]
