"""Layers that are kept in single precision and compute in the precision of their input.

So a network trains in half precision without casting its activations again and again, and gives
what ldm and transformers give for an input in single precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Conv(nn.Conv2d):
    """A convolution."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, rows, columns) to the same."""
        assert self.bias is not None
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class Linear(nn.Linear):
    """A linear map of the last axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class GroupNorm(nn.GroupNorm):
    """SD1's normalization of images: 32 groups of channels."""

    def __init__(self, channels: int, eps: float):
        super().__init__(32, channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, rows, columns) to the same."""
        return F.group_norm(x, 32, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class LayerNorm(nn.LayerNorm):
    """Normalization of the last axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., channels) to the same."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all weights zero: a branch that begins as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, tokens, channels) to (batch, heads, tokens, channels / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: torch.Tensor) -> torch.Tensor:
    """The reverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)
