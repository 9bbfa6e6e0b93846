"""Time as a device sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Clock = Callable[[], float]
"""Tells the time, in seconds."""


class Stopwatch:
    """Marks of time in the order in which a device gets there, read once all are made."""

    def __init__(self, device: torch.device, clock: Clock):
        self.on_gpu, self._clock = device.type == "cuda", clock
        self._device = device

    def mark(self) -> Any:
        if not self.on_gpu:
            _wait(self._device)
            return self._clock()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Until the device has done all that it was told."""
        _wait(self._device)

    def between(self, begin: Any, end: Any) -> float:
        """Seconds; after `wait`."""
        return float(begin.elapsed_time(end) / 1000 if self.on_gpu else end - begin)


def _wait(device: torch.device) -> None:
    wait = getattr(getattr(torch, device.type, None), "synchronize", None)
    if device.type != "cpu" and wait is not None:
        wait()
