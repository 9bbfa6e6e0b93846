"""Draws many scenes at once, on the processor or a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from standalone.model.scenes import Scene
from standalone.model.scenes.backdrop import draw_grounds
from standalone.model.scenes.batch import FIRST_SHAPE, MOST_OBJECTS, Batch, batch_of, columns
from standalone.model.scenes.canvas import STAR_INNER_RADIUS
from standalone.model.scenes.composed import SHADOW
from standalone.model.scenes.simple import TEXTURE_PERIOD
from standalone.model.scenes.sprites import Sprites, load_sprites


def draw_scenes(scenes: Sequence[Scene], size: int, sprites: Sprites | None = None) -> np.ndarray:
    """The pictures, uint8 (scenes, size, size, 3); `sprites` as `draw_batch`."""
    drawn = draw_batch(batch_of(scenes), size, sprites)
    return (drawn * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def draw_one(scene: Scene, size: int) -> np.ndarray:
    """The picture, float32 (size, size, 3), 0 to 255."""
    return (draw_batch(batch_of([scene]), size)[0] * 255).permute(1, 2, 0).numpy()


@torch.no_grad()
def draw_batch(
    batch: Batch,
    size: int,
    sprites: Sprites | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The pictures (batch, 3, size, size) in [0, 1], float32.

    `sprites` lie on that device; without them those of `load_sprites` are taken if any are needed.
    """
    kinds, radii = columns(batch.objects, "kind", "radius")
    if sprites is None and ((kinds >= 0) & (kinds < FIRST_SHAPE)).any():
        sprites = load_sprites(str(device))
    axis = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    x, y = axis[None, None, :], axis[None, :, None]
    pictures = draw_grounds(batch, x, y, device)
    objects = torch.from_numpy(batch.objects).to(device)
    (standing,) = columns(batch.objects, "standing")
    for place in range(MOST_OBJECTS if sprites else 0):
        where = np.nonzero((kinds[:, place] >= 0) & (standing[:, place] > 0))[0]
        if len(where):
            index = torch.from_numpy(where).to(device)
            _draw_shadows(pictures, index, objects[index, place], x, y, sprites)
    for place in range(MOST_OBJECTS):
        here = kinds[:, place]
        where = np.nonzero(here >= FIRST_SHAPE)[0]
        if len(where):
            index = torch.from_numpy(where).to(device)
            _draw_shapes(pictures, index, objects[index, place], x, y)
        where = np.nonzero((here >= 0) & (here < FIRST_SHAPE))[0]
        if len(where):
            levels = _level_of(2 * radii[where, place] * size, sprites.sides)
            for level in np.unique(levels):
                index = torch.from_numpy(where[levels == level]).to(device)
                _draw_sprites(pictures, index, objects[index, place], sprites, int(level))
    return pictures.clamp(0, 1)


def _level_of(pixels: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """The smallest of the sprites' sides that is about as large, as its place."""
    enough = np.array(sides)[None] >= 0.95 * pixels[:, None]
    return np.where(enough, np.arange(len(sides)), 0).max(1)


def _middle(objects: torch.Tensor, sprites: Sprites) -> torch.Tensor:
    """The height of the middle: what stands has its foot at `y`."""
    kind, y, radius, standing = columns(objects, "kind", "y", "radius", "standing")
    return y - standing * radius * sprites.heights[kind.long()]


def _draw_sprites(
    pictures: torch.Tensor, index: torch.Tensor, objects: torch.Tensor, sprites: Sprites, level: int
) -> None:
    kind, x, radius, angle, flip = columns(objects, "kind", "x", "radius", "angle", "flip")
    cos, sin = angle.cos(), angle.sin()
    right, down = 0.5 - x, 0.5 - _middle(objects, sprites)
    # from places in the picture, -1 to 1, to places in the sprite
    rows = [
        flip * cos / (2 * radius),
        flip * sin / (2 * radius),
        flip * (cos * right + sin * down) / radius,
        -sin / (2 * radius),
        cos / (2 * radius),
        (cos * down - sin * right) / radius,
    ]
    theta = torch.stack(rows, 1).reshape(len(objects), 2, 3)
    size = pictures.shape[-1]
    grid = F.affine_grid(theta, [len(objects), 4, size, size], align_corners=False)
    picked = sprites.level(level)[kind.long()].float()
    found = F.grid_sample(picked, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    colour, cover = found[:, :3], found[:, 3:]
    pictures[index] = pictures[index] * (1 - cover) + torch.minimum(colour, cover)


def _draw_shadows(
    pictures: torch.Tensor,
    index: torch.Tensor,
    objects: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    sprites: Sprites,
) -> None:
    kind, middle, foot, radius = (
        v[:, None, None] for v in columns(objects, "kind", "x", "y", "radius")
    )
    across = (x - middle) / (radius * sprites.widths[kind.long()] * 0.95)
    down = (y - foot) / (radius * 0.16)
    dark = SHADOW * torch.exp(-1.6 * (across**2 + down**2) ** 1.5)
    pictures[index] = pictures[index] * (1 - dark[:, None])


def _draw_shapes(
    pictures: torch.Tensor,
    index: torch.Tensor,
    objects: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
) -> None:
    """As `Canvas.shape` and the textures of simple scenes."""
    kind, left, top, radius, angle, texture = (
        v[:, None, None] for v in columns(objects, "kind", "x", "y", "radius", "angle", "texture")
    )
    across, down = x - left, y - top
    cos, sin = angle.cos(), angle.sin()
    across, down = cos * across + sin * down, cos * down - sin * across
    distances = torch.stack(_signed_distances(across / radius, down / radius))
    of_scene = torch.arange(len(objects), device=pictures.device)
    distance = distances[kind[:, 0, 0].long() - FIRST_SHAPE, of_scene] * radius
    cover = (0.5 - distance * pictures.shape[-1]).clamp(0, 1)[:, None]
    stripes = torch.sin(across * 2 * np.pi / TEXTURE_PERIOD) > 0.35
    half = TEXTURE_PERIOD / 2
    dots = torch.hypot(across % TEXTURE_PERIOD - half, down % TEXTURE_PERIOD - half) < 0.03
    marked = (((texture == 1) & stripes) | ((texture == 2) & dots))[:, None]
    names = ("red", "green", "blue")
    ink = torch.stack(columns(objects, *names), 1)[:, :, None, None]
    other = torch.stack(columns(objects, *(f"other_{n}" for n in names)), 1)[:, :, None, None]
    ink = torch.where(marked, other, ink)
    pictures[index] = pictures[index] + (ink - pictures[index]) * cover


def _signed_distances(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Of each of `SHAPES` with half width 1, as `canvas.signed_distance`."""
    part = 2 * np.pi / 5
    angle = ((torch.atan2(x, -y) + part / 2) % part - part / 2).abs()
    inner = STAR_INNER_RADIUS * np.array([np.cos(part / 2), np.sin(part / 2)])
    side = inner - (1.0, 0.0)
    normal = np.array([side[1], -side[0]]) / np.hypot(*side)
    radius = torch.hypot(x, y)
    star = (radius * angle.cos() - 1) * float(normal[0]) + radius * angle.sin() * float(normal[1])
    return [
        radius - 1,
        torch.maximum(x.abs(), y.abs()) - 0.88,
        torch.maximum((2 * x.abs() - y - 1.0) / 5**0.5, y - 0.85),
        star,
    ]
