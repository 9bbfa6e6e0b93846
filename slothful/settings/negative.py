"""The parameters of the negative half: the rows of a call that stand for the negative prompt."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import ASLEEP, COMPUTED, NEGATIVES
from .parameter import param

_ASLEEP: dict[str, Any] = dict(group="negative", needs=(f"negative={ASLEEP}",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NegativeParameters:
    """Fields of `Settings`."""

    negative: str = param(
        COMPUTED,
        "Negative side",
        "computed: the U-Net runs for the prompt and for the negative prompt, as usual. asleep: in "
        "some steps it runs for the prompt alone, and the difference between the two is that of "
        "the last step in which both were computed.",
        group="negative",
        choices=NEGATIVES,
    )
    negative_every: float = param(
        2.0,
        "Negative side awake every",
        "In one step of this many both sides are computed; 2.5 alternates between 3 and 2. 1 never "
        "sleeps.",
        range=(1, 10),
        step=0.1,
        **_ASLEEP,
    )
    negative_first: float = param(
        0.1,
        "First steps with both sides",
        "Share of the steps at the start of each pass in which both sides are always computed; in "
        "the first step they always are.",
        range=(0, 1),
        step=0.05,
        **_ASLEEP,
    )
    negative_last: float = param(
        0.05,
        "Last steps with both sides",
        "Share of the steps at the end of each pass in which both sides are always computed.",
        range=(0, 1),
        step=0.05,
        **_ASLEEP,
    )
