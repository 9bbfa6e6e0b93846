"""The planner: what happens at a site in one call of the U-Net. The hooks, the drawing and the
estimated cost all ask `plan_site`, so that what is shown is what is applied.
"""

from __future__ import annotations

import dataclasses

from ..settings.methods import DEEP, WHOLE
from ..settings.settings import Settings
from . import draws
from .arithmetic import pays
from .channels import score_share
from .limits import skipped, within_limits
from .moment import Moment
from .parts import PARTS, effect
from .plan import Agents, AwakePlan, Reduce, SitePlan, Sleep
from .reduction import Reduction
from .site import Grid, Site
from .sleep import asleep_since, negative_asleep_since, site_asleep_since


def plan_site(settings: Settings, moment: Moment, site: Site, grid: Grid) -> SitePlan | None:
    """What happens at a site whose tokens form a (height, width) grid; None skips it.

    Looks at the limits of size and pass, at what sleeps, at the method's parts, and, where the
    settings ask for it, at whether the plan saves more time than it costs. A pure function.
    """
    if not within_limits(settings, moment):
        return None
    since = site_asleep_since(settings, moment, site)
    if since is not None:
        return Sleep(grid, settings.sleep, since)
    return plan_awake(settings, moment, site, grid)


def plan_awake(settings: Settings, moment: Moment, site: Site, grid: Grid) -> AwakePlan | None:
    """The same where the site is awake, whatever the schedule of sleep says."""
    if not within_limits(settings, moment) or skipped(settings, site):
        return None
    plan = planned_regardless(settings, moment, site, grid)
    if plan is None or not settings.only_where_it_pays:
        return plan
    return plan if pays(plan, site.channels, site.heads, site.layers) else None


def asleep_inside(settings: Settings, moment: Moment) -> int | None:
    """Which blocks sleep as a whole at a moment: those with at least so many blocks before or after
    them (see `Site.inside`; -1: all of the U-Net); None where none does.
    """
    first = first_inside(settings)
    if first is None or not within_limits(settings, moment):
        return None
    return None if asleep_since(settings, moment) is None else first


def first_inside(settings: Settings) -> int | None:
    """The same of a moment in which what can sleep as a whole does."""
    return {DEEP: settings.sleep_awake_blocks, WHOLE: -1}.get(settings.sleep)


def is_one_sided(settings: Settings, moment: Moment) -> bool:
    """Whether the negative side sleeps at a moment."""
    return within_limits(settings, moment) and negative_asleep_since(settings, moment) is not None


def may_apply(settings: Settings, site: Site) -> bool:
    """Whether `plan_site` plans anything at a site at some moment, for some grid."""
    if skipped(settings, site):
        return False
    peak = Moment(0.0, settings.peak_time)  # where the strength is greatest
    strength = site_strength(settings, peak, site)
    return reached(settings, site) or strength > 1 or score_share(settings, peak, site) < 1


def site_strength(settings: Settings, moment: Moment, site: Site) -> float:
    """Tokens for each key at a site and a moment, >= 0; 1 or less means that nothing is reduced.

    The method's own strength at the peak, times time ratio and block weight. Methods that reduce
    nothing have strength 0.
    """
    strength = PARTS[settings.method].strength
    return 0.0 if strength is None else strength(settings, site) * effect(settings, moment, site)


def reached(settings: Settings, site: Site) -> bool:
    """Whether the method tiles or merges at a site's depth."""
    reaches = PARTS[settings.method].reaches
    return reaches is not None and reaches(settings, site)


def planned_regardless(
    settings: Settings, moment: Moment, site: Site, grid: Grid
) -> AwakePlan | None:
    """What the method does, in how many channels, outside all limits and whatever that saves."""
    plan, share = _by_method(settings, moment, site, grid), score_share(settings, moment, site)
    if share == 1:
        return plan
    assert not isinstance(plan, Agents)  # who are compared with other things
    return dataclasses.replace(plan or Reduce(grid, 0.0), score_share=share)


def _by_method(settings: Settings, moment: Moment, site: Site, grid: Grid) -> AwakePlan | None:
    parts, is_reached = PARTS[settings.method], reached(settings, site)
    if parts.merge is not None:
        return parts.merge(settings, moment, site, grid) if is_reached else None
    strength = site_strength(settings, moment, site)
    tiling = None
    if parts.tile is not None and is_reached:
        tiling = parts.tile(settings, moment, site, grid)
    reduces = strength > 1
    if tiling is None:
        whole = _reduced(settings, moment, site, grid, strength, draws.KEPT) if reduces else None
        # where each token is a cell of its own, nothing is reduced
        fewer = whole is not None and len(whole) < grid[0] * grid[1]
        if not fewer:
            return None
        plan = Reduce(grid, strength, whole)
        return plan if parts.agents is None else parts.agents(settings, moment, plan)
    halo = tiling.with_halo(settings.tile_halo) if settings.tile_halo else None
    own = shared = None
    if reduces:
        window = (halo or tiling).window
        own = _reduced(settings, moment, site, window, strength, draws.KEPT_IN_WINDOWS)
    ratio = 0.0 if parts.global_ratio is None else parts.global_ratio(settings, moment)
    if ratio > 0:
        # at least one token of the grid is kept, however small the ratio
        thinning = min(len(tiling) / ratio, grid[0] * grid[1])
        shared = _reduced(settings, moment, site, grid, strength, draws.KEPT, thinning)
    return Reduce(grid, strength, own, tiling, shared, halo)


def _reduced(
    settings: Settings,
    moment: Moment,
    site: Site,
    grid: Grid,
    strength: float,
    draw: str,
    thinning: float = 1.0,
) -> Reduction | None:
    """The method's reduction of a grid or a window, None if it has none."""
    reduce = PARTS[settings.method].reduce
    if reduce is None:
        return None
    kept = settings.parameter("kept_token")
    always_first = kept.used_by(settings.method) and settings.kept_token == "first"
    generator = None if always_first else draws.generator(site, moment, draw)
    return reduce(settings, site, grid, strength, thinning, generator)
