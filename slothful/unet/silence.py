"""A call of the U-Net of which nothing is computed, for its answer is known."""

from __future__ import annotations

import torch
from torch.utils.hooks import RemovableHandle

from .replaced_forward import ReplacedForward
from .sleeping_parts import Call, DeepPart, Making


class Silence(DeepPart):
    """All of the U-Net, in calls that give what they are told."""

    def __init__(self, making: Making):
        blocks = [] if making.is_flat else making.anatomy.all_modules
        super().__init__(blocks, [], making)
        self._answer: torch.Tensor | None = None
        self._handles: list[RemovableHandle] = []

    def listen(self, call: Call) -> None:
        """Learn the shapes of what blocks give in such a call, should it be computed."""
        if not self._handles:  # only where there are such calls, for every hook takes time
            self._handles = self.register()
        self.wake(call, wanted=True)

    def fall(self, answer: torch.Tensor) -> bool:
        """The call that is listened to gives `answer`, (rows, channels, height, width). False, and
        nothing done, where no such call has been computed.
        """
        call = self._call
        if call is None or not self._blocks:
            return False
        if any((call.key, index) not in self._shapes for index in range(len(self._blocks))):
            return False
        self._call, self._answer = None, answer
        self._replaced = [ReplacedForward(*pair) for pair in self._forwards(call)]
        return True

    def release(self) -> None:
        """Take off the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _keep(self, name: str, value: torch.Tensor) -> None:
        """Shapes are enough."""

    def _kept_of(self, output: torch.Tensor, call: Call) -> torch.Tensor:
        return output

    def _last(self, call: Call) -> torch.Tensor:
        assert self._answer is not None
        return self._answer
