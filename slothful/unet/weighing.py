"""Hooks for attention in which some keys weigh more than others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..tokens.weighted_attention import weighted_attention
from .answering import Answering
from .calls import Args, Dialect
from .replaced_forward import ReplacedForward
from .watched_forward import WatchedForward

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

    Where it is known from the calls between `begin` and `end` that the active optimization does
    nothing but attend, it can be left out: `stand_in` answers in its place, which takes the host
    less and starts nothing for that token.
    """

    def __init__(self, attention: nn.Module, dialect: Dialect):
        super().__init__(attention)
        self.log_weights: torch.Tensor | None = None
        self.extend: Extend | None = None
        self._dialect = dialect
        self._given: tuple[torch.Tensor, torch.Tensor] | None = None
        self._watched = WatchedForward(attention, dialect)
        self._last: RemovableHandle | None = None
        self._stand_in: ReplacedForward | None = None

    def register(self) -> list[RemovableHandle]:
        """See `Answering`."""
        handles = super().register()
        self._last = handles[-1]
        return handles

    def begin(
        self, log_weights: torch.Tensor | None, queries: torch.Tensor, context: torch.Tensor
    ) -> None:
        """The attention is called with these, and its keys have these weights, if any."""
        self.log_weights = log_weights
        if log_weights is None:
            return
        if self.stands_in:
            self._given = queries, context
        else:
            self._watched.begin(queries, context)

    def end(self) -> None:
        """The attention has answered."""
        self._given = None
        self._watched.end()

    def skip(self) -> None:
        """A call is left as it is, or nothing is at work any more."""
        self.log_weights = self._given = None
        self._watched.skip()

    def forget(self) -> None:
        """What the attention's `forward` does may have changed."""
        self._watched.forget()

    @property
    def stands_in(self) -> bool:
        """Whether what `stand_in` has put on is there."""
        return self._stand_in is not None and self._own_forward is self._stand_in

    @property
    def is_replaced(self) -> bool:
        """Whether somebody else's `forward` is there."""
        return self._own_forward is not None and not self.stands_in

    @property
    def _own_forward(self) -> Any:
        return vars(self.attention).get("forward")

    @property
    def may_stand_in(self) -> bool:
        """Whether `stand_in` may answer the next call."""
        is_idle = not self.attention.training  # no dropout
        return is_idle and self._watched.is_plain and not self.is_replaced

    def stand_in(self) -> ReplacedForward:
        """Answer in the place of `forward`, until what is returned is removed."""
        self._stand_in = ReplacedForward(self.attention, self._answer_alone)
        return self._stand_in

    def _answer_alone(self, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        weights, given, dialect = self.log_weights, self._given, self._dialect
        if weights is None or given is None or self.extend is not None or self.is_on:
            return None
        tokens, context = dialect.tokens_of(args, kwargs), dialect.context_of(args, kwargs)
        if tokens is not given[0] or context is not given[1]:  # somebody wrapped this
            return None
        self.log_weights = self._given = None
        attention = self.attention
        query = self.in_heads(attention.to_q(tokens))
        key, value = self.in_heads(attention.to_k(context)), self.in_heads(attention.to_v(context))
        answers = attend(query, key, value, weights, None)
        answer: torch.Tensor = attention.to_out[0](answers.transpose(1, 2).flatten(2))
        return answer

    @property
    def is_on(self) -> bool:
        """Whether the hooks are on."""
        return self._last is not None and (
            self._last.id in self.attention.to_out[0]._forward_pre_hooks
        )

    def _keep(
        self, name: str, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        self._watched.projects(name, args[0] if args else None)
        return super()._keep(name, projection, args, projected)

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
