"""Token merging: the most similar tokens of a block become one, by the matching of tomesd."""

from __future__ import annotations

import dataclasses

import torch

from slothful.groups import groups_of
from slothful.settings import Settings, merge_limit
from slothful.token_match import deal_tokens, pair_tokens


@dataclasses.dataclass(frozen=True)
class Merging:
    """How many tokens of a grid are merged away, and before which parts of a block.

    One token of each `stride` (rows, columns) is a destination: the first, or one that `seed`
    chooses. The `count` other tokens that are most like a destination are merged into it. With
    `keys_only`, self-attention keeps its queries; with `proportional`, a merged key has the weight
    of the tokens in it. Source: Token Merging for Stable Diffusion (Bolya and Hoffman, 2023); the
    last two: Token Merging (Bolya et al., 2023) for the weight, this project for the keys.
    """

    grid: tuple[int, int]
    count: int
    stride: tuple[int, int]
    seed: int | None
    attention: bool
    cross: bool
    mlp: bool
    keys_only: bool
    proportional: bool

    @property
    def left(self) -> int:
        """Tokens that are left."""
        return self.grid[0] * self.grid[1] - self.count

    @property
    def destinations(self) -> int:
        """Tokens into which others can be merged."""
        return (self.grid[0] // self.stride[0]) * (self.grid[1] // self.stride[1])


def plan_merging(
    settings: Settings, grid: tuple[int, int], ratio: float, seed: int
) -> Merging | None:
    """The merging of `ratio` of a grid's tokens, None where that is none of them.

    A ratio over the limit of the strides is clamped to it, as weights of blocks can lead there;
    strides that are longer than the grid are clamped to it.
    """
    tokens = grid[0] * grid[1]
    stride = min(settings.merge_stride_y, grid[0]), min(settings.merge_stride_x, grid[1])
    merging = Merging(
        grid,
        int(tokens * min(ratio, merge_limit(settings))),
        stride,
        seed if settings.merge_random else None,
        settings.merge_attention,
        settings.merge_cross,
        settings.merge_mlp,
        settings.merge_keys_only,
        settings.merge_proportional,
    )
    acts = merging.attention or merging.cross or merging.mlp
    # on a tiny grid there may be fewer others than destinations
    count = min(merging.count, tokens - merging.destinations)
    return dataclasses.replace(merging, count=count) if acts and count > 0 else None


class TokenMatch:
    """Which tokens of one block's input are merged into which."""

    def __init__(self, tokens: torch.Tensor, merging: Merging, layer: int):
        """`tokens`: (batch, tokens, channels), the block's input, by whose likeness is merged.
        `layer` counts the site's blocks, so that each has destinations of its own.

        Destinations are the first ones in an odd batch, where the prompted and the unprompted
        picture are not together (as in tomesd).
        """
        seed, odd = merging.seed, len(tokens) % 2 == 1
        # drawn on the CPU, so that an image does not depend on the device
        generator = None
        if seed is not None and not odd:
            generator = torch.Generator().manual_seed(seed + layer)
        self._sets = deal_tokens(merging.grid, merging.stride, generator, tokens.device)
        with torch.no_grad():
            self._pairs = pair_tokens(tokens, self._sets, merging.count)
        self._joined = self._numbers_of_those_left(merging)[..., None]
        self._groups = None
        if tokens.device.type == "cuda":  # where sums by atomic additions differ each time
            self._groups = groups_of(self._joined[..., 0], merging.left, tokens.dtype)

    def _numbers_of_those_left(self, merging: Merging) -> torch.Tensor:
        """Of each token, the number among those left of the one that it becomes a part of: first
        the others that stay, then the destinations. (batch, tokens)
        """
        (destinations, others), (merged, into, staying) = self._sets, self._pairs
        batch, stay = staying.shape
        numbers = torch.empty(
            batch, merging.grid[0] * merging.grid[1], dtype=torch.int64, device=into.device
        )
        places = torch.arange(merging.left, device=into.device).expand(batch, -1)
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
        ones = torch.ones_like(self._joined, dtype=torch.float32)
        return self._combine(ones, "sum").squeeze(-1).log()
