"""Likeness: tokens that are not kept join the kept token that is most like them."""

from __future__ import annotations

import functools

import torch

from ..planning.reduction import COMPARED_CHANNELS
from .devices import numbers, to_device, together

_ROOM = 8
"""Likenesses that are held at a time, in multiples of the values that are compared: still less than
the queries, keys and values that follow."""


def features_of(tokens: torch.Tensor) -> torch.Tensor:
    """By what tokens are compared: (batch, tokens, channels) -> (batch, tokens, width), the width
    being at most `COMPARED_CHANNELS`.

    Angles between tokens are kept, nearly, by a projection to few random directions (Johnson and
    Lindenstrauss, 1984), which makes the comparison several times cheaper.
    """
    channels = tokens.shape[-1]
    if channels <= COMPARED_CHANNELS:
        return tokens
    return tokens @ _directions(channels, tokens.device, tokens.dtype)


@functools.lru_cache(maxsize=64)
def _directions(channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(channels, `COMPARED_CHANNELS`), the same on every device and at every time."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, COMPARED_CHANNELS, generator=generator) / channels**0.5
    return to_device(drawn, device, dtype)


def join_alike(features: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """For each token the place of the kept one that it joins: (batch, tokens) int64 in 0..kept - 1.

    `features`: (batch, tokens, width); `kept`: (kept,), indices of tokens. A token joins the one at
    the smallest angle, a kept one itself. Source: Token Merging (Bolya et al., 2023), where only
    the most similar join; here all do, as points join centres in k-means.
    """
    batch, tokens, width = features.shape
    filled = kept
    if len(kept) % 8:  # a GPU is slow at other numbers
        filled = torch.cat([kept, kept[-1:].expand(-len(kept) % 8)])
    # the length of a token itself does not change to which of them it is closest
    centres = features.index_select(1, filled)
    # as torch's `normalize`, which takes the host three times as long
    lengths = torch.linalg.vector_norm(centres, dim=-1, keepdim=True).clamp_min_(1e-12)
    centres = (centres / lengths).transpose(1, 2)
    # in parts, as all likenesses at once could need more memory than the attention itself
    parts = features.split(max(1, _ROOM * tokens * width // len(filled)), dim=1)
    places = [torch.bmm(part, centres).argmax(dim=-1) for part in parts]
    joined = together(places)
    if len(filled) > len(kept):  # products round as they like, and a copy may seem nearer
        joined = joined.clamp_(max=len(kept) - 1)
    # a kept token may be equal to another one
    return joined.index_copy_(1, kept, _places(batch, len(kept), features.device))


# the view is cached as well: each is work for the host, and counts as memory of its own
@functools.lru_cache(maxsize=256)
def _places(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """0 to count - 1 in each row: (batch, count)."""
    return numbers(count, device).expand(batch, -1)
