"""What ours is compared with: the limit, and other methods, each as a context around a U-Net.

tomesd is the published package. The others are written here in their textbook form, as the
methods' descriptions give them: one attention at a time, by replacing its `forward`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from slothful import Moment, Settings, Site, find_sites, site_strength


@contextlib.contextmanager
def floor(unet: nn.Module) -> Iterator[None]:
    """Self-attention without attention: to_out(to_q(x)). No method that keeps all queries can be
    faster.
    """
    with replaced(unet, lambda site, module, x, grid, attend: module.to_out(module.to_q(x))):
        yield


@contextlib.contextmanager
def merged_tokens(unet: nn.Module, ratio: float = 0.5) -> Iterator[None]:
    """Token Merging for Stable Diffusion (Bolya and Hoffman, 2023), the package's own patch."""
    import tomesd

    class _Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.diffusion_model = unet

    holder = nn.Module()
    holder.model = _Wrapper()
    tomesd.apply_patch(holder, ratio=ratio)
    try:
        yield
    finally:
        tomesd.remove_patch(holder)


@contextlib.contextmanager
def plain_tiles(unet: nn.Module, tile_size: int, max_depth: int) -> Iterator[None]:
    """Tiles that see only themselves (HyperTile, tfernd): the largest that divide the grid."""

    def forward(site, module, x, grid, attend):
        if site.depth > max_depth:
            return attend(x)
        rows, columns = (_largest_divisor(length, tile_size) for length in grid)
        tiles = split(x, grid, rows, columns)
        return join(attend(tiles), grid, rows, columns)

    with replaced(unet, forward):
        yield


@contextlib.contextmanager
def downsampled_keys(unet: nn.Module, factor: int = 2, max_depth: int = 2) -> Iterator[None]:
    """Nearest-neighbour downsampling of keys and values (ToDo: Smith et al., 2024)."""

    def forward(site, module, x, grid, attend):
        if site.depth > max_depth:
            return attend(x)
        picture = x.transpose(1, 2).unflatten(2, grid)
        size = tuple(max(1, length // factor) for length in grid)
        context = F.interpolate(picture, size, mode="nearest").flatten(2).transpose(1, 2)
        return attend(x, context)

    with replaced(unet, forward):
        yield


@contextlib.contextmanager
def textbook(unet: nn.Module, settings: Settings, moment: Moment) -> Iterator[None]:
    """Our methods as their description reads, for 2D_AVG, blends of 0 and the first token kept:
    pad, split, pick the shared keys outside every tile, concatenate, project.
    """
    sizes = (settings.base_tile_size, settings.peak_tile_size)
    tiled = settings.method != "Slothful Attention"
    near = settings.method == "Near-sighted Attention"
    tile_size = sizes[1] if near else settings.tile_size
    ratio = settings.peak_global_ratio if near else settings.global_ratio

    def forward(site, module, x, grid, attend):
        if site.side == "middle":
            return attend(x)
        pools = settings.method != "Near-sighted Tile"
        strength = site_strength(settings, moment, site) if pools else 1.0
        depth_tiled = tiled and site.within(settings.tiling_max_depth)
        if not depth_tiled or max(grid) <= tile_size:
            return attend(x, _thinned(x, grid, strength)) if strength > 1 else attend(x)
        count_y, count_x = (math.ceil(length / tile_size) for length in grid)
        rows, columns = math.ceil(grid[0] / count_y), math.ceil(grid[1] / count_x)
        padded = (rows * count_y, columns * count_x)
        picture = x.transpose(1, 2).unflatten(2, grid)
        picture = F.pad(picture, (0, padded[1] - grid[1], 0, padded[0] - grid[0]))
        tiles = split(picture.flatten(2).transpose(1, 2), padded, rows, columns)
        local = _thinned(tiles, (rows, columns), strength)
        spacing = max(strength, 1.0) * count_y * count_x / ratio
        shared = _thinned(x, grid, spacing)[:, _outside_tiles(grid, spacing, (rows, columns))]
        answers = attend(tiles, torch.cat([local, shared.flatten(0, 1)], dim=1))
        joined = join(answers, padded, rows, columns).unflatten(1, padded)
        return joined[:, : grid[0], : grid[1]].flatten(1, 2)

    with replaced(unet, forward):
        yield


def _thinned(x: torch.Tensor, grid: tuple[int, int], strength: float) -> torch.Tensor:
    """Every n-th token, through a copy of the picture."""
    if strength <= 1:
        return x
    stride_y, stride_x = _stride(grid, strength)
    picture = x.transpose(1, 2).unflatten(2, grid)
    return picture[:, :, ::stride_y, ::stride_x].flatten(2).transpose(1, 2).contiguous()


def _stride(grid: tuple[int, int], strength: float) -> tuple[int, int]:
    stride_y = min(math.ceil(math.sqrt(strength)), grid[0])
    return stride_y, min(max(math.ceil(strength / stride_y), 1), grid[1])


@functools.lru_cache(maxsize=64)
def _outside_tiles(grid: tuple[int, int], spacing: float, tile: tuple[int, int]) -> list[list[int]]:
    """For each tile, which of the `_thinned` tokens lie outside it; as many for each, so that they
    are one batch: where a tile has fewer, tokens of its own are among them.
    """
    stride_y, stride_x = _stride(grid, spacing)
    tiles = [
        (y // tile[0], x // tile[1])
        for y in range(0, grid[0], stride_y)
        for x in range(0, grid[1], stride_x)
    ]
    count = len(tiles) - min(Counter(tiles).values())
    return [
        sorted(sorted(range(len(tiles)), key=lambda token: tiles[token] == own)[:count])
        for own in sorted(set(tiles))
    ]


def split(x: torch.Tensor, grid: tuple[int, int], rows: int, columns: int) -> torch.Tensor:
    """(batch, height * width, c) -> (batch * tiles, rows * columns, c)."""
    tiles = x.unflatten(1, (grid[0] // rows, rows, grid[1] // columns, columns))
    return tiles.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def join(x: torch.Tensor, grid: tuple[int, int], rows: int, columns: int) -> torch.Tensor:
    """The inverse of `split`."""
    tiles = x.unflatten(1, (rows, columns)).unflatten(0, (-1, grid[0] // rows, grid[1] // columns))
    return tiles.transpose(2, 3).flatten(1, 4)


def _largest_divisor(length: int, limit: int) -> int:
    return next(size for size in range(min(length, limit), 0, -1) if length % size == 0)


@contextlib.contextmanager
def replaced(unet: nn.Module, forward: Callable) -> Iterator[None]:
    """Give every attn1 a `forward` of its own: forward(site, module, x, grid, attend), where
    `attend(x, context=None)` is the attention as it was.
    """
    grids: dict[str, tuple[int, int]] = {}
    handles, modules = [], []

    def note(site: Site) -> Callable:
        def before(module: nn.Module, args: tuple) -> None:
            grids[site.name] = tuple(args[0].shape[-2:])

        return before

    def own(site: Site, module: nn.Module) -> Callable:
        def attend(x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            return type(module).forward(module, x, context=context)

        return lambda x, context=None, **_: forward(site, module, x, grids[site.name], attend)

    try:
        for found in find_sites(unet):
            handles.append(found.transformer.register_forward_pre_hook(note(found.site)))
            for module in found.attentions:
                module.forward = own(found.site, module)
                modules.append(module)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in modules:
            del module.forward
