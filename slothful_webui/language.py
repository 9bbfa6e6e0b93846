"""Lines under an image, in the page's language.

The webui translates its page by whole texts, in the browser: a line with names in it is not among
them, so it is put together here from texts that are.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slothful import Part
from slothful_webui.sampling import TITLE

FOLDER = Path(__file__).resolve().parents[1] / "localizations"

logger = logging.getLogger(__name__)


def report(p: Any, *parts: Part | str, level: int = logging.WARNING) -> str:
    """A line under the image of a request and, in English, in the log; once for all its batches.
    Returns the line.
    """
    language = "" if getattr(p, "is_api", False) else _language()
    line = f"{TITLE}: {_line(parts, _texts(language))}"
    # the cells of a plot share their lines
    if line in getattr(p, "comments", ()):
        return line
    logger.log(level, "%s: %s", TITLE, _line(parts, {}))
    if hasattr(p, "comment"):
        p.comment(line)
    return line


def take_back(p: Any, line: str | None) -> None:
    """Take a line away that `report` has written."""
    comments = getattr(p, "comments", None)
    if line is None or not comments or line not in comments:
        return
    if isinstance(comments, dict):
        del comments[line]
    else:
        comments.remove(line)


def _line(parts: tuple[Part | str, ...], texts: Mapping[str, str]) -> str:
    return "; ".join(_filled(part, texts) for part in parts)


def _filled(part: Part | str, texts: Mapping[str, str]) -> str:
    template, values = (part, {}) if isinstance(part, str) else part
    # a value may be a text of its own, such as a reason
    values = {name: texts.get(value, value) for name, value in values.items()}
    return texts.get(template, template).format(**values)


def _language() -> str:
    from modules import shared

    return str(getattr(shared.opts, "localization", ""))


@functools.cache
def _texts(language: str) -> Mapping[str, str]:
    """The translations, by the English texts; none for a language that there is none for."""
    for path in FOLDER.glob("*.json"):
        if path.stem == language:
            return json.loads(path.read_text(encoding="utf-8"))
    return {}
