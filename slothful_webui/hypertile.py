"""Where the webui's own HyperTile splits a self-attention, and how ours makes room."""

from __future__ import annotations

import math
from typing import Any

HYPERTILE = "the webui's HyperTile is used there"

LEAST_TILE = 128
"""HyperTile never makes smaller tiles, in pixels."""


def hypertile_acts(attention: Any, grid: tuple[int, int]) -> str | None:
    """Why HyperTile keeps ours off an attention over a grid of (height, width) tokens.

    It splits x below our hooks and would not fit reduced keys, and nothing shall be tiled twice.
    None where it is switched off or its smallest tile is the whole grid.
    """
    parameters = getattr(attention, "__webui_hypertile_params", None)
    if not getattr(parameters, "enabled", False):
        return None
    is_unet = hasattr(attention, "to_q")
    if is_unet:
        grid = _guessed_grid(grid[0] * grid[1], parameters.aspect_ratio)
    tile = max(LEAST_TILE, parameters.tile_size) // 8
    # it asks for larger tiles, in tokens, at deeper levels
    tile *= 2**parameters.depth if is_unet else 1
    splits = any(_most_tiles(length, tile) > 1 for length in grid)
    return HYPERTILE if splits else None


def _most_tiles(length: int, least: int) -> int:
    """How many tiles of at least `least` tokens evenly divide an axis of `length` tokens.

    At random it makes fewer from call to call, where it may choose among several numbers.
    """
    tile = next(size for size in range(min(least, length), length + 1) if length % size == 0)
    return length // tile


def _guessed_grid(tokens: int, aspect_ratio: float) -> tuple[int, int]:
    """The grid that HyperTile takes `tokens` for, which for images that are not square is not the
    true one: from the number of tokens and the image's width / height.
    """
    first, second = round(math.sqrt(tokens * aspect_ratio)), round(math.sqrt(tokens / aspect_ratio))
    for length in (first, second):
        if length and tokens % length == 0:
            return length, tokens // length
    divisors = [length for length in range(2, tokens + 1) if tokens % length == 0]
    closest = min(divisors, key=lambda length: abs(tokens / length / length - aspect_ratio))
    return closest, tokens // closest
