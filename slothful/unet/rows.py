"""Which rows of a call of the U-Net are positive and which negative: told, never guessed.

What was told is checked against what the U-Net gets, wherever that can be done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from .calls import Args, Dialect, Kwargs

OPTIONS = ("transformer_options", "cross_attention_kwargs")
"""Arguments of a U-Net that hold no rows."""

MARKS = "cond_or_uncond"
"""In the options of hosts that have them: for each part of a batch 0, positive, or 1, negative."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a call: of which `image` of the batch, whether it is for the negative prompt, and
    for which `prompt` of several, as those of an AND, from 0, of which `weight`.
    """

    image: int
    negative: bool = False
    prompt: int = 0
    weight: float = dataclasses.field(default=1.0, compare=False)

    @property
    def partner(self) -> Row:
        """The positive row of the same image."""
        return Row(self.image)


class Prompt(NamedTuple):
    """One of several prompts that images have, as of an AND: its weight, and what it says in each
    image, (images, tokens, channels).
    """

    weight: float
    texts: torch.Tensor


@dataclasses.dataclass
class ToldRows:
    """The rows of the next calls of the U-Net, in the order in which they come, as the host has
    told; calls take them one after the other.

    `texts`: the beginning of what each row is conditioned on, (rows, tokens, channels), None where
    the host has not told. Without rows, `reason` says why. `negatives`: the negative prompts of the
    images, or one for all, (images or 1, tokens, channels), also where no row stands for them.
    `prompts`: where rows are marked by their call, the prompts in the order in which they come.
    """

    rows: Sequence[Row] = ()
    texts: torch.Tensor | None = None
    reason: str = ""
    negatives: torch.Tensor | None = None
    prompts: Sequence[Prompt] = ()
    taken: int = 0
    prompts_taken: int = 0

    def take(self, count: int) -> tuple[tuple[Row, ...], torch.Tensor | None]:
        """The rows of a call that has so many, with their texts; none where it has more than are
        left.
        """
        begin, self.taken = self.taken, self.taken + count
        rows = tuple(self.rows[begin : self.taken])
        if len(rows) < count:
            return (), None
        return rows, None if self.texts is None else self.texts[begin : self.taken]

    def weighed(
        self, marked: tuple[Row, ...], context: torch.Tensor | None
    ) -> tuple[tuple[Row, ...], torch.Tensor | None]:
        """The `marked` rows of a call with the weights of the prompts that come next, and with the
        texts of these, the others' being what the call has, the `context`; none where it has more
        than are left.
        """
        if not self.prompts:
            return marked, None
        if context is None:
            return (), None
        rows, texts = [], []
        for row, own in zip(marked, context):
            place = self.prompts_taken + row.prompt
            if row.negative:
                rows.append(row)
            elif place < len(self.prompts) and row.image < len(self.prompts[place].texts):
                weight, told = self.prompts[place]
                rows.append(dataclasses.replace(row, weight=weight))
                own = told[row.image]
            else:
                return (), None
            texts.append(own)
        self.prompts_taken += len({row.prompt for row in marked if not row.negative})
        tokens = min(map(len, texts))
        return tuple(rows), torch.stack([each[:tokens].to(context) for each in texts])


def marked_rows(kwargs: Kwargs, count: int) -> tuple[Row, ...]:
    """The rows of a call by the marks in its options; none where there are no marks, or others than
    these.
    """
    options = kwargs.get("transformer_options")
    marks = options.get(MARKS) if isinstance(options, Mapping) else None
    if not marks or count % len(marks) or not set(marks) <= {0, 1}:
        return ()
    images = range(count // len(marks))
    return tuple(
        Row(image, bool(mark), list(marks[:place]).count(mark))
        for place, mark in enumerate(marks)
        for image in images
    )


def doubts_of(
    rows: Sequence[Row],
    texts: torch.Tensor | None,
    latent: torch.Tensor,
    context: torch.Tensor | None,
    others: Mapping[Row, torch.Tensor],
) -> list[torch.Tensor]:
    """Numbers on the latent's device, each (1,), that are 0 where a call has the rows that it
    should have: the rows of an image get one latent, and each row its text.

    `latent`: (rows, channels, height, width); `context`: (rows, tokens, channels); `others`: for
    some of the rows, the latent that they should have, (1, channels, height, width).
    """
    found = []
    for row, expected in others.items():
        place = rows.index(row)
        found.append(_most(latent[place : place + 1] - expected))
    first = {row: index for index, row in reversed([*enumerate(rows)])}
    pairs = [(i, first[row.partner]) for i, row in enumerate(rows) if row.partner in first]
    if any(own != other for own, other in pairs):
        places, partners = zip(*pairs)
        found.append(_most(rows_of(latent, places) - rows_of(latent, partners)))
    if texts is not None and context is not None:
        tokens = min(texts.shape[1], context.shape[1])
        difference = _most(context[:, :tokens] - texts[:, :tokens].to(context))
        found.append(difference.to(latent.device))
    return found


def _most(values: torch.Tensor) -> torch.Tensor:
    return values.abs().max().float().reshape(1)


def partners_in(rows: Sequence[Row]) -> tuple[int, ...] | None:
    """For each row the place of the first one of the other side of its image; None where there is
    none of them.
    """
    places = {row: place for place, row in reversed([*enumerate(rows)])}
    others = [row.partner if row.negative else Row(row.image, negative=True) for row in rows]
    if not others or any(other not in places for other in others):
        return None
    return tuple(places[other] for other in others)


def in_place_of(values: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """What belongs to some `rows` of a call, one after the other, of (rows * n, ...) with n entries
    for each row of the call, as windows are.
    """
    each = len(values) // len(rows)
    return rows_of(values.unflatten(0, (len(rows), each)), rows).flatten(0, 1)


def rows_of(tensor: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """Some rows of (rows, ...): a view where they follow one another, or there are none."""
    first = rows[0] if rows else 0
    if list(rows) == list(range(first, first + len(rows))):
        return tensor[first : first + len(rows)]
    return torch.cat([tensor[row : row + 1] for row in rows])


class UnknownRowsError(ValueError):
    """An argument has rows that belong to no row of the call."""


def call_of_rows(
    dialect: Dialect, args: Args, kwargs: Kwargs, rows: Sequence[int]
) -> tuple[Args, Kwargs]:
    """The arguments of a U-Net for some of its rows. Raises `UnknownRowsError` where a tensor among
    them has neither a row for each nor one for all.
    """
    count = len(dialect.latent_of(args, kwargs))

    def taken(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.ndim == 0 or len(value) == 1 != count:
                return value
            if len(value) != count:
                raise UnknownRowsError(f"{tuple(value.shape)} of {count} rows")
            return rows_of(value, rows)
        if isinstance(value, Mapping):
            return {name: taken(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([taken(each) for each in value])
        return value

    options = {
        name: _options_of_rows(each, rows, count) if isinstance(each, Mapping) else each
        for name, each in kwargs.items()
        if name in OPTIONS
    }
    others = {name: taken(each) for name, each in kwargs.items() if name not in OPTIONS}
    return tuple(taken(each) for each in args), {**others, **options}


def _options_of_rows(
    options: Mapping[str, Any], rows: Sequence[int], count: int
) -> Mapping[str, Any]:
    """Options that say of each row whether it is positive, for positive rows alone."""
    if MARKS not in options:
        return options
    parts = len(options[MARKS]) * len(rows) // count
    changed: dict[str, Any] = {MARKS: [0] * parts}
    if "cond_mark" in options:  # the same, row by row
        changed["cond_mark"] = rows_of(options["cond_mark"], rows)
    if "cond_indices" in options:
        changed |= {"cond_indices": [*range(len(rows))], "uncond_indices": []}
    return {**options, **changed}
