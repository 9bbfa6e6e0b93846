"""Ways to compute attention, as the webui offers them: each a context in which ldm uses it."""

from __future__ import annotations

import torch
from einops import rearrange

from standalone.attention import attention_by, sdpa_attention

SLICE_SCORES = 2**25
"""Scores that the sliced form computes at once."""


def _sliced_forward(self, x, context=None, mask=None, **kwargs):
    """The split kind (Doggettx, sub-quadratic): plain products in slices of the queries."""
    context = x if context is None else context
    projected = self.to_q(x), self.to_k(context), self.to_v(context)
    query, key, value = (rearrange(t, "b n (h d) -> (b h) n d", h=self.heads) for t in projected)
    rows = max(1, SLICE_SCORES // (key.shape[0] * key.shape[1]))
    answers = torch.cat([
        torch.softmax(part @ key.transpose(1, 2) * self.scale, dim=-1) @ value
        for part in query.split(rows, dim=1)
    ], dim=1)  # fmt: skip
    return self.to_out(rearrange(answers, "(b h) n d -> b n (h d)", h=self.heads))


def _xformers_forward(self, x, context=None, mask=None, **kwargs):
    import xformers.ops

    context = x if context is None else context
    projected = self.to_q(x), self.to_k(context), self.to_v(context)
    query, key, value = (rearrange(t, "b n (h d) -> b n h d", h=self.heads) for t in projected)
    answers = xformers.ops.memory_efficient_attention(query, key, value)
    return self.to_out(rearrange(answers, "b n h d -> b n (h d)"))


BACKENDS = {
    "sdpa": sdpa_attention,
    "sliced": lambda: attention_by(_sliced_forward),
    "xformers": lambda: attention_by(_xformers_forward),
}
"""By name: PyTorch's fused kernels, slices, and xformers (which must be installed)."""
