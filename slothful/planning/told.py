"""What a host says of what was done: texts with {names}, and the values of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .cost import Cost

NOTHING = "nothing was applied: {reason}"
SKIPPED = "skipped {sites} ({reason})"
PARTLY_SKIPPED = "skipped {sites} in some steps ({reason})"
APPLIED = "applied in {sites}"
NOWHERE = "not applied anywhere"
ASLEEP = "asleep in {asleep} of {steps} steps"
ONE_SIDED = "negative side asleep in {asleep} of {steps} steps"
COMPUTED = "{share} % of the U-Net was computed"
BOTH_SIDES = "negative side awake ({reason})"
PARTLY_BOTH_SIDES = "negative side awake in some steps ({reason})"

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


def how_asleep(steps: tuple[int, int, int], notes: Sequence[str], cost: Cost) -> list[Part]:
    """In how many steps something slept, what of the U-Net was computed, and in `notes` why the
    negative side was computed where it should have slept; nothing where neither is so.

    `steps`: those in which a part slept, those in which the negative side did, and all.
    """
    asleep, one_sided, count = steps
    counts = {ASLEEP: asleep, ONE_SIDED: one_sided}
    parts: list[Part] = [
        (text, {"asleep": str(each), "steps": str(count)}) for text, each in counts.items() if each
    ]
    if parts:
        parts.append((COMPUTED, {"share": f"{100 * cost.total_share:.0f}"}))
    awake = PARTLY_BOTH_SIDES if one_sided else BOTH_SIDES
    return [*parts, *((awake, {"reason": reason}) for reason in notes)]
