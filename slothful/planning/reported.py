"""The one line of an image: what was applied where, what was computed, how long it took."""

from __future__ import annotations

from collections.abc import Sequence

from ..settings.settings import Settings
from .cost import Cost
from .seconds import Seconds
from .told import APPLIED, COMPUTED, Part, how_asleep

TOOK = "the U-Net took {seconds} s"
TOOK_INSTEAD = "the U-Net took {seconds} s instead of about {without} s"


def what_was_done(
    settings: Settings,
    applied: Sequence[str],
    steps: tuple[int, int, int],
    notes: tuple[Sequence[str], Sequence[str]],
    cost: Cost,
    seconds: float,
    told: Seconds | None,
) -> list[Part]:
    """Where a method was applied, by the names of sites; `steps` and `notes` as `how_asleep` has
    them; the share that was computed of a U-Net whose calls cost `cost`; the seconds that they took
    and, where the machine was measured, what they would have taken without the settings.
    """
    parts: list[Part] = [(APPLIED, {"sites": ", ".join(applied)})] if applied else []
    asleep = how_asleep(settings, steps, notes, cost)
    if cost.full and not any(text == COMPUTED for text, _ in asleep):
        parts.append((COMPUTED, {"share": f"{100 * cost.total_share:.0f}"}))
    parts += asleep
    if seconds:
        values = {"seconds": _short(seconds)}
        if told is not None:
            values["without"] = _short(told.without)
        parts.append((TOOK if told is None else TOOK_INSTEAD, values))
    return parts


def _short(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"
