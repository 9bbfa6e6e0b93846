"""Attention in which some keys weigh more than others."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from slothful.foreign import OwnHook

SCORES = 2**27
"""At most so many are computed at a time where torch has no kernel for attention with a bias, as
in version 2.0, on AMD's GPUs or on MPS: it holds them all."""

MANY_KEYS = 2048
"""From so many on, a GPU is faster without a bias, at one more copy of what attends."""

_KNOWS_BIAS = torch.__version__ >= (2, 1)
"""Whether torch's memory-efficient kernel takes one; to ask at every site takes time."""


class WeightedAttention:
    """Hooks on an attn1 that answer in the place of the active optimization while `log_weights` is
    set: a (batch, keys) tensor, the logarithm of each key's weight; minus infinity hides a key.

    None of the webui's optimizations takes a bias for the scores. So the active one gets a single
    token to work on, and its answer is replaced by that of torch's own attention over what to_q,
    to_k and to_v gave. Source: proportional attention (Token Merging, Bolya et al., 2023).
    """

    def __init__(self, attention: nn.Module):
        self.attention = attention
        self.log_weights: torch.Tensor | None = None
        self._projected: dict[str, torch.Tensor] = {}

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on, after all that change what is projected; the handles remove them."""
        attention = self.attention
        handles = [
            getattr(attention, name).register_forward_hook(
                OwnHook(functools.partial(self._keep, name))
            )
            for name in ("to_q", "to_k", "to_v")
        ]
        # its first layer, because the webui's optimizations call the layers one by one
        before = OwnHook(self._before_output)
        handles.append(attention.to_out[0].register_forward_pre_hook(before))
        return handles

    def _keep(
        self, name: str, projection: nn.Module, args: tuple, projected: torch.Tensor
    ) -> torch.Tensor | None:
        if self.log_weights is None:
            return None
        self._projected[name] = projected
        return projected[:, :1]

    def _before_output(self, layer: nn.Module, args: tuple) -> tuple | None:
        if self.log_weights is None:
            return None
        query, key, value = (self._heads_of(name) for name in ("to_q", "to_k", "to_v"))
        log_weights, self.log_weights = self.log_weights.to(query.dtype), None
        if not _has_kernel(query.device):
            answers = attention_with_bias(query, key, value, log_weights, in_parts=True)
        elif key.shape[2] < MANY_KEYS:
            answers = attention_with_bias(query, key, value, log_weights)
        else:
            answers = attention_with_channel(query, key, value, log_weights)
        return (answers.transpose(1, 2).flatten(2), *args[1:])

    def _heads_of(self, name: str) -> torch.Tensor:
        """What was projected: (batch, tokens, inner) -> (batch, heads, tokens, channels)."""
        projected = self._projected.pop(name)
        batch, tokens, _ = projected.shape
        # a plain view, as this is done for every layer: einops and unflatten take longer
        return projected.view(batch, tokens, self.attention.heads, -1).transpose(1, 2)


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
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


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
    # switched off while the webui's "sdp-no-mem" computes
    return nvidia and torch.backends.cuda.mem_efficient_sdp_enabled() and _KNOWS_BIAS
