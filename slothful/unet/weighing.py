"""Hooks for attention in which some keys weigh more than others."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..tokens.weighted_attention import weighted_attention
from .answering import Answering

Extend = Callable[
    [torch.Tensor, torch.Tensor, "torch.Tensor | None"],
    tuple[torch.Tensor, torch.Tensor, torch.Tensor],
]


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    log_weights: torch.Tensor | None,
    extend: Extend | None,
) -> torch.Tensor:
    """Attention of (batch, heads, tokens, channels) to keys with `log_weights` (batch, keys), of
    which `extend` may make more; without either, all keys weigh the same.
    """
    if extend is not None:
        key, value, log_weights = extend(key, value, log_weights)
    if log_weights is None:
        return F.scaled_dot_product_attention(query, key, value)
    return weighted_attention(query, key, value, log_weights.to(query.dtype))


class WeightedAttention(Answering):
    """Hooks on an attn1 that answer in the place of the active optimization while `log_weights` is
    set: a (batch, keys) tensor, the logarithm of each key's weight; minus infinity hides a key.

    None of the hosts' optimizations takes a bias for the scores. So the active one gets a single
    token to work on, and its answer is replaced by that of torch's own attention over what to_q,
    to_k and to_v gave. Source: proportional attention (Token Merging, Bolya et al., 2023).

    While `extend` is set, it is given keys and values, each (batch, heads, keys, channels), and
    weights or None, and answers with what is attended to instead.
    """

    def __init__(self, attention: nn.Module):
        super().__init__(attention)
        self.log_weights: torch.Tensor | None = None
        self.extend: Extend | None = None
        self._last: RemovableHandle | None = None

    def register(self) -> list[RemovableHandle]:
        """See `Answering`."""
        handles = super().register()
        self._last = handles[-1]
        return handles

    @property
    def is_on(self) -> bool:
        """Whether the hooks are on."""
        return self._last is not None and (
            self._last.id in self.attention.to_out[0]._forward_pre_hooks
        )

    def wants(self, name: str, projected: torch.Tensor) -> bool:
        """See `Answering`."""
        weights = self.log_weights
        if name != "to_q" and weights is not None and projected.shape[1] != weights.shape[-1]:
            # a replaced `forward` has keys of its own
            self.log_weights = self.extend = None
        return self.log_weights is not None or self.extend is not None

    def answer(self) -> torch.Tensor:
        """See `Answering`."""
        query, key, value = (self.heads_of(name) for name in ("to_q", "to_k", "to_v"))
        log_weights, self.log_weights = self.log_weights, None
        return attend(query, key, value, log_weights, self.extend)
