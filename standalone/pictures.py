"""Draws the documentation's rows of pictures, each for one parameter.

python -m standalone.pictures
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.checkpoint import SMALL, load
from standalone.grid import lay_out
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PROMPT, SEED, SIZE, STEPS = "a house in a meadow", 2, 512, 20
CELL = 192
"""Side of a picture in its row, in pixels."""
KEPT = {"kept_token": "jittered"}
"""Kept tokens that stand for others hide what the rows are to show."""
STRONG = {**KEPT, "time_decay": 0, "in_depth_decay": 0.5, "out_depth_decay": 0.5}
TILES = {**KEPT, "method": "Near-sighted Tile", "tile_size": 16}


def _strength(value: float, **more: Any) -> dict[str, Any]:
    return {**STRONG, "in_slothful": value, "out_slothful": value, **more}


def _pool(mode: str, blend: float) -> dict[str, Any]:
    return _strength(6, in_mode=mode, out_mode=mode, in_v_blend=blend, out_v_blend=blend)


def _other(method: str, **settings: Any) -> dict[str, Any]:
    return {**KEPT, "method": method, "time_decay": 0, **settings}


def _preset(name: str) -> dict[str, Any]:
    return PresetFolders([SHIPPED]).load(name).settings.changed()


OFF: dict[str, Any] = {"enabled": False}
FEWER_STEPS = {"10 steps": 10, "7 steps": 7}
"""Pictures of a row that have fewer steps and are otherwise off."""
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "strength": {"off": OFF}
    | {f"strength {value}": _strength(value) for value in (3, 6, 12, 25, 50)},
    "blend": {"one token (0)": _pool("2D_AVG", 0)}
    | {f"average {blend}": _pool("2D_AVG", blend) for blend in (0.5, 1)}
    | {f"maximum {blend}": _pool("2D_MAX", blend) for blend in (0.5, 1)}
    | {"1D average 1": _pool("1D_AVG", 1)},
    "time": {"off": OFF}
    | {
        f"peak time {time}": _strength(25, peak_time=time, time_decay=4)
        for time in (0, 0.25, 0.5, 0.75, 1)
    },
    "tiles": {"off": OFF}
    | {f"tile 16, global {ratio}": {**TILES, "global_ratio": ratio} for ratio in (0, 0.2, 0.5, 1)}
    | {"tile 24, global 0.5": {**TILES, "tile_size": 24, "global_ratio": 0.5}},
    "others": {"off": OFF}
    | {
        "plain tiles 128": _other("Plain Tiles", plain_tile_size=128, plain_swap=1),
        "merging 0.5": _other(
            "Token Merging", merge_ratio=0.5, merge_keys_only=False, merge_proportional=False
        ),
        "merging 0.75, keys only": _other(
            "Token Merging", merge_ratio=0.75, merge_keys_only=True, merge_proportional=True
        ),
        "downsampling 2": _other("Token Downsampling", downsample_depth_1=2),
        "downsampling 4": _other("Token Downsampling", downsample_depth_1=4),
    },
    "sleep": {"off": OFF}
    | {name: _preset(name) for name in ("asleep gentle", "asleep half", "asleep deep")}
    | dict.fromkeys(FEWER_STEPS, OFF),
}


def main() -> None:
    """Draw all rows."""
    model = load(SMALL)
    FOLDER.mkdir(parents=True, exist_ok=True)
    off: dict[int, Image.Image] = {}
    for name, cells in ROWS.items():
        small = {}
        for label, settings in cells.items():
            steps = FEWER_STEPS.get(label, STEPS)
            picture = off.get(steps) if settings is OFF else None
            if picture is None:
                request = Processing(
                    model, prompt=PROMPT, seed=SEED, width=SIZE, height=SIZE, steps=steps
                )
                picture = process_images(request, ScriptRunner([settings])).images[0]
            if settings is OFF:
                off[steps] = picture
            small[label] = picture.resize((CELL, CELL), Image.LANCZOS)
        lay_out(small, len(small)).save(FOLDER / f"{name}.png", optimize=True)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
