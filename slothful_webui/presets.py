"""Presets: named settings in JSON files, the shipped ones and the user's own."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slothful import Settings, SettingsError

SHIPPED = Path(__file__).resolve().parents[1] / "presets"
"""The folder of the presets that come with the extension."""

_NAME = re.compile(r"\w[\w .()+-]{0,63}")
_DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)

logger = logging.getLogger(__name__)


class PresetError(ValueError):
    """A preset cannot be read or written; the message names it and the reason."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings under a name, with a sentence that says what they are for."""

    name: str
    settings: Settings
    description: str = ""


class PresetFolders:
    """The presets of several folders; where a name is in two of them, the later folder's counts.

    New presets are written to the last folder, the user's own.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = tuple(folders)

    def names(self) -> list[str]:
        """All presets that can be read, in alphabetical order. Damaged files are left out, each
        named in the log.
        """
        names = {path.stem for folder in self.folders for path in folder.glob("*.json")}
        good = []
        for name in sorted(names, key=str.casefold):
            try:
                self.load(name)
            except PresetError as error:
                logger.warning("left out: %s", error)
            else:
                good.append(name)
        return good

    def load(self, name: str) -> Preset:
        """One preset. Raises `PresetError` if there is none of this name or its file is damaged."""
        _check_name(name)
        for folder in reversed(self.folders):
            path = folder / f"{name}.json"
            if path.is_file():
                return _read(path)
        raise PresetError(f"there is no preset {name!r}")

    def save(self, preset: Preset) -> Path:
        """Write a preset to the user's folder, whole or not at all.

        Raises `PresetError` for a name that a file cannot have, `OSError` if the disk refuses.
        """
        _check_name(preset.name)
        folder = self.folders[-1]
        folder.mkdir(parents=True, exist_ok=True)
        content = {"description": preset.description, "settings": preset.settings.changed()}
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2, ensure_ascii=False)
            path = folder / f"{preset.name}.json"
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
        return path


def _check_name(name: str) -> None:
    """Names stay inside the folder and are possible on every system."""
    if not _NAME.fullmatch(name) or _DEVICE_NAMES.fullmatch(name) or name.endswith((" ", ".")):
        raise PresetError(
            f"a preset's name has 1 to 64 letters, digits, spaces or any of _.()+- and begins with "
            f"a letter or digit, got {name!r}"
        )


def _read(path: Path) -> Preset:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = Settings.from_mapping(content["settings"])
        return Preset(path.stem, settings, str(content.get("description", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # SettingsError is a ValueError and says which parameter
        reason = error if isinstance(error, SettingsError) else f"not a preset file ({error})"
        raise PresetError(f"{path.name}: {reason}") from error
