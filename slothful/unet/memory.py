"""What parts of a U-Net gave when they were last awake, and how long that may be given again.

An entry belongs to one call of a step: its rows, what they are conditioned on, its size, dtype and
device. Whatever does not fit is not found, and what is not found is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..planning.moment import SAME_TIME
from .rows import rows_of

Conditioning = tuple[tuple[float, ...], ...]
"""For each tensor that rows are conditioned on, a number for each row, or one for all."""


@dataclasses.dataclass(frozen=True)
class CallKey:
    """Which call of a step this is, as far as it decides what the U-Net answers.

    `number` counts the calls of a step; `shape`, `dtype` and `device` are those of the latent;
    `conditioning` is made of what the rows are conditioned on. Where only some `rows` of a call are
    computed, `whole` is the key of all.
    """

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    conditioning: Conditioning
    rows: Sequence[int] = dataclasses.field(default=(), compare=False)
    whole: CallKey | None = dataclasses.field(default=None, compare=False)

    def of_rows(self, rows: Sequence[int]) -> CallKey:
        """The key of a call that has only these of its rows."""
        count = self.shape[0]
        conditioning = tuple(
            tuple(numbers[row] for row in rows) if len(numbers) == count else numbers
            for numbers in self.conditioning
        )
        shape = (len(rows), *self.shape[1:])
        return dataclasses.replace(
            self, shape=shape, conditioning=conditioning, rows=tuple(rows), whole=self
        )


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

    def of_rows(self, rows: Sequence[int]) -> Entry:
        """What it gave for some of its rows."""
        return dataclasses.replace(self, value=rows_of(self.value, rows))


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
        """What a part gave, oldest first; empty where its last is of before step `since` or one was
        written into. Of some rows of a call, also what was given for all of them.
        """
        entries = self._entries.get(key, {}).get(part, [])
        if key.whole is not None:
            steps = {entry.step for entry in entries}
            others = self._entries.get(key.whole, {}).get(part, [])
            fit = [e for e in others if e.step not in steps and len(e.value) == key.whole.shape[0]]
            # what was written into stays so
            parts = (e.of_rows(key.rows) if e.intact else e for e in fit)
            entries = sorted([*entries, *parts], key=lambda entry: entry.step)
        if not entries or entries[-1].step < since or not all(e.intact for e in entries):
            return []
        return entries
