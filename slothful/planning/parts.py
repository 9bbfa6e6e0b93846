"""The methods, each by its parts. No method is an implementation of its own: `PARTS` says which
strength, tiles, keys of the whole image, reduction and merging each has, and the planner asks.

A part is a pure function; the first line of its docstring is what the README's table says of it.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable

from ..settings.methods import (
    AGENTS,
    DOWNSAMPLING,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    NO_METHOD,
    PLAIN_TILES,
    SLOTHFUL,
    TOKEN_MERGING,
)
from ..settings.settings import Settings
from . import draws
from .merging import plan_merging
from .moment import Moment
from .plan import Agents, Merge, Reduce
from .reduction import Reduction, plan_downsampling, plan_reduction
from .schedule import depth_ratio, lerp, time_ratio
from .site import LATENT_FACTOR, Grid, Site
from .sleep import agents_asleep_since
from .tiling import Tiling, plan_divisor_tiling, plan_tiling


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a method is made of; None where it lacks the part.

    `strength` (settings, site): tokens for each key at the peak. `reduce` (settings, site, grid,
    strength, thinning, generator of the kept token): which tokens of a grid become keys. `reaches`
    (settings, site): whether a site is tiled or merged at all. `tile` (settings, moment, site,
    grid): the windows of its queries. `global_ratio` (settings, moment): how many keys a window has
    from the whole grid, for each one of its own. `merge` (settings, moment, site, grid). `agents`
    (settings, moment, reduction of the queries): who asks the keys for them.
    """

    strength: Callable[[Settings, Site], float] | None = None
    reduce: (
        Callable[[Settings, Site, Grid, float, float, random.Random | None], Reduction] | None
    ) = None
    reaches: Callable[[Settings, Site], bool] | None = None
    tile: Callable[[Settings, Moment, Site, Grid], Tiling | None] | None = None
    global_ratio: Callable[[Settings, Moment], float] | None = None
    merge: Callable[[Settings, Moment, Site, Grid], Merge | None] | None = None
    agents: Callable[[Settings, Moment, Reduce], Agents] | None = None


def effect(settings: Settings, moment: Moment, site: Site) -> float:
    """The part of a method's full effect at a moment and a site, by time and block weight."""
    return effect_at(settings, moment) * settings.block_weights.get(site.name, 1.0)


def effect_at(settings: Settings, moment: Moment) -> float:
    """The part of a method's full effect at a moment, in (0, 1]."""
    return time_ratio(moment.time, settings.peak_time, settings.time_decay)


# -- strengths, at the peak


def pool_strength(settings: Settings, site: Site) -> float:
    """By the strength and the depth decay of input or output blocks; the middle block follows the
    input blocks'.
    """
    slothful = settings.out_slothful if site.side == "out" else settings.in_slothful
    decay = settings.out_depth_decay if site.side == "out" else settings.in_depth_decay
    return slothful * depth_ratio(site.depth, decay)


def factor_strength(settings: Settings, site: Site) -> float:
    """By the squared factor of the site's depth."""
    factors = settings.downsample_depth_1, settings.downsample_depth_2, settings.downsample_depth_3
    return factors[site.third] ** 2


# -- reductions


def pooled(
    settings: Settings,
    site: Site,
    grid: Grid,
    strength: float,
    thinning: float,
    generator: random.Random | None,
) -> Reduction:
    """One key per cell of `strength` tokens: a token kept for all similar ones, or a pool."""
    out = site.side == "out"
    blends = (0.0, 0.0)
    if strength > 1:  # a cell of one token is its own pool
        blends = settings.in_k_blend, settings.in_v_blend
        if out:
            blends = settings.out_k_blend, settings.out_v_blend
    mode = settings.out_mode if out else settings.in_mode
    return _strided(settings, grid, mode, strength, thinning, generator, *blends)


def subsampled(
    settings: Settings,
    site: Site,
    grid: Grid,
    strength: float,
    thinning: float,
    generator: random.Random | None,
) -> Reduction:
    """One token of each cell, kept for all similar ones."""
    return _strided(settings, grid, "2D_AVG", strength, thinning, generator)


def _strided(
    settings: Settings,
    grid: Grid,
    mode: str,
    strength: float,
    thinning: float,
    generator: random.Random | None,
    k_blend: float = 0.0,
    v_blend: float = 0.0,
) -> Reduction:
    return plan_reduction(
        *grid,
        mode=mode,
        strength=strength,
        rounding=settings.rounding,
        thinning=thinning,
        k_blend=k_blend,
        v_blend=v_blend,
        generator=generator,
        merges=settings.kept_token == "merged",
    )


def downsampled(
    settings: Settings,
    site: Site,
    grid: Grid,
    strength: float,
    thinning: float,
    generator: random.Random | None,
) -> Reduction:
    """One key per factor x factor tokens: a token kept for all similar ones, or the average."""
    return plan_downsampling(
        *grid,
        factor=math.sqrt(strength),
        blend=1.0 if settings.downsample_mode == "area" else 0.0,
        generator=generator,
        merges=settings.kept_token == "merged",
    )


