"""The negative side asleep: only positive rows run, and the negative ones are given as the positive
ones less the last difference of the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..planning.moment import Moment
from ..planning.site import grid_of
from ..planning.sleep import negative_asleep_since, negative_awake_before
from ..settings.methods import ASLEEP
from ..settings.settings import Settings
from .calls import Args, Dialect, Kwargs
from .foreign import CROSS_CHANGED, OwnHook, Watch, between
from .memory import CallKey, Conditioning, Memory
from .obstacles import APART, MORE_ROWS, OTHER_ROWS, UNKNOWN_ROWS
from .rows import (
    Row,
    ToldRows,
    UnknownRowsError,
    call_of_rows,
    doubts_of,
    marked_rows,
    rows_of,
)
from .silence import Silence
from .sleeping_parts import Call, Making


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A negative row by its place in a call, the positive one of the same image, and under which
    key and name their difference is kept.
    """

    negative: int
    positive: Row
    key: CallKey
    name: str


@dataclasses.dataclass(frozen=True)
class _Call:
    """A call under way in a step. `computed` are the rows that it computes, by their places."""

    key: CallKey
    latent: torch.Tensor
    step: int
    pairs: Sequence[_Pair]
    computed: Sequence[int]


class _Other(NamedTuple):
    """What a positive row got and gave in an earlier call of this step, each (1, ...), and what it
    was conditioned on.
    """

    latent: torch.Tensor
    output: torch.Tensor
    conditioning: Conditioning


Given = tuple[Dialect, Args, Kwargs]
"""How a U-Net is called, and with what."""


class Half(NamedTuple):
    """The `rows` of a call that are computed, by their places, and the arguments for them. Where
    there are none, the call computes nothing.
    """

    rows: Sequence[int]
    args: Args
    kwargs: Kwargs


