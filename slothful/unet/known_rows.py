"""The rows of the present call of a U-Net, as they were told and checked, and what positive rows
gave in earlier calls of the same step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from ..planning.site import grid_of
from .calls import Kwargs, fingerprint
from .memory import CallKey, Conditioning
from .obstacles import APART, OTHER_ROWS, UNKNOWN_ROWS
from .rows import Row, ToldRows, doubts_of, marked_rows, partners_in


class Given(NamedTuple):
    """What a positive row got and gave in a call of this step, each (1, ...), and what it was
    conditioned on.
    """

    latent: torch.Tensor
    output: torch.Tensor
    conditioning: Conditioning


class KnownRows:
    """`rows` are those of the present call; where they are not known, `doubt` says why."""

    def __init__(self) -> None:
        self._told = ToldRows()
        self._text: torch.Tensor | None = None
        self.rows: tuple[Row, ...] = ()
        self.doubt: str | None = UNKNOWN_ROWS
        self.given: dict[Row, Given] = {}

    def tell(self, told: ToldRows) -> None:
        """Which rows come in the next calls; a step begins."""
        self._told = told
        self.given.clear()

    def look(
        self,
        latent: torch.Tensor,
        conditions: Sequence[torch.Tensor],
        kwargs: Kwargs,
        size: tuple[int, int] | None,
    ) -> list[torch.Tensor]:
        """A call begins. Numbers that are 0 where its rows are what they were told to be, each
        (1,), on the latent's device, for `check`.

        `conditions` are what the rows are conditioned on, the text first. `size`: the (width,
        height) of the image in pixels, where it is known; what a tile of it is called with, nobody
        has told.
        """
        count = len(latent)
        self._text = next((e for e in conditions if len(e) == count and e.ndim == 3), None)
        rows, texts = self._told.take(count)
        if marked := marked_rows(kwargs, count):
            rows, texts = self._told.weighed(marked, self._text)
        elif size is not None and grid_of(*size, 1) != latent.shape[-2:]:
            rows = ()
        self.rows, self.doubt = rows, self._told.reason or (None if rows else UNKNOWN_ROWS)
        apart = [row for row in rows if row.negative and row.partner not in rows]
        if self.doubt is None and any(not self._was_given(row.partner, latent) for row in apart):
            self.doubt = APART
        if self.doubt is not None:
            return []
        others = {row: self.given[row.partner].latent for row in apart}
        return doubts_of(rows, texts, latent, self._text, others)

    def _was_given(self, row: Row, latent: torch.Tensor) -> bool:
        """Whether a row was computed in this step, for a latent of this size."""
        return row in self.given and self.given[row].latent.shape[1:] == latent.shape[1:]

    def check(self, numbers: Sequence[float]) -> None:
        """Take what `look` asked for, once it is read."""
        if self.doubt is None and any(number != 0 for number in numbers):  # or is not a number
            self.doubt = OTHER_ROWS

    @property
    def positive(self) -> list[int]:
        """The places of the rows for the prompt."""
        return [place for place, row in enumerate(self.rows) if not row.negative]

    @property
    def has_later_negatives(self) -> bool:
        """Whether negative rows come in later calls of this step, as far as the host has told."""
        return any(row.negative for row in self._later)

    @property
    def _later(self) -> Sequence[Row]:
        return self._told.rows[self._told.taken :]

    def partners(self) -> tuple[int, ...] | None:
        """For each row the place of one of the other side; None where one has none."""
        return partners_in(self.rows)

    def remember(
        self, key: CallKey, latent: torch.Tensor, rows: Mapping[int, torch.Tensor], every: bool
    ) -> None:
        """Keep what positive rows gave whose negative ones come later; or `every` one, where that
        is not told. `rows`: what each gave, by its place.
        """
        later = {row.partner for row in self._later if row.negative}
        for place, row in enumerate(self.rows):
            if row in later or (every and not row.negative):
                conditioning = key.of_rows([place]).conditioning
                own = latent[place : place + 1]
                # a copy, for the host may write into its own
                self.given[row] = Given(own, rows[place].clone(), conditioning)

    def prompts_of(
        self, image: int, rows: Mapping[int, torch.Tensor]
    ) -> Iterator[tuple[Row, torch.Tensor]]:
        """The positive rows of an image, and what they gave: in the present call as `rows` say, or
        before.
        """
        for place, row in enumerate(self.rows):
            if place in rows and not row.negative and row.image == image:
                yield row, rows[place]
        for row, given in self.given.items():
            if row not in self.rows and row.image == image:
                yield row, given.output

    def prints(self) -> list[torch.Tensor]:
        """A number for each negative prompt that was told, in one tensor; nothing where none was.

        What tells one prompt from another is read from the device along with the timestep.
        """
        told = self._told.negatives
        return [] if told is None else [fingerprint(told)]

    def negative_texts(
        self, prints: Sequence[float]
    ) -> tuple[torch.Tensor, list[int], tuple[float, ...]] | None:
        """The negative prompts (prompts, tokens, channels), for each positive row the place of its
        own, and of those that were told, what `prints` gave; None where one is not known. What was
        told goes before what the negative rows of the call are conditioned on.
        """
        wanted = [self.rows[place].image for place in self.positive]
        told = self._told.negatives
        if told is not None:
            places = [0] * len(wanted) if len(told) == 1 else wanted
            if max(places, default=0) < len(told):
                return told, places, tuple(prints)
        negative = [place for place, row in enumerate(self.rows) if row.negative]
        images = [self.rows[place].image for place in negative]
        if self._text is None or not set(wanted) <= set(images):
            return None
        texts = torch.cat([self._text[place : place + 1] for place in negative])
        return texts, [images.index(image) for image in wanted], ()
