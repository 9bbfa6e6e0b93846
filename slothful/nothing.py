"""Why settings change nothing: one sentence, before an image is made and after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from slothful.arithmetic import plan_where_it_pays
from slothful.cost import grid_of
from slothful.methods import PLAIN_TILES, POOLING, TILING, TOKEN_MERGING
from slothful.plan import acts_in, plan_site, site_strength
from slothful.schedule import Moment
from slothful.settings import Settings
from slothful.sites import Site

NO_SITES = "the model has no self-attention to which it can be applied"
NEVER_CALLED = "the U-Net is never called"
NO_HIRES = "it is applied in the hires pass only, and there is none"
NO_BASE = "it is applied in the base pass only, and there is none"
SMALL = "the shorter side of the image is below the smallest side"
NARROW = "the image is narrower than the smallest width"
LOW = "the image is lower than the smallest height"
WEIGHTS = "the weights of all blocks are 0"
MIDDLE = "only the middle block has a weight above 0, and it is kept"
DEEP = "the blocks with a weight above 0 are deeper than the method is set to reach"
PARTS = "all parts of token merging are off"
RATIO = "the merge ratio is too small to merge any token"
STRENGTH = "the strength is never above 1 at these steps and blocks"
CELLS = "the strength is too close to 1 for tokens to share a key at this size"
TILES = "the tiles are at least as large as the image"
BOTH = "the tiles are at least as large as the image, and the strength is never above 1"
PAYS = "nothing would be faster at this size, and it is applied only where it is faster"
NOT_RUN = "something else computed the self-attention of all blocks"

REASONS = (
    *(NEVER_CALLED, NO_SITES, NO_HIRES, NO_BASE, SMALL, NARROW, LOW, WEIGHTS, MIDDLE, DEEP),
    *(PARTS, RATIO, STRENGTH, CELLS, TILES, BOTH, PAYS, NOT_RUN),
)
"""In the order in which they are met: of several, the last came nearest to an effect."""

KEPT = "other extensions keep all blocks to themselves ({reasons})"


def why_nothing(
    settings: Settings, sites: Iterable[Any], passes: Sequence[tuple[str, int, int, Sequence]]
) -> str | None:
    """Why an image is the same as without the settings, None if something is applied.

    `sites` are those of the U-Net, `Site`s or what has one as `site`; none where nothing can be
    applied to the model. `passes` are the (name, width, height, moments) of the image's passes,
    sizes in pixels. Knows nothing of what other extensions do.
    """
    sites = [getattr(each, "site", each) for each in sites]
    if not sites:
        return NO_SITES
    met = [NEVER_CALLED]
    for name, width, height, moments in passes:
        if not moments:
            continue
        reason = reason_of_pass(settings, name, width, height)
        if reason is not None:
            met.append(reason)
            continue
        for reason in _reasons_of_sites(settings, sites, width, height, moments):
            if reason is None:
                return None
            met.append(reason)
    return nearest(met)


def nearest(reasons: Iterable[str]) -> str:
    """The one of `REASONS` that came nearest to an effect."""
    return max(reasons, key=REASONS.index)


def _reasons_of_sites(
    settings: Settings, sites: Sequence[Site], width: int, height: int, moments: Sequence[Moment]
) -> Iterator[str | None]:
    for moment in moments:
        for site in sites:
            yield reason_of_site(settings, moment, site, grid_of(width, height, site.level))


def reason_of_pass(settings: Settings, name: str, width: int, height: int) -> str | None:
    """Why nothing is applied in a pass of this name over so many pixels; None if it may be."""
    if acts_in(settings, name, width, height):
        return None
    if not acts_in(settings, name, math.inf, math.inf):
        return NO_HIRES if settings.passes == "hires" else NO_BASE
    if min(width, height) < settings.min_size:
        return SMALL
    return NARROW if width < settings.min_width else LOW


def reason_of_site(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> str | None:
    """Why nothing is planned at a site whose tokens form a (height, width) grid; None if something
    is.
    """
    if plan_where_it_pays(settings, moment, site, grid) is not None:
        return None
    if plan_site(settings, moment, site, grid) is not None:
        return PAYS
    if settings.block_weights.get(site.name, 1.0) == 0:
        return WEIGHTS
    if site.side == "middle" and settings.keep_middle:
        return MIDDLE
    if settings.method == TOKEN_MERGING:
        return _reason_of_merging(settings, site)
    if settings.method == PLAIN_TILES:
        return DEEP if site.depth > 2 ** (settings.plain_max_depth - 1) else TILES
    if settings.method in TILING:
        return _reason_of_tiling(settings, site)
    return _reason_of_reduction(settings, moment, site)


def _reason_of_merging(settings: Settings, site: Site) -> str:
    if not (settings.merge_attention or settings.merge_cross or settings.merge_mlp):
        return PARTS
    return DEEP if site.depth > settings.merge_max_downsample else RATIO


def _reason_of_tiling(settings: Settings, site: Site) -> str:
    if settings.method in POOLING:
        return BOTH
    return DEEP if site.depth > 2 ** (settings.tiling_max_depth - 1) else TILES


def _reason_of_reduction(settings: Settings, moment: Moment, site: Site) -> str:
    return CELLS if site_strength(settings, moment, site) > 1 else STRENGTH
