"""Likeness: tokens that are not kept join the kept token that is most like them.

A CPU looks for the largest likeness and sums the members of groups: the least arithmetic. For a GPU
each step that it is told takes as long as much arithmetic, so there one softmax makes shares of the
likenesses, and the means are a product with these.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..planning.reduction import COMPARED_CHANNELS, Reduction
from ..planning.tiling import Tiling
from .devices import kept_tensors, numbers, to_device, together
from .group_means import Groups, groups_of
from .kept import filled, filled_index, kept_index

_ROOM = 8
"""Likenesses that are held at a time, in multiples of the values that are compared: still less than
the queries, keys and values that follow."""

SHARPNESS = {torch.float32: 1e5}
"""By dtype, else `_SHARPNESS`: a token's share of the kept one that is most like it exceeds another
by e to the power of this times the difference of their cosines. As much as rounded products bear:
a kept token keeps a part of itself, however near another one lies.
"""

_SHARPNESS = 1e3

PRODUCTS = 5
"""Groups of which a GPU takes shares and means by products, in multiples of a token's channels: the
shares need less memory than the feed-forward layer that follows."""


def features_of(tokens: torch.Tensor) -> torch.Tensor:
    """By what tokens are compared: (batch, tokens, channels) -> (batch, tokens, width), the width
    being at most `COMPARED_CHANNELS`.

    Angles between tokens are kept, nearly, by a projection to few random directions (Johnson and
    Lindenstrauss, 1984), which makes the comparison several times cheaper. All are of one length.
    """
    channels = tokens.shape[-1]
    if channels > COMPARED_CHANNELS:
        tokens = tokens @ _directions(channels, tokens.device, tokens.dtype)
    # without their mean, which is one direction less: one step, where to divide by lengths is three
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-12)


@kept_tensors(64)
def _directions(channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(channels, `COMPARED_CHANNELS`), the same on every device and at every time."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, COMPARED_CHANNELS, generator=generator) / channels**0.5
    return to_device(drawn, device, dtype)


def groups_alike(
    features: torch.Tensor,
    reduction: Reduction,
    channels: int,
    dtype: torch.dtype,
    *,
    fills: bool,
    tiling: Tiling | None = None,
) -> Groups:
    """The groups of tokens that are most like the kept ones of a reduction, for means of tokens of
    so many `channels` and of `dtype`. `features`: (batch, tokens, width) of `features_of`, in the
    order of a `tiling`'s windows where there is one.

    With `fills` there may be up to seven groups more: a GPU is slow at other numbers than eights,
    and where groups weigh as much as is in them, copies of a kept token change nothing.
    """
    device = features.device
    if in_few_steps(device) and len(reduction) <= PRODUCTS * channels:
        kept = filled_index(reduction, device) if fills else kept_index(reduction, device, tiling)
        return GroupsByShares(features, kept)
    joined = join_alike(features, kept_index(reduction, device, tiling))
    return groups_of(joined, len(reduction), dtype)


def in_few_steps(device: torch.device) -> bool:
    """Whether to be told takes a device longer than to compute."""
    return device.type != "cpu"


class GroupsByShares:
    """Tokens have shares of all groups, which for all but equal ones are nearly 0 or 1.

    Each token counts once in all; equal kept tokens have equal shares. Source: merging by two
    products (ToMA, 2025), sharp enough to be the hard choice: a softer one is further from the
    U-Net as it is.
    """

    def __init__(self, features: torch.Tensor, kept: torch.Tensor):
        """`features`: (batch, tokens, width) of `features_of`; `kept`: (kept,)."""
        centres = features.index_select(1, kept).transpose(1, 2)
        sharpness = SHARPNESS.get(features.dtype, _SHARPNESS)
        nothing, scale = features.new_empty(()), sharpness / features.shape[-1]
        likeness = torch.baddbmm(nothing, features, centres, beta=0, alpha=scale)
        self._shares = likeness.softmax(dim=-1)  # (batch, tokens, count)
        self._divided = False
        self.sizes = self._shares.sum(dim=1, dtype=torch.float32)

    def means(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Groups`."""
        if not self._divided:  # before the sums, which half precision might not hold
            self._shares.div_(self.sizes[:, None])
            self._divided = True
        return self._shares.transpose(1, 2) @ tokens

    def sizes_in(self, windows_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """See `Groups`. To be asked before `means`."""
        assert not self._divided
        return windows_of(self._shares).sum(dim=1, dtype=torch.float32)


def join_alike(features: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """For each token the place of the kept one that it joins: (batch, tokens) int64 in 0..kept - 1.

    `features`: (batch, tokens, width) of `features_of`; `kept`: (kept,), indices of tokens. A token
    joins the one at the smallest angle, a kept one itself. Source: Token Merging (Bolya et al.,
    2023), where only the most similar join; here all do, as points join centres in k-means.
    """
    batch, tokens, width = features.shape
    compared = filled(kept)
    centres = features.index_select(1, compared).transpose(1, 2)
    # in parts, as all likenesses at once could need more memory than the attention itself
    parts = features.split(max(1, _ROOM * tokens * width // len(compared)), dim=1)
    places = [torch.bmm(part, centres).argmax(dim=-1) for part in parts]
    joined = together(places)
    if len(compared) > len(kept):  # products round as they like, and a copy may seem nearer
        joined = joined.clamp_(max=len(kept) - 1)
    # a kept token may be equal to another one
    return joined.index_copy_(1, kept, _places(batch, len(kept), features.device))


# the view is cached as well: each is work for the host, and counts as memory of its own
@kept_tensors(256)
def _places(batch: int, count: int, device: torch.device) -> torch.Tensor:
    """0 to count - 1 in each row: (batch, count)."""
    return numbers(count, device).expand(batch, -1)
