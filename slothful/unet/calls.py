"""How a host calls the modules that hooks meet: names and places of their arguments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import torch

from ..tokens.devices import to_device

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The names of arguments, and the place of those that may come by position.

    `tokens` is the first argument of every module but the U-Net, where it is the latent; the second
    of an attention is its `context`, of the U-Net its `timesteps`. `value` are tokens for values
    alone, `mask` hides keys, `labels` are what else the U-Net's rows are conditioned on, `frames`
    tell that there are tokens of other frames.
    """

    tokens: str
    context: str
    value: str
    mask: str
    timesteps: str
    labels: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()

    def tokens_of(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """The tokens, feature map or latent that a module is called with."""
        tokens: torch.Tensor = args[0] if args else kwargs[self.tokens]
        return tokens

    def timesteps_of(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """The timesteps that the U-Net is called with: (rows,)."""
        timesteps: torch.Tensor = args[1] if len(args) > 1 else kwargs[self.timesteps]
        return timesteps

    def conditioning_of(self, args: Args, kwargs: Kwargs) -> list[torch.Tensor]:
        """What the rows of a call of the U-Net are conditioned on, each (rows, ...)."""
        by_name = [kwargs[name] for name in (self.context, *self.labels) if name in kwargs]
        given = [*args[2:], *by_name]
        several = [each if isinstance(each, (list, tuple)) else [each] for each in given]
        return [each for some in several for each in some if isinstance(each, torch.Tensor)]

    def context_of(self, args: Args, kwargs: Kwargs) -> Any:
        """What an attention gets its keys from; None for its own tokens."""
        return args[1] if len(args) > 1 else kwargs.get(self.context)

    def has_frames(self, kwargs: Kwargs) -> bool:
        """Whether an attention is called with tokens of other frames."""
        given = (kwargs.get(name) for name in self.frames)
        return any(isinstance(each, torch.Tensor) or bool(each) for each in given)

    def others_of(self, kwargs: Kwargs) -> Iterator[Any]:
        """The arguments by name besides tokens, context and value."""
        own = (self.tokens, self.context, self.value)
        return (each for name, each in kwargs.items() if name not in own)

    def with_tokens(self, tokens: torch.Tensor, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """The arguments of a module with other tokens."""
        if args:
            return (tokens, *args[1:]), kwargs
        return args, {**kwargs, self.tokens: tokens}

    def with_queries(
        self, queries: torch.Tensor, context: torch.Tensor, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs]:
        """The arguments of a self-attention with queries and context in the place of its tokens."""
        tokens = self.tokens_of(args, kwargs)
        # values come from the context, unless they are given as well (Forge, ComfyUI)
        rest = {n: each for n, each in kwargs.items() if n not in (self.tokens, self.value)}
        if len(args) > 1:
            return (queries, context, *(None if a is tokens else a for a in args[2:])), rest
        # tokens by position and context by name is what every known replacement accepts
        return (queries,), {**rest, self.context: context}


LDM = Dialect(
    tokens="x",
    context="context",
    value="value",
    mask="mask",
    timesteps="timesteps",
    labels=("y",),
    frames=("additional_tokens", "n_times_crossframe_attn_in_self"),
)
"""ldm, sgm, Forge and ComfyUI."""


def rounding(dtype: torch.dtype) -> float:
    """By which part of itself a number may change as it becomes this dtype: a host that computes in
    half precision may hand over its timesteps so.
    """
    return torch.finfo(dtype).eps / 2 if dtype.is_floating_point else 0.0


def fingerprint(tensor: torch.Tensor) -> torch.Tensor:
    """A number for each row of (rows, ...) that tells whether two rows hold the same: (rows,)."""
    rows = tensor.reshape(len(tensor), -1).float()
    return (rows * _weights(rows.shape[1], rows.device)).sum(dim=1)


@functools.lru_cache(maxsize=16)
def _weights(count: int, device: torch.device) -> torch.Tensor:
    """Numbers in [0.5, 1.5) that repeat no pattern: (count,)."""
    steps = torch.arange(1, count + 1, dtype=torch.float64) * 0.6180339887498949
    return to_device((0.5 + steps % 1).float(), device)
