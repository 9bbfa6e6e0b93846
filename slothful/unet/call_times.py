"""How long a U-Net's calls take, read when all of them are done: nothing waits for the device."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.cost import MadeCall
from ..planning.site import LATENT_FACTOR
from .application import Application
from .calls import Args, Kwargs, tensor_in
from .foreign import OwnHook


class CallTimes:
    """Times the calls of the U-Net that an `Application` follows, what the application does
    included, and notes what was done in them.
    """

    def __init__(self, application: Application):
        self._application = application
        self._handles: list[RemovableHandle] = []
        self._begun: Any = None
        self._spans: list[tuple[Any, Any]] = []
        self._calls: list[MadeCall] = []

    def follow(self, unet: nn.Module) -> None:
        """Move to a U-Net, after the application has."""
        self.release()
        before, after = OwnHook(self._before), OwnHook(self._after)
        # outside of whatever is applied
        self._handles = [
            unet.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
            unet.register_forward_hook(after),
        ]

    def release(self) -> None:
        """Remove the hooks from the U-Net."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._begun = [], None

    def take_calls(self) -> list[MadeCall]:
        """The calls that were made since this was last asked."""
        own, self._calls = self._calls, []
        # where something may sleep, the application knows more
        return self._application.take_calls() or own

    def take_seconds(self) -> float:
        """What they took together. Waits for the device."""
        spans, self._spans = self._spans, []
        if any(isinstance(end, torch.cuda.Event) for _, end in spans):
            torch.cuda.synchronize()
        return sum(_between(*span) for span in spans)

    def _before(self, unet: nn.Module, args: Args, kwargs: Kwargs) -> None:
        self._begun = _mark(next(each for each in (*args, *kwargs.values()) if _is_tensor(each)))

    def _after(self, unet: nn.Module, args: Args, answer: Any) -> None:
        output, begun = tensor_in(answer), self._begun
        self._begun = None
        if begun is None or output.ndim != 4:
            return
        self._spans.append((begun, _mark(output)))
        rows, _, height, width = output.shape
        size = width * LATENT_FACTOR, height * LATENT_FACTOR
        self._calls.append(MadeCall(size, rows, dict(self._application.plans)))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _mark(tensor: torch.Tensor) -> Any:
    if tensor.device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(tensor.device))
    return event


def _between(begin: Any, end: Any) -> float:
    if isinstance(end, torch.cuda.Event):
        return float(begin.elapsed_time(end)) / 1000
    return float(end - begin)
