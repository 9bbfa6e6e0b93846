"""The linear map that a projection makes of tokens, whatever its host has put behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

_TOLERANCE = 0.02
"""How far, relative to its size, an answer may be from the map's: half precision needs it."""


class LinearMap(NamedTuple):
    """tokens W' + b: `weight` (inner, channels), `bias` (inner,)."""

    weight: torch.Tensor
    bias: torch.Tensor


class Projection:
    """A module that projects tokens, and whether what it does has changed.

    The map is what the module answers to single channels. So weights that are quantised, moved,
    cast, or changed by LoRA in any way count as what they make of tokens.
    """

    def __init__(self, module: nn.Module):
        self._module: Any = module
        self._stamp: tuple[Any, ...] | None = None
        self._answer: torch.Tensor | None = None

    def has_changed(self, tokens: torch.Tensor) -> bool:
        """Whether it does something else than when this was last asked; at first, it does.

        `tokens` (batch, tokens, channels) are such as it gets. Waits for the device where its
        parameters were written or replaced, and at no other time.
        """
        stamp = tuple(map(_stamp_of, self._module.parameters()))
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before, self._answer = self._answer, self._module.forward(_probe(tokens))
        return before is None or not _equal(before, self._answer)

    def read(self, tokens: torch.Tensor) -> LinearMap | None:
        """The map, None where the module makes no linear one."""
        channels = tokens.shape[-1]
        unit = torch.eye(channels, device=tokens.device, dtype=tokens.dtype)[None]
        probe = _probe(tokens)
        answers = self._module.forward(torch.cat([unit, torch.zeros_like(probe), probe], dim=1))[0]
        bias, answer = answers[-2:].double()
        weight = (answers[:channels].double() - bias).T
        away = weight @ probe[0, 0].double() + bias - answer
        linear = torch.linalg.vector_norm(away) <= _TOLERANCE * torch.linalg.vector_norm(answer)
        return LinearMap(weight, bias) if linear else None


def _probe(tokens: torch.Tensor) -> torch.Tensor:
    """A token like these that has something in each channel: (1, 1, channels)."""
    steps = torch.arange(1, tokens.shape[-1] + 1, device=tokens.device, dtype=torch.float32)
    return (steps * 0.618034 % 1 - 0.5).to(tokens.dtype)[None, None]


def _stamp_of(parameter: torch.Tensor) -> tuple[int, int | None]:
    """Where its numbers are, and how often they were written."""
    return parameter.data_ptr(), None if parameter.is_inference() else parameter._version


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    same_kind = one.device == other.device and one.dtype == other.dtype
    return same_kind and torch.equal(one, other)
