"""How much the U-Net's output is likely to have changed since it was last computed.

What a call gets tells it: the output changes as many times faster than the input as it did between
the last two calls that were computed. Source: EasyCache (2025), which adds up what changes from
step to step; here it is measured from the last computed call to this one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import torch

from .memory import CallKey


@dataclasses.dataclass(frozen=True)
class _Computed:
    """A call that was computed: its `latent` and `output`, and, for each row, how much of itself
    the output changes for each unit that the latent does, (batch,); None where that is not known.
    """

    key: CallKey
    latent: torch.Tensor
    output: torch.Tensor
    rate: torch.Tensor | None


class Changes:
    """Of the calls of one U-Net over one pass."""

    def __init__(self) -> None:
        # the last of each place in a step and each shape
        self._last: dict[CallKey, _Computed] = {}
        self._measured: list[CallKey] = []

    def forget(self) -> None:
        """A new pass, another U-Net, the end, or time goes back."""
        self._last.clear()
        self._measured = []

    def measure(self, *latents: torch.Tensor) -> list[torch.Tensor]:
        """Before it is known which call of a step this is, and with which of some latents (batch,
        channels, height, width): a number, (1,), for each that it may be. `estimate` takes their
        values.
        """
        self._measured, numbers = [], []
        for (place, last), latent in itertools.product(self._last.items(), latents):
            like = place.shape, place.dtype, place.device
            if last.rate is not None and like == (latent.shape, latent.dtype, latent.device):
                self._measured.append(last.key)
                numbers.append((_mean(latent - last.latent) * last.rate).max().reshape(1))
        return numbers

    def estimate(self, key: CallKey, numbers: Sequence[float]) -> float:
        """The part of itself by which the output of a call has changed since such a one was last
        computed, of the row where it is largest; infinite where that is not known.
        """
        found = dict(zip(self._measured, numbers)).get(key, math.inf)
        return math.inf if math.isnan(found) else found

    def keep(self, key: CallKey, latent: torch.Tensor, output: torch.Tensor) -> None:
        """A call was computed."""
        place = dataclasses.replace(key, conditioning=())
        before, rate = self._last.get(place), None
        # copies, for whoever made them may write into them
        latent, output = latent.clone(), output.clone()
        if before is not None and before.key == key:
            moved = _mean(latent - before.latent)
            rate = _mean(output - before.output) / (_mean(output) * moved)
        self._last[place] = _Computed(key, latent, output, rate)


def _mean(values: torch.Tensor) -> torch.Tensor:
    """The mean magnitude of each row: (batch,)."""
    return values.float().abs().flatten(1).mean(dim=1)
