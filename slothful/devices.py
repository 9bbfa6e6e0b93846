"""Tensors made on the host, on their way to a device."""

from __future__ import annotations

import torch


def sent(
    tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """A tensor of the host on a device, of its own or another dtype.

    CUDA is not waited for: from ordinary memory it has read all before it returns.
    """
    return tensor.to(device, dtype or tensor.dtype, non_blocking=device.type == "cuda")
