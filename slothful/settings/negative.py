"""The parameters of the negative half: the rows of a call that stand for the negative prompt."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import ASLEEP, COMPUTED, FORMS, IN_ATTENTION, MIXES, NAG, NEGATIVES, UNMIXED, VSF
from .parameter import param

_NEGATIVE: dict[str, Any] = dict(group="negative")
_ENDS: dict[str, Any] = dict(range=(0, 1), step=0.05, needs=(f"negative!{COMPUTED}",), **_NEGATIVE)
_NAG: dict[str, Any] = dict(needs=(f"negative_form={NAG}",), **_NEGATIVE)
_MIX: dict[str, Any] = dict(needs=(f"mix!{UNMIXED}",), **_NEGATIVE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NegativeParameters:
    """Fields of `Settings`."""

    negative: str = param(
        COMPUTED,
        "Negative side",
        "computed: the U-Net runs for the prompt and for the negative prompt, as usual. asleep: in "
        "some steps it runs for the prompt alone, and the difference between the two is that of "
        "the last step in which both were computed. in the attention: it runs for the prompt "
        "alone, and the negative prompt acts in its cross-attention, at a CFG scale of 1 too; in "
        "these steps the CFG scale has no effect.",
        brief="Whether the negative prompt is computed in every step.",
        choices=NEGATIVES,
        **_NEGATIVE,
    )
    negative_every: float = param(
        2.0,
        "Negative side awake every",
        "In one step of this many both sides are computed; 2.5 alternates between 3 and 2. 1 never "
        "sleeps.",
        brief="In one step of this many both sides are computed.",
        range=(1, 10),
        step=0.1,
        needs=(f"negative={ASLEEP}",),
        **_NEGATIVE,
    )
    negative_first: float = param(
        0.1,
        "First steps with both sides",
        "Share of the steps at the start of each pass in which both sides are always computed; a "
        "negative side that sleeps is always computed in the first step.",
        brief="Share of the first steps with both sides.",
        **_ENDS,
    )
    negative_last: float = param(
        0.05,
        "Last steps with both sides",
        "Share of the steps at the end of each pass in which both sides are always computed.",
        brief="Share of the last steps with both sides.",
        **_ENDS,
    )
    negative_form: str = param(
        NAG,
        "Negative prompt in the attention",
        "NAG: the answers of cross-attention to the prompt are moved away from those to the "
        "negative prompt, as far as tau allows. VSF: both prompts are attended to at once, and the "
        "negative one's values are subtracted.",
        brief="How the negative prompt acts there: NAG or VSF.",
        choices=FORMS,
        needs=(f"negative={IN_ATTENTION}",),
        **_NEGATIVE,
    )
    negative_scale: float = param(
        3.0,
        "NAG scale",
        "How far the answers are moved away from those to the negative prompt; 1 does not move "
        "them.",
        brief="How far answers are moved from those to the negative prompt.",
        range=(1, 15),
        step=0.1,
        **_NAG,
    )
    negative_tau: float = param(
        2.5,
        "NAG tau",
        "How many times as large as before an answer may become at most.",
        range=(1, 10),
        step=0.1,
        **_NAG,
    )
    negative_alpha: float = param(
        0.5,
        "NAG alpha",
        "How much of the moved answers is taken, beside the answers to the prompt alone.",
        range=(0, 1),
        step=0.05,
        **_NAG,
    )
    negative_strength: float = param(
        0.5,
        "VSF strength",
        "By how much the negative prompt's values are multiplied before they are subtracted.",
        brief="How strongly the negative prompt's values are subtracted.",
        range=(0, 4),
        step=0.05,
        needs=(f"negative_form={VSF}",),
        **_NEGATIVE,
    )
    mix: str = param(
        UNMIXED,
        "Mixed keys",
        "What self-attention does with the keys of the other side, at the same places, where both "
        "sides are computed. push: the prompt's keys move away from the negative prompt's. share: "
        "each side sees the other's keys as well, with its own values. repel: the same, with its "
        "values subtracted.",
        brief="What self-attention does with the keys of the other side.",
        choices=MIXES,
        **_NEGATIVE,
    )
    mix_amount: float = param(
        0.5,
        "Amount of mixing",
        "How far keys are pushed, or how much the other side's keys weigh beside its own; times "
        "the weights of blocks. 0 mixes nothing.",
        brief="How strongly the other side's keys count; 0 mixes nothing.",
        range=(0, 2),
        step=0.05,
        **_MIX,
    )
    mix_peak_time: float = param(
        0.0,
        "Peak of mixing",
        "When the most is mixed: 0 is pure noise (start), 1 is the finished image (end).",
        range=(0, 1),
        step=0.05,
        needs=("mix_time_decay",),
        **_NEGATIVE,
    )
    mix_time_decay: float = param(
        0.0,
        "Decay of mixing",
        "How quickly mixing fades before and after that time; 0 keeps it constant.",
        range=(0, 4),
        step=0.1,
        **_MIX,
    )
