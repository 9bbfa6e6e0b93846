"""Spectrum (Han et al., CVPR 2026): features are functions of the step, and calls are skipped by
forecasting them with a ridge fit of Chebyshev polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.rivals.rival import Rival


class Spectrum(Rival):
    """What is forecast are the features before the U-Net's last layers, which are always computed.

    The first `warm_up` calls are computed, then one in every `window`, which grows by `growth` with
    each. The forecast is `share` of the fit and the rest a line through the last two. `degree`,
    `ridge` (the same for every term), `window`, `growth` and `share` are the authors' for SDXL.
    """

    def __init__(
        self,
        unet: nn.Module,
        warm_up: int = 5,
        window: float = 2.0,
        growth: float = 0.75,
        degree: int = 4,
        ridge: float = 0.1,
        share: float = 0.5,
    ):
        super().__init__(unet)
        self.warm_up, self.window, self.growth = warm_up, window, growth
        self.degree, self.ridge, self.share = degree, ridge, share
        self._kept: dict[int, torch.Tensor] = {}

    def kinds(self, calls: int) -> list[str]:
        """See `Rival`."""
        kinds, window, skipped = [], self.window, 0
        for index in range(calls):
            computed = index < self.warm_up or skipped + 1 >= math.floor(window)
            if computed and index >= self.warm_up:
                window += self.growth
            skipped = 0 if computed else skipped + 1
            kinds.append("computed" if computed else "forecast")
        return kinds

    def _forget(self) -> None:
        self._kept.clear()

    def _answer(self, latent: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.kinds(self.calls)[self.index] == "forecast":
            return self.unet.out(self._forecast().type(latent.dtype))
        handle = self.unet.out.register_forward_pre_hook(self._keep)
        try:
            return self._plain(latent, *args, **kwargs)
        finally:
            handle.remove()

    def _keep(self, out: nn.Module, args: Any) -> None:
        self._kept[self.index] = args[0]

    def _forecast(self) -> torch.Tensor:
        steps, at = list(self._kept), self.index
        penalties = [self.ridge] * (self.degree + 1)
        weights = self.share * chebyshev_weights(steps, at, penalties, (0, self.calls))
        line = torch.zeros_like(weights)
        line[-1] = 1.0
        if len(steps) > 1:
            ahead = (at - steps[-1]) / (steps[-1] - steps[-2])
            line[-2:] += ahead * torch.tensor([-1.0, 1.0])
        weights = weights + (1 - self.share) * line
        return sum(float(weight) * kept for weight, kept in zip(weights, self._kept.values()))


def chebyshev_weights(
    steps: Sequence[float], at: float, penalties: Sequence[float], span: tuple[float, float]
) -> torch.Tensor:
    """With which weights values at `steps` make the ridge fit's value at `at`, (len(steps),).

    The fit is in the Chebyshev polynomials T_0, T_1, ..., one for each of the `penalties`, over a
    `span` of steps that is mapped to [-1, 1]: x(at) (X'X + diag(penalties))^-1 X'.
    """

    def basis(step: Sequence[float]) -> torch.Tensor:
        low, high = span
        x = (2 * torch.tensor(step, dtype=torch.float64) - low - high) / (high - low)
        angle = torch.arccos(x.clamp(-1, 1))
        return torch.stack([torch.cos(order * angle) for order in range(len(penalties))], dim=1)

    rows = basis(steps)
    normal = rows.T @ rows + torch.diag(torch.tensor(penalties, dtype=torch.float64))
    return (basis([at]) @ torch.linalg.solve(normal, rows.T))[0]
