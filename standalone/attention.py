"""Attention optimizations for ldm's CrossAttention, switched as the webui switches them: by
replacing the class's `forward`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

with contextlib.redirect_stdout(io.StringIO()):  # ldm prints that it does without xformers
    from ldm.modules.attention import CrossAttention

FEW_SCORES = 1024 * 77
"""Scores of a head up to which plain products beat PyTorch's fused kernel, in bfloat16 on a CPU (by
1.3 to 6 times, forwards and backwards, at 8 channels a head): training of the small model."""


def sdpa_forward(
    self: nn.Module,
    x: torch.Tensor,
    context: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    **kwargs: object,
) -> torch.Tensor:
    """PyTorch's scaled dot product attention: x (batch, tokens, channels), any context length."""
    context = x if context is None else context
    projected = self.to_q(x), self.to_k(context), self.to_v(context)
    query, key, value = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in projected)
    answers = _attend(query, key, value)
    return self.to_out(rearrange(answers, "b h n d -> b n (h d)"))


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention over (batch, heads, tokens, channels of a head)."""
    few = query.shape[2] * key.shape[2] <= FEW_SCORES
    if few and query.dtype is torch.bfloat16 and query.device.type == "cpu":
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.softmax(-1, dtype=query.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)


@contextlib.contextmanager
def sdpa_attention() -> Iterator[None]:
    """While the context lasts, every CrossAttention computes with `sdpa_forward`."""
    with attention_by(sdpa_forward):
        yield


@contextlib.contextmanager
def attention_by(forward: Callable) -> Iterator[None]:
    """While the context lasts, `forward` is every CrossAttention's."""
    before = CrossAttention.forward
    CrossAttention.forward = forward
    try:
        yield
    finally:
        CrossAttention.forward = before
