"""Groups of tokens: how many are in each, and their means."""

from __future__ import annotations

import functools
from typing import Protocol

import torch
import torch.nn.functional as F

FEW = 512
"""Groups of which a GPU takes the means by products."""


class Groups(Protocol):
    """The groups of each row of a batch. `sizes` (batch, count): the tokens in each, at least 1."""

    sizes: torch.Tensor

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, channels) -> (batch, count, channels)."""


def groups_of(joined: torch.Tensor, count: int) -> Groups:
    """The groups that `joined` (batch, tokens), int64 in 0..count - 1, tells of each token.

    Either kind gives the same every time: sums by a GPU's atomic additions would not.
    """
    device = joined.device.type
    bags = device == "cpu" or (device == "cuda" and count > FEW)
    return (GroupsInBags if bags else GroupsByProducts)(joined, count)


class GroupsInBags:
    """By sorting: little arithmetic and memory, where torch sums the members of bags."""

    def __init__(self, joined: torch.Tensor, count: int):
        batch, device = len(joined), joined.device
        places = (joined + _row_starts(batch, count, device)).flatten()
        dtype = torch.int16 if batch * count < 2**15 else torch.int32  # the fewer bits to sort
        ordered, self._members = places.to(dtype).sort(stable=True)
        self._bounds = torch.searchsorted(ordered, _numbers(batch * count + 1, device, dtype))
        self.sizes = self._bounds.diff().reshape(batch, count)

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Groups`."""
        means = F.embedding_bag(
            self._members, tokens.flatten(0, 1), self._bounds, mode="mean", include_last_offset=True
        )
        return means.unflatten(0, self.sizes.shape)


class GroupsByProducts:
    """By matrix products: few steps, which any number of members takes as long."""

    def __init__(self, joined: torch.Tensor, count: int):
        numbers = _numbers(count, joined.device, joined.dtype)[:, None]
        self._mine = joined[:, None] == numbers
        self.sizes = self._mine.sum(dim=-1)

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Groups`."""
        share = self.sizes.reciprocal().to(tokens.dtype)[..., None]
        # in parts, as (batch, count, tokens) shares could be more than the tokens themselves
        parts = zip(self._mine.split(FEW, dim=1), share.split(FEW, dim=1))
        # shares before the sum, which half precision might not hold
        means = [(mine * share) @ tokens for mine, share in parts]
        return means[0] if len(means) == 1 else torch.cat(means, dim=1)


def sizes_of(joined: torch.Tensor, count: int) -> torch.Tensor:
    """How many tokens of each row are in each group: (batch, tokens) int64 -> (batch, count)
    float32. Some may have none.
    """
    sizes = torch.zeros(len(joined), count, device=joined.device)
    return sizes.scatter_(1, joined, 1.0, reduce="add")


# both are kept on the device, so that a step sends nothing there
@functools.lru_cache(maxsize=256)
def _numbers(count: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """0 to count - 1."""
    return torch.arange(count, device=device, dtype=dtype)


@functools.lru_cache(maxsize=256)
def _row_starts(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """Where each row of a batch begins, with `count` places a row: (batch, 1)."""
    return torch.arange(0, batch * count, count, device=device)[:, None]
