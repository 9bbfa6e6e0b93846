"""What a sleeping block returns where nobody will look at it: a tensor that has a shape alone."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils._pytree import tree_map


class Asleep(torch.Tensor):
    """A tensor of a shape, dtype and device without values. What is done with it starts no kernel
    and gives another one of the right shape, so that skip connections, ControlNet's residuals and
    the like pass through blocks that sleep.
    """

    @staticmethod
    def __new__(
        cls, shape: torch.Size, dtype: torch.dtype, device: torch.device, strides: Any = None
    ) -> Asleep:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, shape, strides=strides, dtype=dtype, device=device
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Asleep({tuple(self.shape)}, {self.dtype}, {self.device})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.cat.default:  # what a U-Net does most, so without a detour
            return _cat(*args, **(kwargs or {}))
        device = next(
            value.device
            for value in (*args, *(kwargs or {}).values(), *_inside(args))
            if isinstance(value, cls)
        )

        def without_values(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return torch.empty_strided(
                    value.shape, value.stride(), dtype=value.dtype, device="meta"
                )
            return torch.device("meta") if isinstance(value, torch.device) else value

        def like(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return cls(value.shape, value.dtype, device, value.stride())
            return value

        result = func(*tree_map(without_values, args), **tree_map(without_values, kwargs or {}))
        return tree_map(like, result)


def _inside(args: Any) -> list[Any]:
    """What the lists among the arguments hold, as of `cat`."""
    return [item for value in args if isinstance(value, (list, tuple)) for item in value]


def _cat(tensors: list[torch.Tensor], dim: int = 0) -> Asleep:
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
    return Asleep(torch.Size(shape), dtype, tensors[0].device)
