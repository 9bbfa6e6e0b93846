"""Draws the grounds of many scenes at once; see `grounds` for what they are."""

from __future__ import annotations

import numpy as np
import torch

from standalone.model.scenes.batch import Batch
from standalone.model.scenes.grounds import GROUNDS, LANDS, PATTERNS

SEA = (40 / 255, 140 / 255, 200 / 255)
STARS = np.random.default_rng(5).uniform((0.02, 0.02, 0.5), (0.98, 0.5, 1.0), (26, 3))
"""Of every night sky: x, y and brightness."""


def draw_grounds(
    batch: Batch, x: torch.Tensor, y: torch.Tensor, device: torch.device | str
) -> torch.Tensor:
    """The pictures (batch, 3, size, size) in [0, 1] without their objects.

    `x` (1, 1, size) and `y` (1, size, 1) are the pixels' centres.
    """
    size = x.shape[-1]
    colours = torch.from_numpy(batch.colours).to(device)
    numbers = torch.from_numpy(batch.numbers).to(device)
    pictures = colours[:, 0, :, None, None].expand(-1, 3, size, size).clone()
    for kind, name in enumerate(GROUNDS):
        where = np.nonzero(batch.grounds == kind)[0]  # known here: no waiting for the GPU
        if not len(where) or name == "plain":
            continue
        index = torch.from_numpy(where).to(device)
        of_kind = numbers[index].T[:, :, None, None]  # (NUMBERS, scenes, 1, 1)
        if name == "shade":
            pictures[index] = pictures[index] * (1 - of_kind[0][:, None] * y)
        elif name in PATTERNS:
            cover = _pattern(name, of_kind, x, y).expand(len(where), size, size)
            first, second = colours[index].unbind(1)
            first, second = first[:, :, None, None], second[:, :, None, None]
            pictures[index] = first + (second - first) * cover[:, None]
        else:
            pictures[index] = _land(name, of_kind, x, y)
    return pictures


def _pattern(name: str, numbers: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How much of each pixel has the second colour, (scenes or 1, rows, columns)."""
    if name == "gradient":
        return y.expand(1, y.shape[1], x.shape[2])
    size, periods, begin = x.shape[-1], numbers[0], numbers[1]

    def soft(distance: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
        """An edge one pixel wide, of distances in periods."""
        return (0.5 + distance * size / frequency).clamp(0, 1)

    def band(along: torch.Tensor) -> torch.Tensor:
        """The distance to the edge of every second half of a period."""
        return 0.25 - (along % 1.0 - 0.5).abs()

    if name == "stripes":
        return soft(band(x * periods + begin + 0 * y), periods)
    if name == "diagonal":
        return soft(band((x + y) * periods * 0.75 + begin), periods)
    if name == "checks":
        columns, rows = (soft(band(axis * periods / 2), periods / 2) for axis in (x, y))
        return columns * (1 - rows) + rows * (1 - columns)
    middles = torch.hypot((x * periods) % 1.0 - 0.5 + 0 * y, (y * periods) % 1.0 - 0.5 + 0 * x)
    return soft(0.24 - middles, periods)


def _land(name: str, numbers: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(scenes, 3, rows, columns)."""
    horizon, phase, sun_x, sun_y = numbers
    size, radius = x.shape[-1], LANDS[name].radius
    top, low, near, far, disc = (
        torch.tensor(colour, device=x.device, dtype=torch.float32)[None, :, None, None] / 255
        for colour in LANDS[name].colours
    )

    def below(line: torch.Tensor) -> torch.Tensor:
        """How much of each pixel lies below a line, (scenes, 1, rows, columns)."""
        return (0.5 + (y - line + 0 * x) * size).clamp(0, 1)[:, None]

    picture = top + (low - top) * (y / horizon).clamp(0, 1)[:, None]
    if name == "night":
        picture = picture + (1 - picture) * _stars(x, y)
    distance = torch.hypot(x - sun_x, y - sun_y)
    glow = 0.5 * torch.exp(-((distance / (radius * 2.2)) ** 2))
    picture = picture + (disc - picture) * glow[:, None]
    picture = picture + (disc - picture) * (0.5 + (radius - distance) * size).clamp(0, 1)[:, None]
    if name == "beach":
        sea = torch.tensor(SEA, device=x.device)[None, :, None, None]
        picture = picture + (sea - picture) * below(horizon - 0.1)
        line = horizon + 0 * x
    else:
        line = horizon + 0.022 * torch.sin(5 * x + phase) + 0.012 * torch.sin(11 * x + 2 * phase)
    depth = ((y - line) / (1 - line)).clamp(0, 1)[:, None]
    return picture + (near + (far - near) * depth - picture) * below(line)


def _stars(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Their brightness, (1, rows, columns)."""
    found = torch.zeros(1, y.shape[1], x.shape[2], device=x.device)
    for left, top, bright in STARS.astype(np.float32).tolist():
        near = torch.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * 0.0035**2))
        found = torch.maximum(found, bright * near)
    return found
