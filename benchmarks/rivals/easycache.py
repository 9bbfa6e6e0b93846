"""EasyCache (Zhou et al., 2025): a call is skipped while the estimated change of the output stays
below a threshold.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from benchmarks.rivals.rival import Rival


class EasyCache(Rival):
    """The paper's rule. After each computed call, k = |change of the output| / |change of the
    input| since the computed one before, and output - input is kept. Each call adds k * |change of
    the input since the last call| / |last computed output| to an estimate, where |.| is the mean of
    absolute values; while that is below `threshold`, the call gives its input plus what is kept,
    else it is computed and the estimate begins anew.

    `threshold` and the shares of the pass between which a call may be skipped are the defaults of
    ComfyUI's node; the last call never is. `fixed`: the calls that are skipped, whatever the
    estimate says, which is made all the same: of random weights it means nothing.
    """

    def __init__(
        self,
        unet: nn.Module,
        threshold: float = 0.2,
        start: float = 0.15,
        end: float = 0.95,
        fixed: Collection[int] | None = None,
    ):
        super().__init__(unet)
        self.threshold, self.start, self.end, self.fixed = threshold, start, end, fixed
        self.skipped: list[int] = []
        self._forget()

    def kinds(self, calls: int) -> list[str]:
        """See `Rival`; only of calls that are `fixed`."""
        if self.fixed is None:
            raise ValueError("which calls are skipped depends on the picture")
        return ["skipped" if index in self.fixed else "computed" for index in range(calls)]

    def _forget(self) -> None:
        self.skipped = []
        self._estimate = 0.0
        self._rate: float | None = None
        self._last_input: torch.Tensor | None = None
        self._computed_input: torch.Tensor | None = None
        self._output: torch.Tensor | None = None
        self._difference: torch.Tensor | None = None

    def _answer(self, latent: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        # models of inpainting get more channels than they give
        x = latent[:, : self.unet.out_channels]
        skips = self._skips(x)
        self._last_input = x
        if skips:
            self.skipped.append(self.index)
            return x + self._difference
        output = self._plain(latent, *args, **kwargs)
        if self._output is not None:
            change = _mean(x - self._computed_input)
            self._rate = _mean(output - self._output) / change if change else None
        self._computed_input, self._output, self._difference = x, output, output - x
        return output

    def _skips(self, x: torch.Tensor) -> bool:
        if self._output is None or self._last_input is None:
            return False
        within = self.start * self.calls <= self.index < self.end * self.calls
        if not within or self.index == self.calls - 1 or self._rate is None:
            self._estimate = 0.0
            skips = False
        else:
            self._estimate += self._rate * _mean(x - self._last_input) / _mean(self._output)
            skips = self._estimate < self.threshold
            if not skips:
                self._estimate = 0.0
        return skips if self.fixed is None else self.index in self.fixed


def _mean(x: torch.Tensor) -> float:
    return float(x.abs().mean())
