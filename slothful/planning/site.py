"""A site as a value: where in a U-Net a self-attention is, and how large."""

from __future__ import annotations

import dataclasses

LATENT_FACTOR = 8
"""Pixels of the image along one side of a latent position."""

Grid = tuple[int, int]
"""(height, width) in tokens."""


@dataclasses.dataclass(frozen=True)
class Site:
    """The self-attention of one block of a U-Net.

    `name` is the one that users of block weights know (IN01 ... M00 ... OUT11), `index` its place
    in the forward pass. `level` is the downsampling factor against the latent (1, 2, 4, 8), `depth`
    the level relative to the finest one with self-attention in this model. Its attentions, one in
    each of `layers`, have so many `heads`, over tokens of so many `channels` and projections of so
    many `inner` ones (all heads). `inside`: how many blocks of the U-Net come before its block, or
    after it if it is an output block; the middle block lies inside all of them.
    """

    name: str
    index: int
    level: int
    depth: int
    channels: int
    inner: int
    heads: int
    layers: int = 1
    inside: int = 0

    @property
    def side(self) -> str:
        """ "in", "middle" or "out"; layers of flat models (B00) are "in"."""
        return {"I": "in", "B": "in", "M": "middle", "O": "out"}[self.name[0]]

    @property
    def third(self) -> int:
        """0 on the finest level with self-attention, 1 on the next, 2 on all others."""
        # the middle block of SD1 and SD2 is at depth 8, which shares a number with depth 4
        return min(self.depth.bit_length(), 3) - 1

    def within(self, levels: int) -> bool:
        """Whether it is on one of the finest `levels` with self-attention."""
        return self.depth < 1 << levels


def grid_of(width: int, height: int, level: int) -> Grid:
    """The grid at a level of an image of (width, height) pixels; each halving rounds up."""
    rows, columns = height // LATENT_FACTOR, width // LATENT_FACTOR
    while level > 1:
        rows, columns, level = (rows + 1) // 2, (columns + 1) // 2, level // 2
    return rows, columns
