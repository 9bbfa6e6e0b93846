"""Tensors made on the host, on their way to a device."""

from __future__ import annotations

import functools

import torch


def to_device(
    tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """A tensor of the host on a device, of its own or another dtype.

    CUDA is not waited for: from ordinary memory it has read all before it returns.
    """
    return tensor.to(device, dtype or tensor.dtype, non_blocking=device.type == "cuda")


# kept on the device, so that a step sends nothing there
@functools.lru_cache(maxsize=256)
def numbers(count: int, device: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """0 to count - 1: (count,)."""
    return torch.arange(count, device=device, dtype=dtype)


def together(parts: list[torch.Tensor], dim: int = 1) -> torch.Tensor:
    """The parts one after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)
