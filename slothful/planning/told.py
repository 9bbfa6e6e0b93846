"""What a host says of what was done: texts with {names}, and the values of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..settings.methods import IN_ATTENTION
from ..settings.settings import Settings
from .cost import Cost

NOTHING = "nothing was applied: {reason}"
SKIPPED = "skipped {sites} ({reason})"
PARTLY_SKIPPED = "skipped {sites} in some steps ({reason})"
APPLIED = "applied in {sites}"
NOWHERE = "not applied anywhere"
ASLEEP = "asleep in {asleep} of {steps} steps"
ONE_SIDED = "negative side asleep in {asleep} of {steps} steps"
COMPUTED = "{share} % of the U-Net was computed"
WITHIN = "negative prompt in the attention in {asleep} of {steps} steps"
BOTH_SIDES = "negative side awake ({reason})"
PARTLY_BOTH_SIDES = "negative side awake in some steps ({reason})"
NOT_WITHIN = "negative prompt not in the attention ({reason})"
PARTLY_NOT_WITHIN = "negative prompt not in the attention in some steps ({reason})"
NOT_MIXED = "keys not mixed in some or all steps ({reason})"

Part = tuple[str, Mapping[str, str]]
"""A text with {names}, and their values."""


def where_applied(applied: Sequence[str], notes: Mapping[str, str]) -> list[Part]:
    """Which sites were skipped, by the reason in `notes`, and in which something was applied."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for site, reason in notes.items():
        text = PARTLY_SKIPPED if site in applied else SKIPPED
        reasons.setdefault((text, reason), []).append(site)
    parts: list[Part] = [
        (text, {"sites": ", ".join(sites), "reason": reason})
        for (text, reason), sites in reasons.items()
    ]
    return [*parts, (APPLIED, {"sites": ", ".join(applied)}) if applied else (NOWHERE, {})]


def how_asleep(
    settings: Settings,
    steps: tuple[int, int, int],
    notes: tuple[Sequence[str], Sequence[str]],
    cost: Cost,
) -> list[Part]:
    """In how many steps something slept, what of the U-Net was computed, and in `notes` why the
    negative side was computed where it should not have been, and why keys were not mixed; nothing
    where none of it is so.

    `steps`: those in which a part slept, those in which the negative side was left out, and all.
    """
    asleep, one_sided, count = steps
    within = settings.negative == IN_ATTENTION
    counts = {ASLEEP: asleep, WITHIN if within else ONE_SIDED: one_sided}
    parts: list[Part] = [
        (text, {"asleep": str(each), "steps": str(count)}) for text, each in counts.items() if each
    ]
    if parts:
        parts.append((COMPUTED, {"share": f"{100 * cost.total_share:.0f}"}))
    both = (PARTLY_NOT_WITHIN, NOT_WITHIN) if within else (PARTLY_BOTH_SIDES, BOTH_SIDES)
    found = [(both[0] if one_sided else both[1], reason) for reason in notes[0]]
    found += [(NOT_MIXED, reason) for reason in notes[1]]
    return [*parts, *((text, {"reason": reason}) for text, reason in found)]
