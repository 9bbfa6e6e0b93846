"""Which tokens are most like which: the matching of token merging, in parts."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .devices import to_device

AT_ONCE = 2**16
"""Likenesses that are computed at once in any case: smaller products are rounded differently."""


class Sets(NamedTuple):
    """The places of destinations and of the others, (tokens,) int64 each."""

    destinations: torch.Tensor
    others: torch.Tensor


def deal_tokens(
    grid: tuple[int, int],
    stride: tuple[int, int],
    generator: torch.Generator | None,
    device: torch.device,
) -> Sets:
    """One destination in each whole cell of `stride` (rows, columns) of a (height, width) grid:
    its first token, or one that `generator` (of the CPU) chooses.
    """
    (height, width), (rows, columns) = grid, stride
    down, across = height // rows, width // columns
    chosen = torch.zeros(down, across, dtype=torch.int64)
    if generator is not None:
        size = (down, across, 1)
        chosen = torch.randint(rows * columns, size, generator=generator)[..., 0]
    y = torch.arange(down)[:, None] * rows + chosen // columns
    x = torch.arange(across) * columns + chosen % columns
    keys = torch.zeros(1, height * width, 1, dtype=torch.int64)
    keys[0, (y * width + x).flatten()] = -1
    # sorted as tomesd does, as its order of equal keys decides between equally similar tokens
    places = to_device(keys, device).argsort(dim=1)[0, :, 0]
    return Sets(places[: down * across], places[down * across :])


class Pairs(NamedTuple):
    """Which of the others, (batch, count), go to which destinations, (batch, count), and which
    others stay, (batch, others - count): numbers in `Sets`, the most similar first.
    """

    merged: torch.Tensor
    into: torch.Tensor
    staying: torch.Tensor


def pair_tokens(tokens: torch.Tensor, sets: Sets, count: int) -> Pairs:
    """The `count` others that are most like a destination, each with the one it is most like.

    `tokens`: (batch, tokens, channels), compared by the cosine of their angle. At no time are there
    more likenesses than numbers in `tokens` (on small grids `AT_ONCE` a row), so that memory grows
    with the tokens and not with their square. Source: Token Merging for Stable Diffusion (Bolya and
    Hoffman, 2023), which has all likenesses at once.
    """
    directions = tokens / tokens.norm(dim=-1, keepdim=True)
    others = directions.index_select(1, sets.others)
    destinations = directions.index_select(1, sets.destinations).transpose(1, 2)
    del directions
    rows = max(tokens[0].numel(), AT_ONCE) // len(sets.destinations) + 1
    parts = others.tensor_split(-(-others.shape[1] // rows), dim=1)
    best = [(part @ destinations).max(dim=-1) for part in parts]
    likeness = torch.cat([values for values, _ in best], dim=1)
    nearest = torch.cat([places for _, places in best], dim=1)
    order = likeness.argsort(dim=-1, descending=True)
    merged, staying = order[:, :count], order[:, count:]
    return Pairs(merged, nearest.gather(1, merged), staying)
