"""Agent attention: few agents ask all keys, and all queries ask the agents."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..planning.reduction import Reduction
from .group_means import Groups
from .pooling import reduce_tokens


def pooled_queries(
    queries: torch.Tensor, reduction: Reduction, groups: Groups | None
) -> torch.Tensor:
    """The agents of a reduction: (batch, tokens, inner) -> (batch, agents, inner). `groups` where
    it merges.
    """
    return reduce_tokens(queries, reduction)[0] if groups is None else groups.means(queries)


def seen_by(agents: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What agents and what they see, softmax(A K') V, in one tensor: (batch, heads, agents,
    2 channels). All arguments are (batch, heads, tokens, channels).
    """
    seen = F.scaled_dot_product_attention(agents, key, value)
    return torch.cat([agents, seen], dim=-1)


def asked_of(query: torch.Tensor, dictionary: torch.Tensor) -> torch.Tensor:
    """softmax(Q A') of what `seen_by` gave: (batch, heads, tokens, channels)."""
    agents, seen = dictionary.chunk(2, dim=-1)
    return F.scaled_dot_product_attention(query, agents, seen)
