"""The negative side, not computed in some steps: asleep, its rows are given as the positive ones
less the last difference of the two; in the attention, the negative prompt acts in these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from ..planning.moment import Moment
from ..planning.sleep import negative_asleep_since, negative_awake_before
from ..settings.methods import ASLEEP, COMPUTED
from ..settings.settings import Settings
from .calls import Args, Dialect, Kwargs
from .foreign import CROSS_CHANGED, OwnHook, Watch, between
from .in_attention import InAttention, NegativePrompts
from .known_rows import KnownRows
from .memory import CallKey, Memory
from .obstacles import MORE_ROWS, NO_NEGATIVE
from .rows import Row, UnknownRowsError, call_of_rows, rows_of
from .silence import Silence
from .sites import cross_attentions
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
    """A call under way in a step. `computed` are the rows that it computes, by their places;
    `attends`: the negative prompt acts in the attention.
    """

    key: CallKey
    latent: torch.Tensor
    step: int
    pairs: Sequence[_Pair]
    computed: Sequence[int]
    attends: bool = False


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
    """The negative half of the calls of one U-Net, in the steps in which the settings do without.

    `reasons` collects why it was computed in a step in which it should not have been.
    """

    def __init__(self, settings: Settings, known: KnownRows):
        self._settings, self._memory, self._known = settings, Memory(), known
        self._present: _Call | None = None
        self._refused = False  # in this step: both sides are computed, whichever call comes
        self._comes_apart = False  # prompt and negative prompt, in separate calls
        self._followed: tuple[nn.Module, OwnHook, OwnHook] | None = None
        self._cross = Watch(())
        self._silence: Silence | None = None
        self.reasons: dict[str, None] = {}
        self.is_idle = settings.negative == COMPUTED
        attends = settings.negative not in (COMPUTED, ASLEEP)
        self._attention = InAttention(settings, self.reasons.setdefault) if attends else None

    def follow(self, making: Making, hooks: tuple[OwnHook, OwnHook]) -> None:
        """Move to a U-Net; `hooks` are the application's own before and after it."""
        self._followed = (making.unet, *hooks)
        crosses = cross_attentions(making.found)
        self._cross = Watch(module for cross in crosses for module in cross.modules())
        self._silence = Silence(making)
        if self._attention is not None:
            self._attention.follow(making.found)

    def leave(self) -> None:
        """Let go of the U-Net."""
        self.forget()
        if self._silence is not None:
            self._silence.release()
        if self._attention is not None:
            self._attention.leave()
        self._followed, self._cross, self._silence = None, Watch(()), None

    def forget(self) -> None:
        """A new pass: what was kept is of another image."""
        self._end_call()
        self._memory.forget()
        self._known.given.clear()
        self._refused = self._comes_apart = False
        if self._attention is not None:
            self._attention.forget()

    def begin_step(self) -> None:
        """The host tells of the next calls."""
        self._refused = False

    @property
    def asleep_rows(self) -> int:
        """How many rows of the present call are not computed."""
        call = self._present
        return 0 if call is None else call.key.shape[0] - len(call.computed)

    @property
    def attends(self) -> bool:
        """Whether the negative prompt acts in the attention of the present call."""
        return self._present is not None and self._present.attends

    def prints(self) -> list[torch.Tensor]:
        """What `begin_call` needs to know of negative prompts, each (prompts,), on the device."""
        return [] if self._attention is None else self._known.prints()

    def latents(self, latent: torch.Tensor) -> list[torch.Tensor]:
        """With which latents a call may be made: with all rows of its own, or with some."""
        positive = self._known.positive
        fewer = not self.is_idle and 0 < len(positive) < len(latent)
        return [latent, rows_of(latent, positive)] if fewer else [latent]

    def begin_call(
        self,
        moment: Moment,
        key: CallKey,
        latent: torch.Tensor,
        given: Given,
        at_work: bool,
        prints: Sequence[float],
    ) -> Half | None:
        """What to call the U-Net with instead of what was `given`, its `latent` among it; None: as
        it is. Not `at_work`: all rows are computed, and nothing is kept. `prints`: what `prints`
        gave, read.
        """
        if self._present is not None:  # the last one failed
            self.forget()
        self._memory.begin_call(moment.timestep)
        if not at_work or self.is_idle:
            return None
        since = negative_asleep_since(self._settings, moment)
        if self._known.doubt is not None:
            self._stay_awake(self._known.doubt, since)
            return None
        pairs = self._pairs(key)
        self._memory.drop_before(negative_awake_before(self._settings, moment))
        self._present = _Call(key, latent, moment.index, pairs, range(len(latent)))
        only_negative = len(pairs) == len(latent)
        self._comes_apart |= only_negative
        later = self._known.has_later_negatives or (self._comes_apart and not pairs)
        if only_negative or (later and self._attention is not None):
            assert self._silence is not None
            self._silence.listen(Call(key, moment.index, moment.timestep, latent))
        if since is None:
            return None
        half = None
        if self._attention is not None:
            half = self._attended(moment, since, self._present, given, tuple(prints))
        elif pairs:
            half = self._half(moment, since, self._present, given)
        if half is not None:
            self._present = dataclasses.replace(self._present, computed=half.rows)
        return half

    def _half(self, moment: Moment, since: int, call: _Call, given: Given) -> Half | None:
        """What is left of a call without the negative rows; None where they have to be computed."""
        if not all(self._memory.found(pair.key, pair.name, since) for pair in call.pairs):
            return None
        reason = CROSS_CHANGED if self._cross.found() else self._seen_by_others()
        if reason is None:
            rows = self._known.positive
            try:
                if rows:
                    return Half(rows, *call_of_rows(*given, rows))
            except UnknownRowsError:
                reason = MORE_ROWS
            else:
                return Half(rows, *given[1:]) if self._falls_silent(moment, call) else None
        self._stay_awake(reason, since)
        return None

    def _attended(
        self, moment: Moment, since: int, call: _Call, given: Given, prints: tuple[float, ...]
    ) -> Half | None:
        """The same of a call in whose attention the negative prompt acts. It may have no negative
        rows, and then is computed in full.
        """
        assert self._attention is not None
        rows, reason = self._known.positive, None
        if self._refused:
            return None
        if not rows:
            self._present = call = dataclasses.replace(call, attends=True)
            silent = self._seen_by_others() is None and self._falls_silent(moment, call)
            return Half(rows, *given[1:]) if silent else None
        found = self._known.negative_texts(prints)
        if found is None:
            reason = NO_NEGATIVE
        else:
            fewer = self._seen_by_others() if call.pairs else None
            reason = self._attention.obstacle(given[2]) or fewer
        half = Half(rows, *given[1:])
        try:
            if call.pairs:
                half = Half(rows, *call_of_rows(*given, rows))
        except UnknownRowsError:
            reason = reason or MORE_ROWS
        if reason is not None or found is None:
            self._stay_awake(reason or NO_NEGATIVE, since)
            return None
        texts, places, told = found
        own = told or call.key.of_rows([pair.negative for pair in call.pairs]).conditioning
        self._attention.prompts = NegativePrompts(texts, places, (texts.shape, own))
        self._present = dataclasses.replace(call, attends=True)
        return half

    def _falls_silent(self, moment: Moment, call: _Call) -> bool:
        answer = torch.cat(list(self._negative_rows(call, {}).values()))
        assert self._silence is not None
        return self._silence.fall(Call(call.key, call.step, moment.timestep, call.latent), answer)

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
        changed = len(rows) < count or (call.attends and bool(call.pairs))
        if changed:
            rows |= self._negative_rows(call, rows)
            output = torch.cat([rows[row] for row in range(count)])
        elif self._attention is None:
            for pair in call.pairs:
                difference = self._positive(pair, rows) - rows[pair.negative]
                self._memory.keep(pair.key, pair.name, call.step, difference, most=1)
        self._known.remember(call.key, call.latent, rows, call.attends)
        return output if changed else None

    def _end_call(self) -> _Call | None:
        """The call is over, or failed."""
        call, self._present = self._present, None
        if self._silence is not None:
            self._silence.end()
        if self._attention is not None:
            self._attention.prompts = None
        return call

    def _negative_rows(
        self, call: _Call, rows: Mapping[int, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """The negative rows of a call by their places, each (1, ...), from what others gave."""
        if call.attends:
            return {pair.negative: self._mean(pair.positive.image, rows) for pair in call.pairs}
        return {
            pair.negative: self._positive(pair, rows)
            - self._memory.found(pair.key, pair.name)[-1].value
            for pair in call.pairs
        }

    def _mean(self, image: int, rows: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """The mean of what an image's prompts gave, by their weights: with it for the negative
        prompt's, guidance gives this mean, whatever its scale.
        """
        found = list(self._known.prompts_of(image, rows))
        weights = [row.weight for row, _ in found]
        if len(found) == 1 or sum(weights) == 0:
            return found[0][1]
        total = sum(weights)
        parts = [each * (weight / total) for weight, (_, each) in zip(weights, found)]
        return torch.stack(parts).sum(dim=0)

    def _positive(self, pair: _Pair, rows: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """What the positive row of a pair gave, in this call or before."""
        if pair.positive in self._known.rows:
            return rows[self._known.rows.index(pair.positive)]
        return self._known.given[pair.positive].output

    def _pairs(self, key: CallKey) -> list[_Pair]:
        found, rows = [], self._known.rows
        for index, row in enumerate(rows):
            if row.negative:
                own = key.of_rows([index])
                other = (
                    key.of_rows([rows.index(row.partner)]).conditioning
                    if row.partner in rows
                    else self._known.given[row.partner].conditioning
                )
                both = dataclasses.replace(own, conditioning=(*own.conditioning, *other))
                found.append(_Pair(index, row.partner, both, f"{row.image}.{row.prompt}"))
        return found

    def _seen_by_others(self) -> str | None:
        """Who of others looks at the rows of a call, and would miss some."""
        assert self._followed is not None
        return between(*self._followed)

    def _stay_awake(self, reason: str, since: int | None) -> None:
        self._refused = True
        if since is not None:
            self.reasons.setdefault(reason)
