"""Sprites for the tests, where the real ones have not been fetched: each thing has colours of its
own."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from standalone.model.scenes.things import STYLES, THINGS

SIDE = 48
WIDTH, HEIGHT = 0.5, 0.75
"""Of each sprite, in parts of the side."""


def colours_of(thing: int, style: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours (3,), uint8, of a sprite's left and right half."""
    generator = np.random.default_rng([thing, style])
    left = generator.integers(0, 256, 3, np.uint8)
    return left, 255 - left


def write_sprites(path: Path) -> None:
    """An archive as `fetch_sprites` makes it: rectangles whose halves differ."""
    known = []
    with zipfile.ZipFile(path, "w") as packed:
        for style, style_name in enumerate(STYLES):
            for index, thing in enumerate(THINGS):
                pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
                rows = slice(int(SIDE * (1 - HEIGHT) / 2), int(SIDE * (1 + HEIGHT) / 2))
                first, middle, last = SIDE // 4, SIDE // 2, 3 * SIDE // 4
                left, right = colours_of(index, style)
                pixels[rows, first:middle] = [*left, 255]
                pixels[rows, middle:last] = [*right, 255]
                data, name = io.BytesIO(), f"{style_name}/{index}.png"
                Image.fromarray(pixels, "RGBA").save(data, "PNG")
                packed.writestr(name, data.getvalue())
                about = {"file": name, "style": style_name, "code": thing.code}
                known.append({**about, "w": WIDTH, "h": HEIGHT})
        packed.writestr("meta.json", json.dumps(known))
