"""Presets: named settings in JSON files, the shipped ones and the user's own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slothful import Settings, SettingsError, echo

SHIPPED = Path(__file__).resolve().parents[1] / "presets"
"""The folder of the presets that come with the extension."""

ROW = (
    *("merged keys", "composition-safe", "fast 2048", "fast 1024"),
    *("i2i clean-up", "subtle detail", "soft", "hard contrast"),
)
"""The shipped presets in the page's row, from the one that changes images least to the one that
changes them most, by docs/effects/effects.csv.
"""

FOLDED = (
    *("asleep gentle", "asleep half", "asleep deep", "few steps with a negative prompt"),
    *("like ComfyUI", "like HyperTile", "like ToDo", "like ToMe"),
)
"""Those that are folded up: sleep is what Lazy chooses, the originals' values are for comparing."""

_NAME = re.compile(r"\w[\w .()+-]{0,63}")
_DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_OWN = "{name} (own)"

logger = logging.getLogger(__name__)


class PresetError(ValueError):
    """A preset cannot be read or written; the message names it and the reason."""


class PresetFolderError(PresetError, OSError):
    """The disk refuses; the message names the preset, the folder and the reason."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings under a name, with a sentence that says what they are for, and a few words of it."""

    name: str
    settings: Settings
    description: str = ""
    brief: str = ""


class PresetFolders:
    """The presets of several folders. The last folder is the user's own: presets are saved to it
    and deleted from it. The others hold those that come with the extension, and keep their names.

    A file of the user's that has a shipped preset's name all the same, as from an older version,
    is the preset "name (own)".
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = tuple(folders)

    def names(self) -> list[str]:
        """All presets that can be read, in alphabetical order. Damaged files are left out, each
        named in the log.
        """
        good = []
        for name in sorted(self._files(), key=str.casefold):
            try:
                self.load(name)
            except PresetError as error:
                logger.warning("left out: %s", error)
            else:
                good.append(name)
        return good

    def for_page(self) -> list[dict[str, Any]]:
        """All presets that can be read, as the page shows them: those of `ROW`, the user's own, and
        those of `FOLDED`.
        """
        place = {name: number for number, name in enumerate((*ROW, *FOLDED))}
        shown = [
            {
                "name": preset.name,
                "own": self.is_own(preset.name),
                "folded": preset.name in FOLDED,
                "brief": preset.brief,
                "description": preset.description,
                "settings": preset.settings.as_dict(),
            }
            for preset in map(self.load, self.names())
        ]
        return sorted(shown, key=lambda one: (one["folded"], place.get(one["name"], len(place))))

    def load(self, name: str) -> Preset:
        """One preset. Raises `PresetError` if there is none of this name or its file is damaged."""
        check_name(name)
        path = self._files().get(name)
        if path is None:
            raise PresetError(f"there is no preset {echo(name)}")
        return _read(path, name)

    def is_own(self, name: str) -> bool:
        """Whether a preset is the user's own, and can be replaced and deleted."""
        path = self._files().get(name)
        return path is not None and path.parent == self.folders[-1]

    def save(self, preset: Preset) -> Path:
        """Write a preset to the user's folder, whole or not at all; one of the user's own under
        this name is replaced.

        Raises `PresetError` for a name that a file cannot have or a shipped preset has, and
        `PresetFolderError` if the disk refuses.
        """
        check_name(preset.name)
        if preset.name.casefold() in map(str.casefold, self._shipped()):
            raise PresetError(
                f"the preset {preset.name!r} comes with the extension and is kept; "
                "choose another name"
            )
        folder = self.folders[-1]
        path = self._files().get(preset.name, folder / f"{preset.name}.json")
        content = {"description": preset.description, "settings": preset.settings.changed()}
        with _told_where(f"cannot save the preset {preset.name!r} in {folder}", folder):
            folder.mkdir(parents=True, exist_ok=True)
            return write_whole(path, content)

    def delete(self, name: str) -> None:
        """Delete one of the user's own presets, also one whose file is damaged.

        Raises `PresetError` for a shipped one or one that does not exist, and `PresetFolderError`
        if the disk refuses.
        """
        check_name(name)
        path = self._files().get(name)
        if path is None:
            raise PresetError(f"there is no preset {echo(name)}")
        if not self.is_own(name):
            raise PresetError(f"the preset {name!r} comes with the extension and cannot be deleted")
        with _told_where(f"cannot delete the preset {name!r} in {path.parent}", path.parent):
            path.unlink()

    def _shipped(self) -> dict[str, Path]:
        return {path.stem: path for folder in self.folders[:-1] for path in _json_files(folder)}

    def _files(self) -> dict[str, Path]:
        """The file of each preset by its name."""
        files = self._shipped()
        taken = set(map(str.casefold, files))
        own = {path.stem: path for path in _json_files(self.folders[-1])}
        free = {name: path for name, path in own.items() if name.casefold() not in taken}
        renamed = {_OWN.format(name=name): own[name] for name in own.keys() - free.keys()}
        return {**files, **renamed, **free}


def check_name(name: str) -> None:
    """Names stay inside the folder and are possible on every system. Raises `PresetError`."""
    if not name:
        raise PresetError("type a name for the preset first")
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise PresetError(
            f"a preset cannot be named {echo(name)}: use 1 to 64 letters, digits, spaces and "
            "_ . ( ) + -, with a letter or digit first and no space or dot last"
        )
    if _DEVICE_NAMES.fullmatch(name):
        raise PresetError(f"a preset cannot be named {name!r}: Windows keeps this name for itself")


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.json"))
    except OSError as error:
        logger.warning("the presets in %s cannot be listed: %s", folder, error.strerror)
        return []


def write_whole(path: Path, content: dict) -> Path:
    """Write a JSON file that is there whole or, if anything fails, as it was."""
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    return path


@contextlib.contextmanager
def _told_where(failure: str, folder: Path) -> Iterator[None]:
    """What the disk refuses in here is told as this failure, with the reason."""
    try:
        yield
    except OSError as error:
        blocked = next((p for p in (folder, *folder.parents) if os.path.isfile(p)), None)
        reason = f"{blocked} is a file" if blocked else error.strerror or str(error)
        raise PresetFolderError(f"{failure}: {reason}") from error


def _read(path: Path, name: str) -> Preset:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = Settings.from_mapping(content["settings"])
        texts = (str(content.get(key, "")) for key in ("description", "brief"))
        return Preset(name, settings, *texts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # SettingsError is a ValueError and says which parameter
        reason = error if isinstance(error, SettingsError) else f"not a preset file ({error})"
        raise PresetError(f"{path.name}: {reason}") from error
