"""A call of the U-Net of which nothing is computed, for its answer is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from .calls import Args, tensor_in, wrapping_of
from .memory import CallKey
from .replaced_forward import ReplacedForward
from .sleeping_parts import Call, DeepPart, Making


class Silence(DeepPart):
    """All of the U-Net, in calls that give what they are told."""

    def __init__(self, making: Making):
        blocks = [] if making.is_flat else making.anatomy.all_modules
        super().__init__(blocks, [], making)
        self._answer: torch.Tensor | None = None
        self._handles: list[RemovableHandle] = []
        # of each block, by the size of the latent: shape, of which rows, and dtype
        self._gave: dict[tuple[Any, ...], tuple[torch.Size, int, torch.dtype]] = {}

    def listen(self, call: Call) -> None:
        """Learn the shapes of what blocks give in calls of this size, should one be computed."""
        if not self._handles:  # only where there are such calls, for every hook takes time
            self._handles = self.register()
        self.wake(call, wanted=True)

    def fall(self, call: Call, answer: torch.Tensor) -> bool:
        """The call gives `answer`, (rows, channels, height, width). False, and nothing done, where
        no call of this size has been computed.
        """
        count = len(self._blocks)
        if not count or any((_size_of(call.key), i) not in self._gave for i in range(count)):
            return False
        self._call, self._answer = None, answer
        self._replaced = [ReplacedForward(*pair) for pair in self._forwards(call)]
        return True

    def release(self) -> None:
        """Take off the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _after(self, index: int, block: nn.Module, args: Args, answer: Any) -> None:
        if self._call is not None:
            key, output = self._call.key, tensor_in(answer)
            self._wrappings[index] = wrapping_of(answer)
            self._gave[_size_of(key), index] = output.shape, key.shape[0], output.dtype

    def _shape_of(self, index: int, key: CallKey) -> tuple[torch.Size, torch.dtype]:
        shape, rows, dtype = self._gave[_size_of(key), index]
        return torch.Size([key.shape[0], *shape[1:]]) if shape[0] == rows else shape, dtype

    def _last(self, call: Call) -> torch.Tensor:
        assert self._answer is not None
        return self._answer


def _size_of(key: CallKey) -> tuple[Any, ...]:
    return (*key.shape[1:], key.dtype, key.device)
