"""The linear map that a projection makes of tokens, whatever its host has put behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

_TOLERANCE = 0.02
"""How far, relative to its size, an answer may be from the map's: half precision needs it."""


class LinearMap(NamedTuple):
    """tokens W' + b: `weight` (inner, channels), `bias` (inner,). As `Projection` reads it, in
    double precision, on the CPU.
    """

    weight: torch.Tensor
    bias: torch.Tensor


class Projection:
    """A module that projects tokens, and whether what it does has changed.

    The map is its weight if that explains what it answers, else what it answers to single channels.
    So weights that are quantised, moved, cast, or changed by LoRA in any way count as what they
    make of tokens.
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
        probe = _probe(tokens)
        own = self._weight(tokens)
        # of dtypes of few digits, an answer's last one is of its largest sum
        rounding = 4 * torch.finfo(tokens.dtype).eps
        if own is not None and _explains(own, probe, self._module.forward(probe), rounding):
            return own
        channels = tokens.shape[-1]
        unit = torch.eye(channels, device=tokens.device, dtype=tokens.dtype)[None]
        answers = self._module.forward(torch.cat([unit, torch.zeros_like(probe), probe], dim=1))
        bias = _doubled(answers[0, channels])
        seen = LinearMap((_doubled(answers[0, :channels]) - bias).T, bias)
        return seen if _explains(seen, probe, answers[:, -1:], _TOLERANCE) else None

    def _weight(self, tokens: torch.Tensor) -> LinearMap | None:
        """What its own weight would make of tokens, None where it has none of the right shape."""
        weight: Any = getattr(self._module, "weight", None)
        bias: Any = getattr(self._module, "bias", None)
        if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
            return None
        if weight.device != tokens.device or weight.shape[1:] != tokens.shape[-1:]:
            return None
        none = weight.new_zeros(len(weight))
        return LinearMap(_doubled(weight), _doubled(none if bias is None else bias))


def _explains(
    found: LinearMap, token: torch.Tensor, answer: torch.Tensor, tolerance: float
) -> bool:
    """Whether a map gives an answer to a token, both (1, 1, channels)."""
    expected = _doubled(answer[0, 0])
    away = found.weight @ _doubled(token[0, 0]) + found.bias - expected
    return bool(torch.linalg.vector_norm(away) <= tolerance * torch.linalg.vector_norm(expected))


def _doubled(numbers: torch.Tensor) -> torch.Tensor:
    """On the CPU, for some devices have no double precision."""
    return numbers.detach().cpu().double()


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
