"""The parameters of sleep: which part of the U-Net is not computed anew in every step, and when."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import FORECASTS, SLEEPS
from .parameter import param

_ASLEEP = ("sleep!nothing",)
_SLEEP: dict[str, Any] = dict(group="sleep", needs=_ASLEEP)


def _own_every(of: str, words: str) -> Any:
    return param(
        0.0,
        f"Awake every, {of}",
        f"The same for {words}; 0 takes the value above.",
        range=(0, 10),
        step=0.1,
        least=1,
        **_SLEEP,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SleepParameters:
    """Fields of `Settings`."""

    sleep: str = param(
        "nothing",
        "What sleeps",
        "Which part of the U-Net is not computed in every step, but repeats what it gave before. "
        "The larger the part, the more time is saved and the more the image changes.",
        brief="The part of the U-Net that is not computed in every step.",
        group="sleep",
        choices=SLEEPS,
    )
    sleep_every: float = param(
        2.0,
        "Awake every",
        "One step of this many is computed in full; 2.5 alternates between 3 and 2. 1 never "
        "sleeps.",
        brief="One step of this many is computed; 1 never sleeps.",
        range=(1, 10),
        step=0.1,
        is_strength=True,
        **_SLEEP,
    )
    sleep_every_img2img: float = _own_every("img2img", "img2img")
    sleep_every_hires: float = _own_every("hires", "the hires pass")
    sleep_first: float = param(
        0.15,
        "First steps awake",
        "Share of the steps at the start of each pass that are always computed in full; the first "
        "step always is.",
        brief="Share of the first steps that are always computed.",
        range=(0, 1),
        step=0.05,
        **_SLEEP,
    )
    sleep_last: float = param(
        0.0,
        "Last steps awake",
        "Share of the steps at the end of each pass that are always computed in full.",
        range=(0, 1),
        step=0.05,
        **_SLEEP,
    )
    sleep_peak_time: float = param(
        1.0,
        "Sleepiest time",
        "When sleep is longest: 0 is pure noise (start), 1 is the clean image (end).",
        range=(0, 1),
        step=0.05,
        group="sleep",
        needs=("sleep_time_decay",),
    )
    sleep_time_decay: float = param(
        0.0,
        "Sleep decay",
        "How fast sleep gets shorter away from that time; 0 keeps it the same in all steps.",
        brief="How fast sleep gets shorter away from that time.",
        range=(0, 4),
        step=0.1,
        **_SLEEP,
    )
    sleep_awake_blocks: int = param(
        1,
        "Blocks awake",
        "How many of the first and of the last blocks of the U-Net are computed while the deep "
        "blocks sleep.",
        brief="How many first and last blocks are computed meanwhile.",
        range=(1, 11),
        step=1,
        group="sleep",
        needs=("sleep=deep blocks",),
    )
    sleep_forecast: str = param(
        "linear",
        "While asleep",
        "last: repeats what it gave when it was last awake. linear: continues its last change, "
        "less and less the further ahead. curve: continues the curve through the last three.",
        brief="What takes the place of what is not computed.",
        choices=FORECASTS,
        **_SLEEP,
    )
    sleep_threshold: float = param(
        0.0,
        "Wake at a change of",
        "A step that would sleep is computed once the U-Net's output is likely to have changed by "
        "more than this part of itself. This is measured while the image is made, so it is not "
        "known before which steps sleep, and the image depends on what else is in its batch. 0 "
        "measures nothing.",
        brief="Compute a step once more than this is likely to have changed.",
        range=(0, 1),
        step=0.01,
        group="sleep",
        needs=("sleep=deep blocks", "sleep=whole calls"),
    )
    sleep_min_steps: int = param(
        10,
        "Fewest steps",
        "Passes of fewer steps never sleep: where steps are few, as with LCM, Turbo and Lightning, "
        "each one counts. An img2img or hires pass counts as the part of a whole one that it is.",
        brief="Passes of fewer steps never sleep.",
        range=(1, 50),
        step=1,
        group="sleep",
        needs=(*_ASLEEP, "negative=asleep", "agent_every>1"),
    )
