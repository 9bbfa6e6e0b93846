"""Answers of cross-attention, moved away from those to a negative prompt."""

from __future__ import annotations

import torch

_LEAST = 1e-6
"""Norms of which nothing is left are taken for this much."""


def guided(
    positive: torch.Tensor, negative: torch.Tensor, scale: float, tau: float, alpha: float
) -> torch.Tensor:
    """Answers (batch, tokens, channels) to the prompt, moved by `scale` away from those to the
    negative prompt: not beyond `tau` times their own norm, and only a part `alpha` of it.

    Source: Normalized Attention Guidance (Chen et al., 2025): G = s Z+ - (s - 1) Z-, its L1 norm
    per token at most tau times that of Z+, and alpha G + (1 - alpha) Z+ in the place of Z+.
    """
    moved = torch.lerp(negative, positive, scale)
    before, after = (each.abs().sum(-1, True, dtype=torch.float32) for each in (positive, moved))
    kept = (tau * before / after.clamp_min(_LEAST)).clamp_max(1.0)
    return torch.lerp(positive, moved * kept.to(moved.dtype), alpha)
