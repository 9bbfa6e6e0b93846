"""Groups of tokens: how many are in each, and their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
import torch.nn.functional as F

from .devices import kept_tensors, numbers, together

FEW_GROUPS = 384
"""Groups whose means are taken by products at a time."""

_WITHOUT_BAGS = ("mps", "privateuseone")
"""Apple's devices and DirectML's."""


class Groups(Protocol):
    """The groups of each row of a batch. `sizes` (batch, count): the tokens in each, at least 1."""

    sizes: torch.Tensor

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, channels) -> (batch, count, channels)."""

    def sizes_in(self, windows_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """How many tokens of each group lie in each window: (batch * W, count), where `windows_of`
        gives what windows hold: (batch, tokens, c) -> (batch * W, T, c).
        """


def groups_of(joined: torch.Tensor, count: int, dtype: torch.dtype) -> Groups:
    """The groups that `joined` (batch, tokens), int64 in 0..count - 1, tells of each token, for
    means of tokens of `dtype`.

    Either kind gives the same every time: sums by a GPU's atomic additions would not.
    """
    if joined.device.type in _WITHOUT_BAGS:
        return GroupsByProducts(joined, count, dtype)
    return GroupsInBags(joined, count)


class GroupsInBags:
    """By sorting: little arithmetic and memory, where torch sums the members of bags."""

    def __init__(self, joined: torch.Tensor, count: int):
        batch, device = len(joined), joined.device
        places = (joined + _row_starts(batch, count, device)).flatten()
        dtype = torch.int16 if batch * count < 2**15 else torch.int32  # the fewer bits to sort
        ordered, self._members = places.to(dtype).sort(stable=True)
        self._bounds = torch.searchsorted(ordered, numbers(batch * count + 1, device, dtype))
        self.sizes = self._bounds.diff().reshape(batch, count)
        self._joined = joined

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Groups`."""
        means = F.embedding_bag(
            self._members, tokens.flatten(0, 1), self._bounds, mode="mean", include_last_offset=True
        )
        shaped: torch.Tensor = means.unflatten(0, self.sizes.shape)
        return shaped

    def sizes_in(self, windows_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """See `Groups`."""
        joined = windows_of(self._joined[..., None])[..., 0]
        sizes = torch.zeros(len(joined), self.sizes.shape[1], device=joined.device)
        return sizes.scatter_(1, joined, 1.0, reduce="add")


class GroupsByProducts:
    """By matrix products: few steps, which any number of members takes as long."""

    _SCALE = 64
    """The sums are divided by it, as half precision might not hold them."""

    def __init__(self, joined: torch.Tensor, count: int, dtype: torch.dtype):
        self._joined, self._dtype = joined, dtype
        self._numbers = _numbers_in_parts(count, FEW_GROUPS, joined.device, joined.dtype)
        # many would take too much room, so they are made again each time
        self._kept = [self._members(self._numbers[0])] if len(self._numbers) == 1 else None
        sizes = [mine.sum(dim=-1, dtype=torch.float32) for mine in self._parts()]
        self.sizes = together(sizes)
        self._scaled_sizes = (self.sizes / self._SCALE).to(dtype)[..., None]

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Groups`."""
        nothing, scale = tokens.new_empty(()), 1 / self._SCALE
        sums = [torch.baddbmm(nothing, mine, tokens, beta=0, alpha=scale) for mine in self._parts()]
        return together(sums) / self._scaled_sizes

    def sizes_in(self, windows_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """See `Groups`."""
        parts = (windows_of(mine.transpose(1, 2)) for mine in self._parts())
        return together([part.sum(dim=1, dtype=torch.float32) for part in parts])

    def _parts(self) -> Iterable[torch.Tensor]:
        return self._kept or map(self._members, self._numbers)

    def _members(self, numbers: torch.Tensor) -> torch.Tensor:
        """1 where a token is in one of these groups, else 0: (batch, groups, tokens)."""
        shape = (len(self._joined), len(numbers), self._joined.shape[1])
        mine = torch.empty(shape, device=self._joined.device, dtype=self._dtype)
        return torch.eq(self._joined[:, None], numbers, out=mine)


# all are kept on the device, so that a step sends nothing there
@kept_tensors(256)
def _numbers_in_parts(
    count: int, few: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """0 to count - 1, at most `few` at a time: (part, 1) each."""
    return tuple(torch.split(numbers(count, device, dtype)[:, None], few))


@kept_tensors(256)
def _row_starts(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """Where each row of a batch begins, with `count` places a row: (batch, 1)."""
    return torch.arange(0, batch * count, count, device=device)[:, None]
