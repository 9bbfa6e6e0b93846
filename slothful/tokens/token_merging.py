"""Token merging: the most similar tokens of a layer become one, by the matching of tomesd."""

from __future__ import annotations

import torch

from ..planning.plan import Merge
from .group_means import groups_of
from .pairs import deal_tokens, pair_tokens


def adds_in_any_order(device: torch.device) -> bool:
    """Whether a device's sums of members differ each time: a GPU's atomic additions do."""
    return device.type == "cuda"


class TokenMatch:
    """Which tokens of one block's input are merged into which."""

    def __init__(self, tokens: torch.Tensor, plan: Merge, layer: int):
        """`tokens`: (batch, tokens, channels), the block's input, by whose likeness is merged.
        `layer` counts the site's blocks, so that each has destinations of its own.

        Destinations are the first ones in an odd batch, where the prompted and the unprompted
        image are not together (as in tomesd).
        """
        seed, odd = plan.seed, len(tokens) % 2 == 1
        # drawn on the CPU, so that an image does not depend on the device
        generator = None
        if seed is not None and not odd:
            generator = torch.Generator().manual_seed(seed + layer)
        self._sets = deal_tokens(plan.grid, plan.stride, generator, tokens.device)
        with torch.no_grad():
            self._pairs = pair_tokens(tokens, self._sets, plan.count)
        self._joined = self._numbers_of_those_left(plan)[..., None]
        self._groups = None
        if adds_in_any_order(tokens.device):
            self._groups = groups_of(self._joined[..., 0], plan.left, tokens.dtype)

    def _numbers_of_those_left(self, plan: Merge) -> torch.Tensor:
        """Of each token, the number among those left of the one that it becomes a part of: first
        the others that stay, then the destinations. (batch, tokens)
        """
        (destinations, others), (merged, into, staying) = self._sets, self._pairs
        batch, stay = staying.shape
        numbers = torch.empty(
            batch, plan.grid[0] * plan.grid[1], dtype=torch.int64, device=into.device
        )
        places = torch.arange(plan.left, device=into.device).expand(batch, -1)
        numbers[:, destinations] = places[:, stay:]
        numbers.scatter_(1, others[staying], places[:, :stay])
        return numbers.scatter_(1, others[merged], into + stay)

    def merge(self, tokens: torch.Tensor) -> torch.Tensor:
        """The means of those that are together: (batch, tokens, channels) ->
        (batch, tokens left, channels).
        """
        return self._groups.means(tokens) if self._groups else self._combine(tokens, "mean")

    def _combine(self, tokens: torch.Tensor, by: str) -> torch.Tensor:
        """Those that stay, then each destination with what is merged into it, by mean or sum."""
        (destinations, others), (merged, into, staying) = self._sets, self._pairs

        def taken(places: torch.Tensor) -> torch.Tensor:
            return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))

        into = into[..., None].expand(-1, -1, tokens.shape[-1])
        kept = tokens.index_select(1, destinations)
        joined = kept.scatter_reduce(1, into, taken(others[merged]), reduce=by)
        return torch.cat([taken(others[staying]), joined], dim=1)

    def unmerge(self, merged: torch.Tensor) -> torch.Tensor:
        """To each token what those that it is merged with have: the inverse of `merge`."""
        return merged.gather(1, self._joined.expand(-1, -1, merged.shape[-1]))

    def log_sizes(self) -> torch.Tensor:
        """Logarithm of the number of tokens in each that is left: (batch, tokens left)."""
        if self._groups:
            return self._groups.sizes.log()
        ones = torch.ones_like(self._joined, dtype=torch.float32)
        return self._combine(ones, "sum").squeeze(-1).log()
