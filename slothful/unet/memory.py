"""What parts of a U-Net gave when they were last awake, and how long that may be given again.

An entry belongs to one call of a step: its rows, what they are conditioned on, its size, dtype and
device. Whatever does not fit is not found, and what is not found is computed.
"""

from __future__ import annotations

import dataclasses

import torch

from ..planning.moment import SAME_TIME


@dataclasses.dataclass(frozen=True)
class CallKey:
    """Which call of a step this is, as far as it decides what the U-Net answers.

    `number` counts the calls of a step; `shape`, `dtype` and `device` are those of the latent;
    `conditioning` holds a number for each row, made of what the row is conditioned on.
    """

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    conditioning: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a part gave in a step. Somebody may have written into the tensor since: its version
    tells, where torch counts one.
    """

    step: int
    value: torch.Tensor
    version: int | None

    @property
    def intact(self) -> bool:
        return self.version is None or self.value._version == self.version


class Memory:
    """Entries of the parts of one U-Net over one pass."""

    def __init__(self) -> None:
        self._entries: dict[CallKey, dict[str, list[Entry]]] = {}
        self._last_timestep: float | None = None

    def forget(self) -> None:
        """A new pass, another U-Net, the end."""
        self._entries.clear()
        self._last_timestep = None

    def begin_call(self, timestep: float) -> bool:
        """A call at a timestep in 0..1000. Whether time goes back, as in Restart: then what is kept
        is of another path.
        """
        last, self._last_timestep = self._last_timestep, timestep
        goes_back = last is not None and timestep > last + SAME_TIME
        if goes_back:
            self._entries.clear()
        return goes_back

    def drop_before(self, step: int) -> None:
        """Nobody will ask for what was last given before a step: calls with other rows, say."""
        for key, parts in list(self._entries.items()):
            if all(entries[-1].step < step for entries in parts.values()):
                del self._entries[key]

    def keep(self, key: CallKey, part: str, step: int, value: torch.Tensor, most: int) -> None:
        """Keep what a part gave, (batch, ...), beside what it gave in earlier steps: `most` entries
        in all.
        """
        inference = value.is_inference()
        value = value.clone() if inference else value
        entry = Entry(step, value, None if inference else value._version)
        parts = self._entries.setdefault(key, {})
        earlier = [old for old in parts.get(part, []) if old.step < step]
        parts[part] = [*earlier, entry][-most:]

    def discard(self, key: CallKey, part: str, step: int) -> None:
        """What a part gave in a step is not fit to be given again."""
        parts = self._entries.get(key, {})
        earlier = [entry for entry in parts.pop(part, []) if entry.step < step]
        if earlier:
            parts[part] = earlier

    def found(self, key: CallKey, part: str, since: int = 0) -> list[Entry]:
        """What a part gave, oldest first; empty where its last is of before step `since` or was
        written into.
        """
        entries = self._entries.get(key, {}).get(part, [])
        if not entries or entries[-1].step < since or not all(e.intact for e in entries):
            return []
        return entries
