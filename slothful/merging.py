"""Token merging: the most similar tokens of a block become one, by tomesd's own matching."""

from __future__ import annotations

import dataclasses
import functools

import torch

from slothful.groups import groups_of
from slothful.settings import Settings, SettingsError, merge_limit


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
        # drawn on the CPU, so that a picture does not depend on the device
        generator = torch.Generator().manual_seed((seed or 0) + layer)
        self._merge, unmerge = _matching()(
            tokens,
            w=merging.grid[1],
            h=merging.grid[0],
            sx=merging.stride[1],
            sy=merging.stride[0],
            r=merging.count,
            no_rand=seed is None or odd,
            generator=generator,
        )
        places = torch.arange(merging.left, device=tokens.device)[:, None]
        self._joined = unmerge(places.expand(len(tokens), -1, -1))
        self._groups = None
        if tokens.device.type == "cuda":  # where tomesd's own sums differ from time to time
            self._groups = groups_of(self._joined[..., 0], merging.left, tokens.dtype)

    def merge(self, tokens: torch.Tensor) -> torch.Tensor:
        """The means of those that are together: (batch, tokens, channels) ->
        (batch, tokens left, channels).
        """
        return self._groups.means(tokens) if self._groups else self._merge(tokens)

    def unmerge(self, merged: torch.Tensor) -> torch.Tensor:
        """To each token what those that it is merged with have: the inverse of `merge`."""
        return merged.gather(1, self._joined.expand(-1, -1, merged.shape[-1]))

    def log_sizes(self) -> torch.Tensor:
        """Logarithm of the number of tokens in each that is left: (batch, tokens left)."""
        ones = torch.ones_like(self._joined, dtype=torch.float32)
        return self._merge(ones, mode="sum").squeeze(-1).log()


@functools.cache
def _matching():
    """tomesd's matching; imported when first used, as the other methods do without."""
    try:
        from tomesd.merge import bipartite_soft_matching_random2d
    except ImportError as error:
        raise SettingsError(
            "method Token Merging needs the package tomesd, which the webui installs"
        ) from error
    return bipartite_soft_matching_random2d
