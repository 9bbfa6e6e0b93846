"""Fetches the artwork of which composed scenes are made, and packs it for training.

    python -m standalone.model.fetch_sprites

needs npm and node. The packages (see NOTICE for their licences) are fetched by name and version
from npm's registry into the folder of --work; the sprites are written to outputs/sprites.zip.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from standalone.model.scenes.sprites import SIDE, archive
from standalone.model.scenes.things import STYLES, THINGS

PACKAGES = {"3d": "@lobehub/fluent-emoji-3d@1.1.0", "flat": "@iconify-json/noto@1.2.9"}
"""The artwork of each style: Fluent Emoji's pictures, Noto Emoji's drawings."""
DRAWS_SVG = "@resvg/resvg-js@2.6.2"
EXTENT = 0.95
"""Of a sprite's side, that what it shows fills in its longer direction."""


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when something that is needed is missing or fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/sprites"))
    args = parser.parse_args(argv)
    for program in ("npm", "node"):
        if shutil.which(program) is None:
            print(f"error: {program} is needed", file=sys.stderr)
            return 2
    try:
        folders = _fetch(args.work.resolve())
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(error.cmd[:3])} failed: {error.stderr.strip()}", file=sys.stderr)
        return 2
    archive().parent.mkdir(parents=True, exist_ok=True)
    pack(folders, archive())
    print(f"{archive()}: {len(STYLES) * len(THINGS)} sprites")
    return 0


def _fetch(work: Path) -> dict[str, Path]:
    """The folder with the pictures of each style, one a thing, named by its code."""
    work.mkdir(parents=True, exist_ok=True)
    _run(["npm", "install", "--no-save", "--prefix", str(work), *PACKAGES.values(), DRAWS_SVG])
    solid, flat = (
        work / "node_modules" / package.rpartition("@")[0] for package in PACKAGES.values()
    )
    script, drawn = Path(__file__).with_name("draw_svgs.cjs"), work / "flat"
    command = ["node", str(script), str(work), str(flat / "icons.json"), str(flat / "chars.json")]
    _run([*command, str(drawn)], "\n".join(thing.code for thing in THINGS))
    return {"3d": solid / "assets", "flat": drawn}


def _run(command: list[str], given: str = "") -> None:
    subprocess.run(command, input=given, text=True, capture_output=True, check=True)


def pack(folders: dict[str, Path], out: Path) -> None:
    """Write the sprites of both styles, lossless, with what `load_sprites` must know of them."""
    known = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for style in STYLES:
            for index, thing in enumerate(THINGS):
                path = next(folders[style].glob(f"{thing.code}.*"))
                sprite, width, height = sprite_of(Image.open(path))
                data, name = io.BytesIO(), f"{style}/{index:03d}.webp"
                sprite.save(data, "WEBP", lossless=True, exact=True, method=4, quality=60)
                packed.writestr(name, data.getvalue())
                about = {"file": name, "style": style, "code": thing.code}
                known.append({**about, "w": width, "h": height})
        packed.writestr("meta.json", json.dumps(known))


def sprite_of(picture: Image.Image) -> tuple[Image.Image, float, float]:
    """A picture cut out and centred, RGBA (SIDE, SIDE), with its width and height in parts of
    that."""
    values = np.asarray(picture.convert("RGBA")).astype(np.float32) / 255
    values[..., :3] *= values[..., 3:]  # so that what is transparent doesn't tint the edges
    solid = values[..., 3] > 0.06
    rows, columns = np.nonzero(solid.any(1))[0], np.nonzero(solid.any(0))[0]
    cut = values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cut.shape[:2]
    side = round(max(height, width) / EXTENT)
    tile = np.zeros((side, side, 4), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    tile[top : top + height, left : left + width] = cut
    size = (SIDE, SIDE)
    planes = [
        Image.fromarray(tile[..., c]).resize(size, Image.Resampling.LANCZOS) for c in range(4)
    ]
    scaled = np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 1)
    cover = scaled[..., 3:]
    colour = np.where(cover > 1 / 512, scaled[..., :3] / np.maximum(cover, 1 / 512), 0).clip(0, 1)
    pixels = (np.concatenate([colour, cover], -1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels, "RGBA"), width / side, height / side


if __name__ == "__main__":
    sys.exit(main())
