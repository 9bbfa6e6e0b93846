"""Plans: what happens at a site at a moment. A pure function of settings, moment, site and grid.

A plan holds no tensors and touches no model; it can be printed, tested and drawn.
"""

from __future__ import annotations

import dataclasses
import random

from slothful.reduction import Reduction, plan_reduction
from slothful.schedule import Moment, depth_ratio, lerp, time_ratio
from slothful.settings import NEAR_SIGHTED, NEAR_SIGHTED_TILE, Settings
from slothful.sites import Site
from slothful.tiling import Tiling, plan_tiling


@dataclasses.dataclass(frozen=True)
class SitePlan:
    """What happens at one site in one call of the U-Net.

    Without `tiling`, `reduction` is over the whole grid. With it, `reduction` is over the tokens
    of one window (None: all of them are keys) and `global_reduction` picks the keys from the
    whole grid that every window sees besides its own (None: there are none).
    """

    grid: tuple[int, int]
    # not compared: plans of the same geometry share a layout, whatever strength led to it
    strength: float = dataclasses.field(compare=False)
    reduction: Reduction | None
    tiling: Tiling | None = None
    global_reduction: Reduction | None = None

    @property
    def pools(self) -> bool:
        """Whether any key or value is more than one of the site's tokens."""
        return any(r is not None and r.pools for r in (self.reduction, self.global_reduction))

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site, counting overlaps of windows."""
        if self.tiling is None:
            return self.grid[0] * self.grid[1]
        return len(self.tiling) * self.tiling.tokens

    @property
    def key_count(self) -> int:
        """Keys that each query attends to."""
        local = self.tiling.tokens if self.reduction is None else len(self.reduction)
        return local + (0 if self.global_reduction is None else len(self.global_reduction))

    def __str__(self) -> str:
        height, width = self.grid
        text = f"{height}x{width} tokens, strength {self.strength:.2f}"
        if self.tiling is not None:
            size = f"{self.tiling.rows.size}x{self.tiling.columns.size}"
            text += f", {len(self.tiling)} windows of {size}"
        return f"{text}, {self.key_count} keys a query"


def site_strength(settings: Settings, moment: Moment, site: Site) -> float:
    """Tokens a key at a site and a moment, >= 0; 1 or less means that nothing is reduced.

    strength = slothful * time_ratio * depth_ratio * block_weight; the middle block follows the
    input blocks' parameters.
    """
    side = "out" if site.side == "out" else "in"
    slothful = getattr(settings, f"{side}_slothful")
    decay = getattr(settings, f"{side}_depth_decay")
    ratio = time_ratio(moment.time, settings.peak_time, settings.time_decay)
    weight = settings.block_weights.get(site.name, 1.0)
    return slothful * ratio * depth_ratio(site.depth, decay) * weight


def plan_site(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> SitePlan | None:
    """What to do at a site whose tokens form a (height, width) grid; None leaves it alone."""
    if site.side == "middle" and settings.keep_middle:
        return None
    if settings.block_weights.get(site.name, 1.0) == 0:
        return None
    strength = (
        0.0 if settings.method == NEAR_SIGHTED_TILE else site_strength(settings, moment, site)
    )
    tiling = _site_tiling(settings, moment, site, grid)
    if tiling is None:
        reduction = _reduce(settings, site, grid, strength) if strength > 1 else None
        return SitePlan(grid, strength, reduction) if reduction else None
    window = tiling.rows.size, tiling.columns.size
    local = _reduce(settings, site, window, strength) if strength > 1 else None
    ratio = _scheduled(settings, moment, "global_ratio")
    if ratio == 0:
        return SitePlan(grid, strength, local, tiling)
    # at least one token of the grid is kept, however small the ratio
    thinning = min(len(tiling) / ratio, grid[0] * grid[1])
    shared = _reduce(settings, site, grid, strength, thinning)
    return SitePlan(grid, strength, local, tiling, shared)


def _reduce(
    settings: Settings, site: Site, grid: tuple[int, int], strength: float, thinning: float = 1.0
) -> Reduction:
    """The reduction with the mode and blends that the site's side of the U-Net has."""
    side = "out" if site.side == "out" else "in"
    tiles_only = settings.method == NEAR_SIGHTED_TILE
    pools = strength > 1  # a cell of one token is its own pool
    return plan_reduction(
        *grid,
        # plain tiles subsample in two dimensions: they have no mode
        mode="2D_AVG" if tiles_only else getattr(settings, f"{side}_mode"),
        strength=strength,
        rounding=settings.rounding,
        thinning=thinning,
        k_blend=getattr(settings, f"{side}_k_blend") if pools else 0.0,
        v_blend=getattr(settings, f"{side}_v_blend") if pools else 0.0,
    )


def _site_tiling(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> Tiling | None:
    tiles = settings.method in (NEAR_SIGHTED_TILE, NEAR_SIGHTED)
    if not tiles or site.depth > 2 ** (settings.tiling_max_depth - 1):
        return None
    tile_size = round(_scheduled(settings, moment, "tile_size"))
    return plan_tiling(*grid, tile_size, _tile_shift(settings, moment, site))


def _scheduled(settings: Settings, moment: Moment, name: str) -> float:
    """`tile_size` or `global_ratio` of the method at a moment."""
    if settings.method == NEAR_SIGHTED_TILE:
        return getattr(settings, name)
    ratio = time_ratio(moment.time, settings.peak_time, settings.time_decay)
    base, peak = getattr(settings, f"base_{name}"), getattr(settings, f"peak_{name}")
    return lerp(base, peak, ratio)


def _tile_shift(settings: Settings, moment: Moment, site: Site) -> tuple[float, float]:
    """(vertical, horizontal) shift of the windows, in parts of a window."""
    if settings.tile_shift == "random":
        # a generator of its own, so that the picture's seed alone decides the picture
        generator = random.Random(f"{site.name} {moment.timestep}")
        return generator.random(), generator.random()
    if settings.tile_shift == "alternating":
        # from site to site as in Swin Transformer, and from step to step
        half = 0.5 * ((moment.step + site.index) % 2)
        return half, half
    return 0.0, 0.0
