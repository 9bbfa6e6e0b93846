"""Draws the README's rows of pictures, each for one parameter.

python -m standalone.pictures
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from standalone.checkpoint import SMALL, load
from standalone.grid import lay_out
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PROMPT = "a striped blue circle on a yellow background"
KEPT = {"kept_token": "jittered"}
"""Kept tokens that stand for others hide what the rows are to show."""
STRONG = {**KEPT, "time_decay": 0, "in_depth_decay": 0.5, "out_depth_decay": 0.5}
TILES = {**KEPT, "method": "Near-sighted Tile", "tile_size": 16}


def _strength(value: float, **more: Any) -> dict[str, Any]:
    return {**STRONG, "in_slothful": value, "out_slothful": value, **more}


def _pool(mode: str, blend: float) -> dict[str, Any]:
    return _strength(12, in_mode=mode, out_mode=mode, in_v_blend=blend, out_v_blend=blend)


def _other(method: str, **settings: Any) -> dict[str, Any]:
    return {**KEPT, "method": method, "time_decay": 0, **settings}


ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "strength": {"off": {"enabled": False}}
    | {f"strength {value}": _strength(value) for value in (3, 6, 12, 25, 50)},
    "blend": {"one token (0)": _pool("2D_AVG", 0)}
    | {f"average {blend}": _pool("2D_AVG", blend) for blend in (0.5, 1)}
    | {f"maximum {blend}": _pool("2D_MAX", blend) for blend in (0.5, 1)}
    | {"1D average 1": _pool("1D_AVG", 1)},
    "time": {"off": {"enabled": False}}
    | {
        f"peak time {time}": _strength(25, peak_time=time, time_decay=4)
        for time in (0, 0.25, 0.5, 0.75, 1)
    },
    "tiles": {"off": {"enabled": False}}
    | {f"tile 16, global {ratio}": {**TILES, "global_ratio": ratio} for ratio in (0, 0.2, 0.5, 1)}
    | {"tile 24, global 0.5": {**TILES, "tile_size": 24, "global_ratio": 0.5}},
    "others": {"off": {"enabled": False}}
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
}


def main() -> None:
    """Draw all rows."""
    model = load(SMALL)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, cells in ROWS.items():
        pictures = {}
        for label, settings in cells.items():
            request = Processing(model, prompt=PROMPT, seed=3)
            pictures[label] = process_images(request, ScriptRunner([settings])).images[0]
        small = {label: p.resize((160, 160), Image.LANCZOS) for label, p in pictures.items()}
        lay_out(small, len(small)).save(FOLDER / f"{name}.png", optimize=True)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
