"""Methods that are not ours, around a U-Net: what the study compares with."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch.nn.functional as F
from torch import nn

from benchmarks.speed.peers import (
    downsampled_keys,
    join,
    merged_tokens,
    plain_tiles,
    replaced,
    split,
)

Peer = Callable[[nn.Module], contextlib.AbstractContextManager]


@contextlib.contextmanager
def padded_tiles(unet: nn.Module, tile_size: int) -> Iterator[None]:
    """Tiles of exactly `tile_size` at the finest level, over a grid filled up with zeros.

    As the ComfyUI original tiles. The zeros become keys (a projection without bias keeps them
    zero), and a zero key still gets its share of the softmax: the reason why ours does not pad.
    """

    def forward(site, module, x, grid, attend):
        if site.depth > 1 or max(grid) <= tile_size:
            return attend(x)
        height, width = (-(-length // tile_size) * tile_size for length in grid)
        picture = x.transpose(1, 2).unflatten(2, grid)
        picture = F.pad(picture, (0, width - grid[1], 0, height - grid[0]))
        tiles = split(picture.flatten(2).transpose(1, 2), (height, width), tile_size, tile_size)
        answers = join(attend(tiles), (height, width), tile_size, tile_size)
        return answers.unflatten(1, (height, width))[:, : grid[0], : grid[1]].flatten(1, 2)

    with replaced(unet, forward):
        yield


PEERS: dict[str, Peer] = {
    "tomesd 0.25": functools.partial(merged_tokens, ratio=0.25),
    "tomesd 0.5": merged_tokens,
    "tile only 16": functools.partial(plain_tiles, tile_size=16, max_depth=1),
    "downsampled keys 2": functools.partial(downsampled_keys, max_depth=1),
    "downsampled keys 3": functools.partial(downsampled_keys, factor=3, max_depth=1),
    "zero-padded tiles 24": functools.partial(padded_tiles, tile_size=24),
}
"""tomesd is the published package; the others are this project's textbook forms of tile-only
attention (HyperTile) and nearest-neighbour downsampling (ToDo). All act at every step alike."""
