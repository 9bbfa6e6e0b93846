"""What the methods have in common: a U-Net whose calls are counted and answered otherwise."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from slothful.unet.replaced_forward import Forward, ReplacedForward

Own = TypeVar("Own", bound="Rival")


class Rival(abc.ABC):
    """A method at work on a U-Net of ldm while the context lasts.

    `index` is the number of the next call in the pass, from 0; it counts by itself and may be set.
    Each call of a second-order sampler counts, as it does in the methods' own pipelines.
    """

    def __init__(self, unet: nn.Module):
        self.unet: Any = unet
        self.calls = self.index = 0
        self._replaced: list[ReplacedForward] = []

    def begin_pass(self, calls: int) -> None:
        """A pass of so many calls of the U-Net begins; what was kept is of another picture."""
        self.calls, self.index = calls, 0
        self._forget()

    @abc.abstractmethod
    def kinds(self, calls: int) -> list[str]:
        """What is computed in each call of a pass, in a word: calls of one word cost the same."""

    @abc.abstractmethod
    def _forget(self) -> None:
        """Begin anew."""

    @abc.abstractmethod
    def _answer(self, latent: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The output of call `index`; `_plain` computes it as the U-Net does."""

    def __enter__(self: Own) -> Own:
        self._plain: Forward = self._replace(self.unet, self._counted)
        return self

    def __exit__(self, *error: object) -> None:
        for replaced in reversed(self._replaced):
            replaced.remove()
        self._replaced.clear()
        self._forget()

    def _counted(self, latent: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.index >= self.calls:
            raise RuntimeError(f"call {self.index + 1} of a pass of {self.calls}: see begin_pass")
        output = self._answer(latent, *args, **kwargs)
        self.index += 1
        return output

    def _replace(self, module: nn.Module, forward: Callable[..., Any]) -> Forward:
        """Put a `forward` in place of a module's until the context ends; the one before."""
        before: Forward = module.forward
        self._replaced.append(ReplacedForward(module, forward))
        return before
