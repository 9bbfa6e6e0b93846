"""Hooks by which something else than the active optimization answers in an attn1."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from .calls import Args
from .foreign import OwnHook


def in_heads(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, tokens, inner) -> (batch, heads, tokens, channels)."""
    batch, tokens, _ = projected.shape
    # a plain view, as this is done for every layer: einops and unflatten take longer
    return projected.view(batch, tokens, heads, -1).transpose(1, 2)


class Answering:
    """Hooks on an attn1 that answer in the place of the active optimization while they are wanted.

    The active one gets a single token to work on, and its answer is replaced by one made of what
    to_q, to_k and to_v gave.
    """

    def __init__(self, attention: nn.Module):
        self.attention: Any = attention
        self.projected: dict[str, torch.Tensor] = {}

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

    def wants(self, name: str, projected: torch.Tensor) -> bool:
        """Whether to answer in this call, asked when each projection has given something."""
        raise NotImplementedError

    def one_token(self, name: str, projected: torch.Tensor) -> torch.Tensor:
        """What the active optimization gets of it: (batch, 1, inner)."""
        return projected[:, :1]

    def answer(self) -> torch.Tensor:
        """From what was projected: (batch, heads, tokens, channels)."""
        raise NotImplementedError

    def heads_of(self, name: str) -> torch.Tensor:
        """What was projected: (batch, tokens, inner) -> (batch, heads, tokens, channels)."""
        return self.in_heads(self.projected.pop(name))

    def in_heads(self, projected: torch.Tensor) -> torch.Tensor:
        """The same with the attention's own heads."""
        return in_heads(projected, self.attention.heads)

    def _keep(
        self, name: str, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        if not self.wants(name, projected):
            self.projected.clear()
            return None
        self.projected[name] = projected
        return self.one_token(name, projected)

    def _before_output(self, layer: nn.Module, args: Args) -> Args | None:
        if not self.projected:
            return None
        answers = self.answer()
        self.projected.clear()
        return (answers.transpose(1, 2).flatten(2), *args[1:])
