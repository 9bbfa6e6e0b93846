"""The pictures of `THINGS`, of which composed scenes are made.

They are other projects' artwork (see NOTICE), fetched and packed by `fetch_sprites`, never
committed.
"""

from __future__ import annotations

import concurrent.futures
import functools
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from standalone.model.scenes.things import STYLES, THINGS

SIDE = 384
"""Of each picture, in pixels; what it shows is as wide or as high as 95 % of that."""
SIDES = (384, 288, 192, 144, 96, 72)
"""In which the pictures are kept, so that a small thing is drawn from a small picture."""
ARCHIVE = Path(__file__).resolve().parents[3] / "outputs" / "sprites.zip"


class Sprites:
    """The pictures by `index_of`, kept on one device in several `sides`; `heights` and `widths` are
    their extents in parts of the side.
    """

    def __init__(
        self,
        pictures: torch.Tensor,
        heights: np.ndarray,
        widths: np.ndarray,
        device: torch.device | str = "cpu",
    ):
        """`pictures` are uint8 (sprites, 4, side, side), RGBA; the two arrays (sprites,)."""
        self._pictures, self._device = pictures, torch.device(device)
        self._levels: dict[int, torch.Tensor] = {}
        largest = pictures.shape[-1]
        self.sides = tuple(side for side in SIDES if side <= largest) or (largest,)
        self.heights = torch.from_numpy(heights).float().to(device)
        self.widths = torch.from_numpy(widths).float().to(device)

    def level(self, place: int) -> torch.Tensor:
        """(sprites, 4, side, side) premultiplied, 0 to 1, in the side at that place of `sides`."""
        if place not in self._levels:
            dtype = torch.float16 if self._device.type == "cuda" else torch.float32
            parts = self._pictures.split(16)
            scaled = [_scaled(part.to(self._device), self.sides[place]).to(dtype) for part in parts]
            self._levels[place] = torch.cat(scaled)
        return self._levels[place]


def _scaled(pictures: torch.Tensor, side: int) -> torch.Tensor:
    values = pictures.float() / 255
    values = torch.cat([values[:, :3] * values[:, 3:], values[:, 3:]], 1)
    if values.shape[-1] == side:
        return values
    size = (side, side)
    return F.interpolate(values, size, mode="bicubic", antialias=True).clamp(0, 1)


def index_of(thing: int, style: str) -> int:
    """Where a thing's picture in a style is among the sprites."""
    return STYLES.index(style) * len(THINGS) + thing


def archive() -> Path:
    """Where the sprites are: what SLOTHFUL_SPRITES names, else in outputs/."""
    return Path(os.environ.get("SLOTHFUL_SPRITES", ARCHIVE))


def load_sprites(device: str = "cpu") -> Sprites:
    """The sprites of `archive()`, on that device.

    Raises `FileNotFoundError` where there are none, with the command that fetches them, and
    `ValueError` where they are not of `THINGS`.
    """
    return _load(archive(), device)


@functools.cache
def _load(path: Path, device: str) -> Sprites:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no sprites; python -m standalone.model.fetch_sprites fetches them"
        )
    with zipfile.ZipFile(path) as packed:
        known = json.loads(packed.read("meta.json"))
        files = [packed.read(each["file"]) for each in known]
    wanted = [(thing.code, style) for style in STYLES for thing in THINGS]
    if [(each["code"], each["style"]) for each in known] != wanted:
        raise ValueError(f"{path}: not the sprites of things.txt; fetch them again")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pictures = np.stack(list(pool.map(_pixels, files)))
    extents = (np.array([each[axis] for each in known], np.float32) for axis in ("h", "w"))
    return Sprites(torch.from_numpy(pictures).permute(0, 3, 1, 2), *extents, device)


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
