"""How Triton's kernels are started: with less work for the host than Triton's own way."""

from __future__ import annotations

from typing import Any

import torch

Grid = tuple[int, int, int]

_COMPILED: dict[tuple[Any, ...], Any] = {}


def launch(
    kernel: Any,
    grid: Grid,
    tensors: tuple[torch.Tensor, ...],
    fixed: tuple[int, ...],
    changing: tuple[float, ...],
    constants: dict[str, int],
    **how: int,
) -> None:
    """Start a kernel, whose arguments are `tensors`, numbers for which it is compiled anew, numbers
    for which it is not, and constants; `how`: Triton's options, like `num_warps`.

    Triton looks at every argument at every start to find what it has compiled. That is remembered
    here by what decides it, the constants in the order of the kernel.
    """
    device = tensors[0].device.index
    dtypes = [tensor.dtype for tensor in tensors]
    key = (kernel, device, *dtypes, fixed, *constants.values(), *how.values())
    compiled = _COMPILED.get(key)
    if compiled is not None and not any(tensor.data_ptr() % 16 for tensor in tensors):
        compiled[grid](*tensors, *fixed, *changing, *constants.values())
        return
    compiled = kernel[grid](*tensors, *fixed, *changing, **constants, **how)
    # what lies at odd places in memory was compiled for that
    if not any(tensor.data_ptr() % 16 for tensor in tensors):
        _COMPILED[key] = compiled
