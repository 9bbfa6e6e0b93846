"""Attention in which some keys weigh more than others."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .devices import together

SCORES = 2**27
"""The most that are computed at a time where torch has no kernel for attention with a bias, as in
version 2.0, on AMD's GPUs or on MPS: it holds them all."""

MANY_KEYS = 2048
"""From this number on, a GPU is faster without a bias, at one more copy of what attends."""

_KNOWS_BIAS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 1)
"""Whether torch's memory-efficient kernel takes one; to ask at every site takes time."""


def weighted_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, log_weights: torch.Tensor
) -> torch.Tensor:
    """Attention over (batch, heads, tokens, channels), each key's `log_weights` (batch, keys) added
    to its scores, in the fastest way that the device has.
    """
    if not _has_kernel(query.device):
        return attention_with_bias(query, key, value, log_weights, in_parts=True)
    if key.shape[2] < MANY_KEYS:
        return attention_with_bias(query, key, value, log_weights)
    return attention_with_channel(query, key, value, log_weights)


def attention_with_bias(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    log_weights: torch.Tensor,
    *,
    in_parts: bool = False,
) -> torch.Tensor:
    """Attention over (batch, heads, tokens, channels), each key's `log_weights` (batch, keys) added
    to its scores; `in_parts`, at most `SCORES` at a time.
    """
    bias = log_weights[:, None, None]
    rows = query.shape[2]
    if in_parts:
        rows = max(1, SCORES // (len(query) * query.shape[1] * key.shape[2]))
    parts = [
        F.scaled_dot_product_attention(part, key, value, attn_mask=bias)
        for part in query.split(rows, dim=2)
    ]
    return together(list(parts), dim=2)


def attention_with_channel(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, log_weights: torch.Tensor
) -> torch.Tensor:
    """The same: a channel more, of ones in the queries, adds the weights. For torch 2.1 or newer.

    The fastest kernels take no bias, and channels in eights. Source: this project.
    """
    channels = query.shape[-1]
    more = (0, 8 - channels % 8)
    scale = channels**-0.5
    key = F.pad(key, more)
    key[..., channels] = log_weights[:, None] / scale
    query, value = F.pad(query, more, value=1.0), F.pad(value, more)
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :channels]


def _has_kernel(device: torch.device) -> bool:
    """Whether torch computes attention with a bias without holding all scores."""
    nvidia = device.type == "cuda" and torch.version.cuda is not None
    # switched off by an optimization that must not use it ("sdp-no-mem")
    return nvidia and torch.backends.cuda.mem_efficient_sdp_enabled() and _KNOWS_BIAS
