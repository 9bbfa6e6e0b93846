"""Attention optimizations for ldm's CrossAttention, switched as the webui switches them: by
replacing the class's `forward`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

with contextlib.redirect_stdout(io.StringIO()):  # ldm prints that it does without xformers
    from ldm.modules.attention import CrossAttention


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
    answers = F.scaled_dot_product_attention(query, key, value)
    return self.to_out(rearrange(answers, "b h n d -> b n (h d)"))


@contextlib.contextmanager
def sdpa_attention() -> Iterator[None]:
    """While the context lasts, every CrossAttention computes with `sdpa_forward`."""
    before = CrossAttention.forward
    CrossAttention.forward = sdpa_forward
    try:
        yield
    finally:
        CrossAttention.forward = before