class NegativeSide:
    """The negative half of the calls of one U-Net, asleep in the steps that the settings say.

    `reasons` collects why it was computed in a step in which it should have slept.
    """

    def __init__(self, settings: Settings):
        self._settings, self._memory = settings, Memory()
        self._told = ToldRows()
        self._rows: tuple[Row, ...] = ()
        self._doubt: str | None = None
        self._present: _Call | None = None
        self._others: dict[Row, _Other] = {}
        self._followed: tuple[nn.Module, OwnHook, OwnHook] | None = None
        self._cross = Watch(())
        self._silence: Silence | None = None
        self.reasons: dict[str, None] = {}
        self.is_idle = settings.negative != ASLEEP

    def follow(self, making: Making, hooks: tuple[OwnHook, OwnHook]) -> None:
        """Move to a U-Net; `hooks` are the application's own before and after it."""
        self._followed = (making.unet, *hooks)
        layers: list[Any] = [layer for modules in making.found for layer in modules.layers]
        crosses = [layer.attn2 for layer in layers if layer.attn2 is not None]
        self._cross = Watch(module for cross in crosses for module in cross.modules())
        self._silence = Silence(making)

    def leave(self) -> None:
        """Let go of the U-Net."""
        self.forget()
        if self._silence is not None:
            self._silence.release()
        self._followed, self._cross, self._silence = None, Watch(()), None

    def forget(self) -> None:
        """A new pass: what was kept is of another image."""
        self._end_call()
        self._memory.forget()
        self._others.clear()

    def tell(self, told: ToldRows) -> None:
        """Which rows come in the next calls."""
        self._told = told
        self._others.clear()

    @property
    def asleep_rows(self) -> int:
        """How many rows of the present call are not computed."""
        call = self._present
        return 0 if call is None else call.key.shape[0] - len(call.computed)

    def doubts(
        self,
        latent: torch.Tensor,
        conditions: Sequence[torch.Tensor],
        kwargs: Kwargs,
        size: tuple[int, int] | None,
    ) -> list[torch.Tensor]:
        """What `begin_call` needs to know of a call beforehand: numbers that are 0 where its rows
        are what they were told to be, each (1,), on the latent's device.

        `conditions` are what the rows are conditioned on, the text first. `size`: the (width,
        height) of the image in pixels, where it is known; what a tile of it is called with, nobody
        has told.
        """
        if self.is_idle:
            return []
        count = len(latent)
        rows, texts = self._told.take(count)
        if marked := marked_rows(kwargs, count):
            rows, texts = marked, None
        elif size is not None and grid_of(*size, 1) != latent.shape[-2:]:
            rows = ()
        self._rows, self._doubt = rows, self._told.reason or (None if rows else UNKNOWN_ROWS)
        apart = [row for row in rows if row.negative and row.partner not in rows]
        if self._doubt is None and any(row.partner not in self._others for row in apart):
            self._doubt = APART
        if self._doubt is not None:
            return []
        context = next((each for each in conditions if len(each) == count and each.ndim == 3), None)
        others = {row: self._others[row.partner].latent for row in apart}
        return doubts_of(rows, texts, latent, context, others)

    def latents(self, latent: torch.Tensor) -> list[torch.Tensor]:
        """With which latents a call may be made: with all rows of its own, or with some."""
        positive = [place for place, row in enumerate(self._rows) if not row.negative]
        return [latent, rows_of(latent, positive)] if 0 < len(positive) < len(latent) else [latent]

    def begin_call(
        self,
        moment: Moment,
        key: CallKey,
        latent: torch.Tensor,
        given: Given,
        at_work: bool,
        doubts: Sequence[float],
    ) -> Half | None:
        """What to call the U-Net with instead of what was `given`, its `latent` among it; None: as
        it is. Not `at_work`: all rows are computed, and nothing is kept.
        """
        if self._present is not None:  # the last one failed
            self.forget()
        self._memory.begin_call(moment.timestep)
        if not at_work or self.is_idle:
            return None
        since = negative_asleep_since(self._settings, moment)
        if self._doubt is None and any(number != 0 for number in doubts):  # or is not a number
            self._doubt = OTHER_ROWS
        if self._doubt is not None:
            self._stay_awake(self._doubt, since)
            return None
        pairs = self._pairs(key)
        self._memory.drop_before(negative_awake_before(self._settings, moment))
        half = None
        self._present = _Call(key, latent, moment.index, pairs, range(len(latent)))
        if len(pairs) == len(latent):
            assert self._silence is not None
            self._silence.listen(Call(key, moment.index, moment.timestep, latent))
        if since is not None and pairs:
            half = self._half(since, self._present, given)
        if half is not None:
            self._present = dataclasses.replace(self._present, computed=half.rows)
        return half

    def _half(self, since: int, call: _Call, given: Given) -> Half | None:
        """What is left of a call without the negative rows; None where they have to be computed."""
        if not all(self._memory.found(pair.key, pair.name, since) for pair in call.pairs):
            return None
        reason = self._obstacle()
        if reason is None:
            negative = {pair.negative for pair in call.pairs}
            rows = [place for place in range(len(call.latent)) if place not in negative]
            try:
                if rows:
                    return Half(rows, *call_of_rows(*given, rows))
            except UnknownRowsError:
                reason = MORE_ROWS
            else:
                return Half(rows, *given[1:]) if self._falls_silent(call) else None
        self._stay_awake(reason, since)
        return None

    def _falls_silent(self, call: _Call) -> bool:
        answer = torch.cat(list(self._negative_rows(call, {}).values()))
        assert self._silence is not None
        return self._silence.fall(answer)

    def end_call(self, output: torch.Tensor) -> torch.Tensor | None:
        """A call is over: what it gives for all rows, (rows, channels, height, width), where its
        `output` has only some. None: as it is.
        """
        call = self._end_call()
        if call is None or not call.computed or len(output) != len(call.computed):
            return None
        place = {row: index for index, row in enumerate(call.computed)}
        rows = {row: output[place[row] : place[row] + 1] for row in call.computed}
        count = len(call.latent)
        if len(rows) < count:
            rows |= self._negative_rows(call, rows)
            output = torch.cat([rows[row] for row in range(count)])
        else:
            for pair in call.pairs:
                difference = self._positive(pair, rows) - rows[pair.negative]
                self._memory.keep(pair.key, pair.name, call.step, difference, most=1)
        self._remember(call, rows)
        return output if len(call.computed) < count else None

    def _end_call(self) -> _Call | None:
        """The call is over, or failed."""
        call, self._present = self._present, None
        if self._silence is not None:
            self._silence.end()
        return call

    def _negative_rows(
        self, call: _Call, rows: Mapping[int, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """The negative rows of a call by their places, each (1, ...), from what others gave."""
        return {
            pair.negative: self._positive(pair, rows)
            - self._memory.found(pair.key, pair.name)[-1].value
            for pair in call.pairs
        }

    def _positive(self, pair: _Pair, rows: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """What the positive row of a pair gave, in this call or before."""
        if pair.positive in self._rows:
            return rows[self._rows.index(pair.positive)]
        return self._others[pair.positive].output

    def _remember(self, call: _Call, rows: Mapping[int, torch.Tensor]) -> None:
        """Keep what positive rows gave whose negative ones come later."""
        later = {row.partner for row in self._told.rows[self._told.taken :] if row.negative}
        for place, row in enumerate(self._rows):
            if row in later:
                conditioning = call.key.of_rows([place]).conditioning
                latent = call.latent[place : place + 1]
                # a copy, for the host may write into its own
                self._others[row] = _Other(latent, rows[place].clone(), conditioning)

    def _pairs(self, key: CallKey) -> list[_Pair]:
        found = []
        for index, row in enumerate(self._rows):
            if row.negative:
                own = key.of_rows([index])
                other = (
                    key.of_rows([self._rows.index(row.partner)]).conditioning
                    if row.partner in self._rows
                    else self._others[row.partner].conditioning
                )
                both = dataclasses.replace(own, conditioning=(*own.conditioning, *other))
                found.append(_Pair(index, row.partner, both, f"{row.image}.{row.prompt}"))
        return found

    def _obstacle(self) -> str | None:
        """What of others looks at the rows of a call, and would miss some."""
        if self._cross.found():
            return CROSS_CHANGED
        assert self._followed is not None
        return between(*self._followed)

    def _stay_awake(self, reason: str, since: int | None) -> None:
        if since is not None:
            self.reasons.setdefault(reason)
