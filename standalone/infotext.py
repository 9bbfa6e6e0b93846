"""The infotext of pictures, the host's own and the webui's: reading it, saving it with them."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image, PngImagePlugin

_PAIR = re.compile(r'\s*([\w ]+?):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')


def parse_infotext(text: str) -> dict[str, str]:
    """The parameters by their names in the infotext; "Prompt" and "Negative prompt" are the texts.

    The last line is the one of parameters if it has at least three of them, as in the webui;
    otherwise all of the text is the prompt.
    """
    lines = text.strip().splitlines()
    pairs = _PAIR.findall(lines[-1]) if lines else []
    if len(pairs) < 3:
        pairs = []
    else:
        lines.pop()
    prompt, _, negative = "\n".join(lines).partition("Negative prompt:")
    found = {"Prompt": prompt.strip(), "Negative prompt": negative.strip()}
    return found | {name: value.strip().strip('"') for name, value in pairs}


def save_png(image: Image.Image, infotext: str, path: Path) -> Path:
    """Write a PNG with the infotext where the webui looks for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", infotext)
    image.save(path, pnginfo=chunks)
    return path
