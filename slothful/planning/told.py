"""What a host says of what was done: texts with {names}, and the values of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NOTHING = "nothing was applied: {reason}"
SKIPPED = "skipped {sites} ({reason})"
PARTLY_SKIPPED = "skipped {sites} in some steps ({reason})"
APPLIED = "applied in {sites}"
NOWHERE = "not applied anywhere"
COMPUTED = "asleep in {asleep} of {steps} steps; {share} % of the U-Net was computed"

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


def how_asleep(asleep: int, steps: int, share: float) -> Part:
    """In how many of all steps something slept, and which `share` of the U-Net was computed."""
    values = {"asleep": str(asleep), "steps": str(steps), "share": f"{100 * share:.0f}"}
    return COMPUTED, values
