"""What has changed since the infotexts of older versions were written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from slothful import Settings


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """A step from one version's infotexts to those of the next.

    `texts` turns the values, as texts by name, into those that mean the same now. Where images come
    out differently all the same, `note` says so of the settings that `concerns` picks.
    """

    texts: Callable[[dict[str, str]], dict[str, str]] = dict
    note: str = ""
    concerns: Callable[[Settings], bool] = lambda settings: False


REDRAWN = (
    "These settings are from an image of an older version, which drew its random numbers "
    "differently: the new image may differ slightly from it."
)


def is_redrawn(settings: Settings) -> bool:
    """Whether something is drawn by a name that version 1 did not have: random shifts of tiles, and
    which tokens are kept within tiles.
    """
    if not _uses(settings, "tile_shift"):
        return False
    if settings.tile_shift == "random":
        return True
    if settings.kept_token == "first" or not _uses(settings, "in_slothful"):
        return False
    weight = max([1.0, *settings.block_weights.values()])
    return any(
        strength * weight > 1 and min(blends) < 1
        for strength, *blends in (
            (settings.in_slothful, settings.in_k_blend, settings.in_v_blend),
            (settings.out_slothful, settings.out_k_blend, settings.out_v_blend),
        )
    )


def _uses(settings: Settings, name: str) -> bool:
    return Settings.parameter(name).used_by(settings.method)


UPGRADES = (Upgrade(note=REDRAWN, concerns=is_redrawn),)
"""The n-th leads from version n to version n + 1. Add one whenever a name or a meaning changes, or
images that the same settings give.
"""
