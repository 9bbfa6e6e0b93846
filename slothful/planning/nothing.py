"""Why settings change nothing: one sentence, before an image is made and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ..settings.methods import ASLEEP, AWAKE
from ..settings.settings import Settings
from .channels import level_share
from .limits import within_limits
from .mixing import mixed_amount
from .moment import Moment
from .parts import PARTS, Parts
from .planner import (
    is_one_sided,
    plan_site,
    planned_regardless,
    reached,
    site_strength,
)
from .site import Grid, Site, grid_of
from .sleep import is_short

NO_SITES = "this model has no self-attention that can be changed"
NEVER_CALLED = "the U-Net is never called"
NO_HIRES = "it is set to apply in the hires pass only, and there is no hires pass"
NO_BASE = "it is set to apply in the base pass only, and there is no base pass"
SMALL = "the shorter side of the image is below the minimum"
NARROW = "the width of the image is below the minimum"
LOW = "the height of the image is below the minimum"
WEIGHTS = "all block weights are 0"
MIDDLE = "only the middle block has a weight above 0, and it is set to be skipped"
DEEP = "all blocks with a weight above 0 are deeper than the method is set to reach"
PARTS_OFF = "merging is off for self-attention, cross-attention and MLP"
RATIO = "the merge ratio is too small to merge any token"
NO_METHOD = "no method is chosen, and every step is awake"
SHORT = "no method is chosen, and the pass has fewer steps than sleep needs"
STRENGTH = "the strength never exceeds 1 in these steps and blocks"
CHANNELS = "the share of channels is too close to 1: no channel less is compared"
CELLS = "the strength is too close to 1: at this size, no tokens share a key"
TILES = "the tiles are at least as large as the image"
BOTH = "the tiles are at least as large as the image, and the strength never exceeds 1"
PAYS = "nothing would be faster at this size, and it is set to apply only where it is faster"
CHANGING = "every step that may sleep had to be computed"
NOT_RUN = "something else computed the self-attention in all blocks"

REASONS = (
    *(NEVER_CALLED, NO_SITES, NO_HIRES, NO_BASE, SMALL, NARROW, LOW, WEIGHTS, MIDDLE, DEEP),
    *(
        NO_METHOD,
        SHORT,
        CHANNELS,
        PARTS_OFF,
        RATIO,
        STRENGTH,
        CELLS,
        TILES,
        BOTH,
        PAYS,
        CHANGING,
        NOT_RUN,
    ),
)
"""In the order in which they are met: of several, the last came nearest to an effect."""

KEPT = "all blocks were skipped ({reasons})"


class Placed(Protocol):
    """Whatever has a site."""

    @property
    def site(self) -> Site:
        """The site as a value."""


def why_nothing(
    settings: Settings,
    sites: Iterable[Site | Placed],
    passes: Sequence[tuple[str, int, int, Sequence[Moment]]],
) -> str | None:
    """Why an image is the same as without the settings, None if something is applied.

    `sites` are those of the U-Net, as values or as `find_sites` and `UnetShape` have them; none
    where nothing can be applied to the model. `passes` are the (name, width, height, moments) of
    the image's passes, sizes in pixels. Knows nothing of what other extensions do.
    """
    values = [each if isinstance(each, Site) else each.site for each in sites]
    if not values:
        return NO_SITES
    met = [NEVER_CALLED]
    for name, width, height, moments in passes:
        for moment in moments:
            here = dataclasses.replace(moment, pass_name=name, size=(width, height))
            for reason in _reasons(settings, here, values, width, height):
                if reason is None:
                    return None
                met.append(reason)
    return nearest(met)


def nearest(reasons: Iterable[str]) -> str:
    """The one of `REASONS` that came nearest to an effect."""
    return max(reasons, key=REASONS.index)


def _reasons(
    settings: Settings, moment: Moment, sites: Sequence[Site], width: int, height: int
) -> Iterator[str | None]:
    outside = reason_of_pass(settings, moment)
    if outside is not None:
        yield outside
        return
    if is_one_sided(settings, moment):
        yield None
    if any(mixed_amount(settings, moment, site) for site in sites):
        yield None
    for site in sites:
        yield reason_of_site(settings, moment, site, grid_of(width, height, site.level))


def reason_of_pass(settings: Settings, moment: Moment) -> str | None:
    """Why nothing is applied in a moment's pass or at its size; None if it may be."""
    if within_limits(settings, moment):
        return None
    if moment.size is None or not within_limits(settings, dataclasses.replace(moment, size=None)):
        return NO_HIRES if settings.passes == "hires" else NO_BASE
    width, height = moment.size
    if min(width, height) < settings.min_size:
        return SMALL
    return NARROW if width < settings.min_width else LOW


def reason_of_site(settings: Settings, moment: Moment, site: Site, grid: Grid) -> str | None:
    """Why nothing is planned at a site whose tokens form a (height, width) grid, in a pass and at a
    size where it may be; None if something is.
    """
    if plan_site(settings, moment, site, grid) is not None:
        return None
    if settings.block_weights.get(site.name, 1.0) == 0:
        return WEIGHTS
    if site.side == "middle" and settings.keep_middle:
        return MIDDLE
    if planned_regardless(settings, moment, site, grid) is not None:
        return PAYS
    parts = PARTS[settings.method]
    if parts == Parts() and level_share(settings, site) < 1:
        return CHANNELS
    if parts == Parts():
        sleeps = settings.sleep != AWAKE or settings.negative == ASLEEP
        return SHORT if sleeps and is_short(settings, moment) else NO_METHOD
    if parts.merge is not None:
        if not (settings.merge_attention or settings.merge_cross or settings.merge_mlp):
            return PARTS_OFF
        return RATIO if reached(settings, site) else DEEP
    if parts.tile is None:
        return CELLS if site_strength(settings, moment, site) > 1 else STRENGTH
    if parts.strength is not None:
        return BOTH
    return TILES if reached(settings, site) else DEEP
