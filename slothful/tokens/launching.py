"""How Triton's kernels are started: with less work for the host than Triton's own way."""

from __future__ import annotations

from typing import Any

import torch

Grid = tuple[int, int, int]

OTHERWISE = (TypeError, ValueError, AttributeError)
"""What a Triton raises that wants to be asked in another way."""

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
    # what lies at odd places in memory is compiled for that
    even = not any(tensor.data_ptr() % 16 for tensor in tensors)
    compiled = _COMPILED.get(key)
    if compiled is not None and even:
        try:
            compiled[grid](*tensors, *fixed, *changing, *constants.values())
            return
        except OTHERWISE:
            _COMPILED[key] = None
    compiled = kernel[grid](*tensors, *fixed, *changing, **constants, **how)
    if even and key not in _COMPILED:
        _COMPILED[key] = compiled
