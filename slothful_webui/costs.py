"""What machines take for the parts of U-Nets: kept in a file beside the presets, one entry for each
machine and U-Net.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slothful import MachineCosts, Rates, UnetShape, check_costs
from slothful_webui.presets import write_whole

VERSION = 1

DAMAGED = "{file} was ignored: it is not a file of measured costs ({reason})"
FOREIGN = "an entry of {file} was ignored: {reason}"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Machine:
    """On what and how a U-Net is computed: the device's name, torch's version, what computes
    attention and the precision, in the host's words.
    """

    device: str
    torch: str
    attention: str
    precision: str


class CostsFile:
    """The measured costs, under `folder`, that of the user's own presets.

    `problem` says what of the file could not be used when it was last read, None if all was good:
    a text with {names}, and their values.
    """

    def __init__(self, folder: Path):
        # in a folder of its own, for all files beside it are presets
        self.path = folder / "machine" / "costs.json"
        self.problem: tuple[str, Mapping[str, str]] | None = None
        self._read: tuple[int, list[Mapping[str, Any]]] | None = None

    def load(self, machine: Machine, shape: UnetShape) -> MachineCosts | None:
        """The costs of a U-Net on a machine, None where they were not measured."""
        self.problem = None
        for entry in self._entries():
            if not isinstance(entry, dict) or not isinstance(entry.get("costs"), dict):
                self._tell(FOREIGN, "it has no costs")
            elif _key(entry) == _key_of(machine, shape):
                try:
                    return _decode(entry["costs"], shape)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    self._tell(FOREIGN, str(error) or type(error).__name__)
        return None

    def save(self, machine: Machine, shape: UnetShape, costs: MachineCosts) -> Path:
        """Keep costs, in the place of those of the same machine and U-Net; what is damaged goes.

        Raises `OSError` where the disk refuses.
        """
        key = _key_of(machine, shape)
        others = [e for e in self._entries() if isinstance(e, dict) and _key(e) != key]
        entry = {**key, "costs": _encode(costs)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(self.path, {"version": VERSION, "measured": [*others, entry]})

    def _entries(self) -> list[Any]:
        """Read anew where the file has changed."""
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            return []
        if self._read is None or self._read[0] != changed:
            self._read = changed, self._parse()
        elif self._read[1] == []:
            self.problem = self._damage
        return self._read[1]

    _damage: tuple[str, Mapping[str, str]] | None = None

    def _parse(self) -> list[Any]:
        self._damage = None
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']!r} instead of {VERSION}")
            measured = content["measured"]
            if not isinstance(measured, list):
                raise ValueError("measured must be a list")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._tell(DAMAGED, str(error))
            self._damage = self.problem
            return []
        return measured

    def _tell(self, text: str, reason: str) -> None:
        values = {"file": self.path.name, "reason": reason}
        self.problem = text, values
        logger.warning(text.format(**values))


def _key_of(machine: Machine, shape: UnetShape) -> dict[str, str]:
    layout = hashlib.sha256(repr(shape).encode()).hexdigest()[:16]
    return {**dataclasses.asdict(machine), "layout": layout}


def _key(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "costs"}


def _encode(costs: MachineCosts) -> dict[str, Any]:
    rates = {kind: dataclasses.asdict(each) for kind, each in costs.attention.items()}
    return {**dataclasses.asdict(costs), "attention": rates}


def _decode(content: Mapping[str, Any], shape: UnetShape) -> MachineCosts:
    """Raises `ValueError` and what else goes wrong with what is no costs of this U-Net."""
    costs = MachineCosts(
        blocks={int(inside): _line(points) for inside, points in content["blocks"].items()},
        parts={str(name): _line(points) for name, points in content["parts"].items()},
        attention={kind: Rates(**each) for kind, each in content["attention"].items()},
        **{name: float(content[name]) for name in ("hook", "search", "value")},
    )
    check_costs(costs, shape)
    return costs


def _line(points: Sequence[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)
