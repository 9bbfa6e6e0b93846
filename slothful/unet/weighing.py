"""Hooks for attention in which some keys weigh more than others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..tokens.weighted_attention import weighted_attention
from .calls import Args
from .foreign import OwnHook

Projected = torch.Tensor
"""What a projection gives: (batch, tokens, inner)."""


class Answering(NamedTuple):
    """How the next call is answered: from `keys` tokens that become keys, by
    answer(query, key, value), each as it was projected.
    """

    keys: int
    answer: Callable[[Projected, Projected, Projected], Projected]


class WeightedAttention:
    """Hooks on an attn1 that answer in the place of the active optimization while `answering` is
    set.

    None of the hosts' optimizations takes a bias for the scores. So the active one gets a single
    token to work on, and its answer is replaced by that of torch's own attention, or of another,
    over what to_q, to_k and to_v gave. Source: proportional attention (Token Merging, Bolya et al.,
    2023).
    """

    def __init__(self, attention: nn.Module):
        self.attention: Any = attention
        self.answering: Answering | None = None
        self._projected: dict[str, torch.Tensor] = {}

    def weigh(self, log_weights: torch.Tensor | None) -> None:
        """In the next call, add a (batch, keys) tensor to the scores, the logarithm of each key's
        weight; minus infinity hides a key. None: all weigh the same, and nothing is replaced.
        """
        if log_weights is None:
            self.answer_by(None)
        else:
            by_weights = functools.partial(self._by_weights, log_weights)
            self.answer_by(Answering(log_weights.shape[-1], by_weights))

    def answer_by(self, answering: Answering | None) -> None:
        """How the next call is answered; None: as it is."""
        self.answering = answering
        self._projected.clear()

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
        handles.append(attention.to_out[0].register_forward_pre_hook(before))
        return handles

    def _keep(
        self, name: str, projection: nn.Module, args: Args, projected: Projected
    ) -> torch.Tensor | None:
        if self.answering is None:
            return None
        if name != "to_q" and projected.shape[1] != self.answering.keys:
            self.answer_by(None)  # a replaced `forward` has keys of its own
            return None
        self._projected[name] = projected
        single, query = projected[:, :1], self._projected.get("to_q")
        if query is None or query.shape[0] == projected.shape[0]:
            return single
        # keys of all rows came one after the other, in a single row
        return single.expand(query.shape[0], -1, -1)

    def _before_output(self, layer: nn.Module, args: Args) -> Args | None:
        if self.answering is None:
            return None
        answering, self.answering = self.answering, None
        answers = answering.answer(*(self._projected.pop(n) for n in ("to_q", "to_k", "to_v")))
        return (answers, *args[1:])

    def _by_weights(self, log_weights: torch.Tensor, *projected: Projected) -> Projected:
        query, key, value = map(self._heads_of, projected)
        answers = weighted_attention(query, key, value, log_weights.to(query.dtype))
        return answers.transpose(1, 2).flatten(2)

    def _heads_of(self, projected: Projected) -> torch.Tensor:
        """(batch, tokens, inner) -> (batch, heads, tokens, channels)."""
        batch, tokens, _ = projected.shape
        # a plain view, as this is done for every layer: einops and unflatten take longer
        return projected.view(batch, tokens, self.attention.heads, -1).transpose(1, 2)
