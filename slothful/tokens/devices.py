"""Tensors made on the host, on their way to a device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch

Given = ParamSpec("Given")
Made = TypeVar("Made")


def kept_tensors(most: int) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Keep the tensors that a function makes, the last `most` of them, for any call: those that
    are made in inference mode could not be used in one with gradients.
    """

    def keeping(make: Callable[Given, Made]) -> Callable[Given, Made]:
        kept = functools.lru_cache(maxsize=most)(torch.inference_mode(False)(make))
        return cast("Callable[Given, Made]", kept)

    return keeping


def to_device(
    tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """A tensor of the host on a device, of its own or another dtype.

    CUDA is not waited for: from ordinary memory it has read all before it returns.
    """
    return tensor.to(device, dtype or tensor.dtype, non_blocking=device.type == "cuda")


# kept on the device, so that a step sends nothing there
@kept_tensors(256)
def numbers(count: int, device: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """0 to count - 1: (count,)."""
    return torch.arange(count, device=device, dtype=dtype)


def together(parts: list[torch.Tensor], dim: int = 1) -> torch.Tensor:
    """The parts one after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)
