"""T-GATE (Liu, Zhang et al., TMLR 2025): self-attention is reused before a gate, cross-attention
after it, where guidance has ended as well.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from benchmarks.rivals.rival import Rival
from slothful import find_sites
from slothful.unet.replaced_forward import Forward

FRESH, REUSED, GATE, AFTER = "fresh", "self-attention reused", "gate", "after the gate"


class TGate(Rival):
    """Defaults are the authors' for SD1.5 and SDXL: the gate after 10 of 25 calls; before it
    self-attention is fresh in the first `warm_up` + 1 calls and then in every `interval`-th.

    The gate's call keeps the mean of both halves' cross-attention. After it only the negative half
    of the batch runs, whose prompt nothing of cross-attention hears of any more, and its output is
    given for both, so that guidance has no effect.
    """

    def __init__(self, unet: nn.Module, gate: float = 0.4, interval: int = 5, warm_up: int = 2):
        super().__init__(unet)
        self.gate, self.interval, self.warm_up = gate, interval, warm_up
        self._kind = FRESH
        self._kept: dict[nn.Module, torch.Tensor] = {}

    def kinds(self, calls: int) -> list[str]:
        """See `Rival`."""
        gate = round(self.gate * calls)
        return [self._kind_of(index, gate) for index in range(calls)]

    def _kind_of(self, index: int, gate: int) -> str:
        if index >= gate:
            return AFTER
        if index == gate - 1:
            return GATE
        return FRESH if index <= self.warm_up or index % self.interval == 0 else REUSED

    def __enter__(self) -> TGate:
        super().__enter__()
        for modules in find_sites(self.unet):
            for layer in modules.layers:
                for attention, attend in ((layer.attn1, self._itself), (layer.attn2, self._prompt)):
                    forward = functools.partial(attend, attention, attention.forward)
                    self._replace(attention, forward)
        return self

    def _forget(self) -> None:
        self._kept.clear()

    def _answer(
        self, latent: torch.Tensor, timesteps: torch.Tensor, **conditions: Any
    ) -> torch.Tensor:
        self._kind = self._kind_of(self.index, round(self.gate * self.calls))
        if self._kind != AFTER:
            return self._plain(latent, timesteps, **conditions)
        own = {name: _negative(value) for name, value in conditions.items()}
        output = self._plain(_negative(latent), _negative(timesteps), **own)
        return torch.cat([output, output])

    def _itself(
        self, attention: nn.Module, forward: Forward, x: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        if self._kind == REUSED:
            return self._kept[attention]
        answer = forward(x, **kwargs)
        if self._kind == FRESH and self.index >= self.warm_up:
            self._kept[attention] = answer
        return answer

    def _prompt(
        self, attention: nn.Module, forward: Forward, x: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        if self._kind == AFTER:
            return self._kept[attention]
        answer = forward(x, **kwargs)
        if self._kind == GATE:
            positive, negative = answer.chunk(2)
            self._kept[attention] = (positive + negative) / 2
        return answer


def _negative(value: Any) -> Any:
    """The second half of the rows."""
    if isinstance(value, (list, tuple)):
        return [_negative(each) for each in value]
    return value[len(value) // 2 :]
