"""Pooling: tokens reduced to one a cell, on whatever device they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange

from ..planning.cells import AxisCells
from ..planning.reduction import Reduction
from .devices import kept_tensors, to_device
from .kept import kept_index


def reduce_tokens(tokens: torch.Tensor, reduction: Reduction) -> tuple[torch.Tensor, torch.Tensor]:
    """Key input and value input, each (batch, len(reduction), channels), of the same dtype.

    `tokens`: (batch, rows.length * columns.length, channels) in row order. Where both blends are
    equal, the same tensor is returned twice. What joins a kept token is not in it. Source: the
    original's blends (MitoshiroPJ), corrected so that a blend of 1 is the pool.
    """
    one = tokens.index_select(1, kept_index(reduction, tokens.device))
    if reduction.k_blend == reduction.v_blend == 0:
        return one, one
    pool = POOLS[reduction.pool](tokens, reduction)
    keys = _blend(one, pool, reduction.k_blend)
    same = reduction.k_blend == reduction.v_blend
    return keys, keys if same else _blend(one, pool, reduction.v_blend)


def _blend(one: torch.Tensor, pool: torch.Tensor, blend: float) -> torch.Tensor:
    return one if blend == 0 else pool if blend == 1 else torch.lerp(one, pool, blend)


def _average(tokens: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """The mean of each cell."""
    return _pool_rectangles(tokens, reduction, F.avg_pool2d, _mean_of_members)


def _maximum(tokens: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """The largest value of each channel in each cell."""
    return _pool_rectangles(tokens, reduction, F.max_pool2d, _maximum_of_members)


def _strongest(tokens: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Of each cell the token of the largest norm, as it is. Source: this project."""
    index, inside = _members_of_rectangles(reduction.rows, reduction.columns, tokens.device)
    norms = torch.linalg.vector_norm(_wide(tokens), dim=-1)
    strongest = norms[:, index].masked_fill(~inside, -1.0).argmax(dim=-1, keepdim=True)
    chosen = index.expand(len(tokens), -1, -1).gather(2, strongest)
    return tokens.gather(1, chosen.expand(-1, -1, tokens.shape[-1]))


def _similar(tokens: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """The mean of each cell, weighted by how close each token is to the plain mean:
    exp(-d^2 / mean of d^2), with d the distance. What stands out counts less. Source: this
    project, after the bilateral filter.
    """
    index, inside = _members_of_rectangles(reduction.rows, reduction.columns, tokens.device)
    members = _wide(tokens[:, index])
    share = inside.to(members.dtype) / inside.sum(dim=-1, keepdim=True)
    mean = torch.einsum("b k m c, k m -> b k c", members, share)
    distance = (members - mean[:, :, None]).square().sum(dim=-1)
    spread = (distance * share).sum(dim=-1, keepdim=True)
    closeness = torch.exp(-distance / spread.clamp_min(torch.finfo(spread.dtype).tiny)) * inside
    weights = closeness / closeness.sum(dim=-1, keepdim=True)
    return torch.einsum("b k m c, b k m -> b k c", members, weights).to(tokens.dtype)


def _wide(tokens: torch.Tensor) -> torch.Tensor:
    """At least single precision: the square of a half overflows at 256."""
    return tokens if torch.finfo(tokens.dtype).bits >= 32 else tokens.float()


POOLS: dict[str, Callable[[torch.Tensor, Reduction], torch.Tensor]] = {
    "AVG": _average,
    "MAX": _maximum,
    "NORM": _strongest,
    "SIM": _similar,
}
"""How a cell becomes one token: (batch, tokens, channels) -> (batch, len(reduction), channels)."""


def _pool_rectangles(
    tokens: torch.Tensor,
    reduction: Reduction,
    kernel: Callable[..., torch.Tensor],
    of_members: Callable[..., torch.Tensor],
) -> torch.Tensor:
    """Pool by torch's `kernel` where the cells are evenly spaced, else one axis after the other."""
    rows, columns = reduction.rows, reduction.columns
    grid: torch.Tensor = rearrange(tokens, "b (h w) c -> b h w c", h=rows.length)
    if rows.stride and columns.stride:
        pooled = kernel(
            # channels-last in memory, for which torch has kernels of its own: nothing is copied
            rearrange(grid, "b h w c -> b c h w"),
            (rows.size, columns.size),
            (rows.stride, columns.stride),
            ceil_mode=True,  # cells that the edge cuts are kept, averaged over what they hold
        )
        return rearrange(pooled, "b c h w -> b (h w) c")
    # the pool of a rectangle is the pool of its rows' pools
    for cells, dim in ((columns, 2), (rows, 1)):
        index, weights = _members(cells, grid.dtype, grid.device)
        grid = of_members(grid.index_select(dim, index).unflatten(dim, weights.shape), weights, dim)
    return rearrange(grid, "b h w c -> b (h w) c")


def _mean_of_members(members: torch.Tensor, weights: torch.Tensor, dim: int) -> torch.Tensor:
    shape = [1] * members.ndim
    shape[dim : dim + 2] = weights.shape
    return (members * weights.reshape(shape)).sum(dim + 1)


def _maximum_of_members(members: torch.Tensor, weights: torch.Tensor, dim: int) -> torch.Tensor:
    return members.amax(dim + 1)


# the index tensors are cached, so that a step of sampling copies nothing to the device
@kept_tensors(64)
def _members(
    cells: AxisCells, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of each cell, filled up to the longest cell: indices (cells * longest,) and
    weights (cells, longest) of an average. A short cell repeats its last token, which is harmless
    for a maximum and has weight 0 in an average.
    """
    offsets = torch.arange(max(cells.sizes))
    sizes = torch.tensor(cells.sizes)[:, None]
    index = torch.tensor(cells.starts)[:, None] + torch.minimum(offsets, sizes - 1)
    weights = (offsets < sizes) / sizes
    return to_device(index.flatten(), device), to_device(weights, device, dtype)


@kept_tensors(64)
def _members_of_rectangles(
    rows: AxisCells, columns: AxisCells, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of each cell of a grid: indices (cells, longest) and which of them are inside the
    cell, the others being repeated ones (cells, longest).
    """
    cpu = torch.device("cpu")
    (index_y, weight_y), (index_x, weight_x) = (
        _members(cells, torch.float32, cpu) for cells in (rows, columns)
    )
    index_y, index_x = index_y.reshape(weight_y.shape), index_x.reshape(weight_x.shape)
    index = rearrange(index_y, "r y -> r 1 y 1") * columns.length
    index = rearrange(index + rearrange(index_x, "c x -> 1 c 1 x"), "r c y x -> (r c) (y x)")
    inside = rearrange(weight_y > 0, "r y -> r 1 y 1") & rearrange(weight_x > 0, "c x -> 1 c 1 x")
    return to_device(index, device), to_device(rearrange(inside, "r c y x -> (r c) (y x)"), device)
