"""Hooks for attention in which some keys weigh more than others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..tokens.weighted_attention import weighted_attention
from .calls import Args
from .foreign import OwnHook

Extend = Callable[
    [torch.Tensor, torch.Tensor, "torch.Tensor | None"],
    tuple[torch.Tensor, torch.Tensor, torch.Tensor],
]


class WeightedAttention:
    """Hooks on an attn1 that answer in the place of the active optimization while `log_weights` is
    set: a (batch, keys) tensor, the logarithm of each key's weight; minus infinity hides a key.

    None of the hosts' optimizations takes a bias for the scores. So the active one gets a single
    token to work on, and its answer is replaced by that of torch's own attention over what to_q,
    to_k and to_v gave. Source: proportional attention (Token Merging, Bolya et al., 2023).

    While `extend` is set, it is given keys and values, each (batch, heads, keys, channels), and
    weights or None, and answers with what is attended to instead.
    """

    def __init__(self, attention: nn.Module):
        self.attention: Any = attention
        self.log_weights: torch.Tensor | None = None
        self.extend: Extend | None = None
        self._last: RemovableHandle | None = None
        self._projected: dict[str, torch.Tensor] = {}

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on, after all that change what is projected; the handles remove them."""
        attention = self.attention
        handles = [
            getattr(attention, name).register_forward_hook(
                OwnHook(functools.partial(self._keep, name))
            )
            for name in ("to_q", "to_k", "to_v")
        ]
        # its first layer, because some optimizations call the layers one by one
        before = OwnHook(self._before_output)
        self._last = attention.to_out[0].register_forward_pre_hook(before)
        return [*handles, self._last]

    @property
    def is_on(self) -> bool:
        """Whether the hooks are on."""
        return self._last is not None and (
            self._last.id in self.attention.to_out[0]._forward_pre_hooks
        )

    def _keep(
        self, name: str, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        if self.log_weights is None and self.extend is None:
            return None
        weights = self.log_weights
        if name != "to_q" and weights is not None and projected.shape[1] != weights.shape[-1]:
            # a replaced `forward` has keys of its own
            self.log_weights = self.extend = None
            self._projected.clear()
            return None
        self._projected[name] = projected
        return projected[:, :1]

    def _before_output(self, layer: nn.Module, args: Args) -> Args | None:
        if self.log_weights is None and self.extend is None:
            return None
        query, key, value = (self._heads_of(name) for name in ("to_q", "to_k", "to_v"))
        log_weights, self.log_weights = self.log_weights, None
        if self.extend is not None:
            key, value, log_weights = self.extend(key, value, log_weights)
        assert log_weights is not None
        answers = weighted_attention(query, key, value, log_weights.to(query.dtype))
        return (answers.transpose(1, 2).flatten(2), *args[1:])

    def _heads_of(self, name: str) -> torch.Tensor:
        """What was projected: (batch, tokens, inner) -> (batch, heads, tokens, channels)."""
        projected = self._projected.pop(name)
        batch, tokens, _ = projected.shape
        # a plain view, as this is done for every layer: einops and unflatten take longer
        return projected.view(batch, tokens, self.attention.heads, -1).transpose(1, 2)