def pooled_queries(
    settings: Settings,
    site: Site,
    grid: Grid,
    strength: float,
    thinning: float,
    generator: random.Random | None,
) -> Reduction:
    """One agent per cell of `strength` tokens."""
    return plan_reduction(
        *grid,
        mode="2D_AVG",
        strength=strength,
        rounding=settings.rounding,
        thinning=thinning,
        k_blend=float(settings.agent_pool == "cells"),
        v_blend=float(settings.agent_pool == "cells"),
        generator=generator,
        merges=settings.agent_pool == "merged",
    )


# -- tiles


def tiling_reaches(settings: Settings, site: Site) -> bool:
    """Down to `tiling_max_depth`."""
    return site.within(settings.tiling_max_depth)


def plain_tiles_reach(settings: Settings, site: Site) -> bool:
    """Down to `plain_max_depth`."""
    return site.within(settings.plain_max_depth)


def steady_tiles(settings: Settings, moment: Moment, site: Site, grid: Grid) -> Tiling | None:
    """Tiles of at most `tile_size` tokens per side."""
    return plan_tiling(*grid, settings.tile_size, _tile_shift(settings, moment, site))


def scheduled_tiles(settings: Settings, moment: Moment, site: Site, grid: Grid) -> Tiling | None:
    """Tiles whose size limit goes from `base_tile_size` to `peak_tile_size` on the schedule."""
    at_peak = effect_at(settings, moment)
    size = round(lerp(settings.base_tile_size, settings.peak_tile_size, at_peak))
    return plan_tiling(*grid, size, _tile_shift(settings, moment, site))


def even_tiles(settings: Settings, moment: Moment, site: Site, grid: Grid) -> Tiling | None:
    """Tiles of at least `plain_tile_size` pixels that divide the image evenly."""
    tokens = settings.plain_tile_size // LATENT_FACTOR
    scale = site.depth if settings.plain_scale_depth else 1
    # the weaker the effect, the larger the tiles; never larger than the grid
    size = min(tokens * scale / max(effect(settings, moment, site), 1e-6), max(grid))
    chosen = draws.generator(site, moment, draws.TILE_SIZE)
    shift = _tile_shift(settings, moment, site)
    return plan_divisor_tiling(*grid, max(int(size), 1), settings.plain_swap, shift, chosen)


def _tile_shift(settings: Settings, moment: Moment, site: Site) -> tuple[float, float]:
    """(vertical, horizontal) shift of the windows, in parts of a window."""
    if settings.tile_shift == "random":
        generator = draws.generator(site, moment, draws.TILE_SHIFT)
        return generator.random(), generator.random()
    if settings.tile_shift == "alternating":
        # from site to site as in Swin Transformer, and from step to step
        half = 0.5 * ((moment.step + site.index) % 2)
        return half, half
    return 0.0, 0.0


# -- keys of the whole image, beside a tile's own


def steady_ratio(settings: Settings, moment: Moment) -> float:
    """`global_ratio` keys for each of the tile's own."""
    return settings.global_ratio


def scheduled_ratio(settings: Settings, moment: Moment) -> float:
    """From `base_global_ratio` to `peak_global_ratio` keys for each of the tile's own."""
    at_peak = effect_at(settings, moment)
    return lerp(settings.base_global_ratio, settings.peak_global_ratio, at_peak)


# -- merging


def merging_reaches(settings: Settings, site: Site) -> bool:
    """Down to `merge_max_downsample`."""
    return site.depth <= settings.merge_max_downsample


def merged(settings: Settings, moment: Moment, site: Site, grid: Grid) -> Merge | None:
    """The most similar tokens are merged into one, for parts of a block or only for keys."""
    own = {"hires": settings.merge_ratio_hires, "img2img": settings.merge_ratio_img2img}
    ratio = own.get(moment.pass_name, 0.0) or settings.merge_ratio
    ratio *= depth_ratio(site.depth, settings.merge_depth_decay) * effect(settings, moment, site)
    seed = draws.generator(site, moment, draws.DESTINATIONS).getrandbits(32)
    return plan_merging(settings, grid, ratio, seed)


# -- agents


def looking_agents(settings: Settings, moment: Moment, pool: Reduce) -> Agents:
    """One for `strength` queries, their average: asks all keys, and answers all queries."""
    return Agents(pool, settings.agent_shortcut, agents_asleep_since(settings, moment))


PARTS = {
    SLOTHFUL: Parts(strength=pool_strength, reduce=pooled),
    NEAR_SIGHTED_TILE: Parts(
        reduce=subsampled,
        reaches=tiling_reaches,
        tile=steady_tiles,
        global_ratio=steady_ratio,
    ),
    NEAR_SIGHTED: Parts(
        strength=pool_strength,
        reduce=pooled,
        reaches=tiling_reaches,
        tile=scheduled_tiles,
        global_ratio=scheduled_ratio,
    ),
    PLAIN_TILES: Parts(reaches=plain_tiles_reach, tile=even_tiles),
    TOKEN_MERGING: Parts(reaches=merging_reaches, merge=merged),
    DOWNSAMPLING: Parts(strength=factor_strength, reduce=downsampled),
    AGENTS: Parts(strength=pool_strength, reduce=pooled_queries, agents=looking_agents),
    NO_METHOD: Parts(),
}
"""The methods by their names."""
