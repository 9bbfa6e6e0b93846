"""Plans: what happens at a site at a moment. A pure function of settings, moment, site and grid.

A plan holds no tensors and touches no model; it can be printed, tested and drawn.
"""

from __future__ import annotations

import dataclasses
import math
import random

from slothful.merging import Merging, plan_merging
from slothful.methods import (
    DOWNSAMPLING,
    NEAR_SIGHTED_TILE,
    PLAIN_TILES,
    POOLING,
    TILING,
    TOKEN_MERGING,
)
from slothful.outside import outside_cells
from slothful.reduction import Reduction, plan_downsampling, plan_reduction
from slothful.schedule import Moment, depth_ratio, lerp, time_ratio
from slothful.settings import Settings
from slothful.sites import LATENT_FACTOR, Site
from slothful.tiling import Tiling, plan_divisor_tiling, plan_tiling


@dataclasses.dataclass(frozen=True)
class SitePlan:
    """What happens at one site in one call of the U-Net.

    Without `tiling`, `reduction` is over the whole grid. With it, `reduction` is over the tokens
    that one window sees as its own (None: all of them are keys) and `global_reduction` picks the
    keys from the whole grid that every window sees besides (None: there are none). A window's own
    are those of `key_tiling`, the same windows with a halo. `merging` comes alone.
    """

    grid: tuple[int, int]
    # not compared: plans of the same geometry share a layout, whatever strength led to it
    strength: float = dataclasses.field(compare=False)
    reduction: Reduction | None = None
    tiling: Tiling | None = None
    global_reduction: Reduction | None = None
    key_tiling: Tiling | None = None
    merging: Merging | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return self.grid[0] * self.grid[1]

    @property
    def pools(self) -> bool:
        """Whether any key or value is more than one of the site's tokens."""
        return any(r is not None and r.pools for r in (self.reduction, self.global_reduction))

    @property
    def merges(self) -> bool:
        """Whether keys stand for the tokens that are most like them, and weigh as much."""
        return any(r is not None and r.merges for r in (self.reduction, self.global_reduction))

    @property
    def splits(self) -> bool:
        """Whether keys and values are made from different tokens."""
        both = (self.reduction, self.global_reduction)
        return any(r is not None and r.k_blend != r.v_blend for r in both)

    @property
    def settled(self) -> SitePlan:
        """The plan by which tokens are moved: where they merge, whichever of a cell is kept."""
        if not self.merges:
            return self
        own, shared = self.reduction, self.global_reduction
        return SitePlan(
            self.grid,
            self.strength,
            own and own.settled,
            self.tiling,
            shared and shared.settled,
            self.key_tiling,
        )

    @property
    def near(self) -> Tiling | None:
        """The windows of the tokens that queries see as their own."""
        return self.key_tiling or self.tiling

    @property
    def window(self) -> tuple[int, int]:
        """(height, width) of the tokens that a query sees as its own."""
        near = self.near
        return self.grid if near is None else near.window

    @property
    def windows(self) -> int:
        """The number of windows, 1 where the queries are not tiled."""
        return 1 if self.tiling is None else len(self.tiling)

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site, counting overlaps of windows."""
        if self.merging is not None and self.merging.attention and not self.merging.keys_only:
            return self.merging.left
        return self.tokens if self.tiling is None else len(self.tiling) * self.tiling.tokens

    @property
    def key_count(self) -> int:
        """Keys that each query attends to."""
        if self.merging is not None:
            return self.merging.left if self.merging.attention else self.tokens
        local = math.prod(self.window) if self.reduction is None else len(self.reduction)
        if self.global_reduction is None:
            return local
        if self.global_reduction.merges:  # its tokens lie everywhere, so every window sees it
            return local + len(self.global_reduction)
        return local + outside_cells(self.global_reduction, self.near).shape[1]

    def __str__(self) -> str:
        height, width = self.grid
        text = f"{height}x{width} tokens, strength {self.strength:.2f}"
        if self.tiling is not None:
            size = f"{self.tiling.rows.size}x{self.tiling.columns.size}"
            text += f", {len(self.tiling)} windows of {size}"
        if self.merging is not None:
            text += f", {self.merging.count} tokens merged"
        return f"{text}, {self.key_count} keys a query"


def acts_in(settings: Settings, pass_name: str, width: int, height: int) -> bool:
    """Whether the settings act in a pass of this name over a picture of so many pixels."""
    chosen = settings.passes in ("both", "hires" if pass_name == "hires" else "base")
    large = min(width, height) >= settings.min_size
    return chosen and large and width >= settings.min_width and height >= settings.min_height


def plan_site(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> SitePlan | None:
    """What to do at a site whose tokens form a (height, width) grid; None leaves it alone."""
    if _left_alone(settings, site):
        return None
    if settings.method == TOKEN_MERGING:
        return _plan_merging(settings, moment, site, grid)
    strength = site_strength(settings, moment, site)
    tiling = _site_tiling(settings, moment, site, grid)
    if tiling is None:
        reduction = _reduce(settings, moment, site, grid, strength) if strength > 1 else None
        # where each token is a cell of its own, nothing is reduced
        joins = reduction is not None and len(reduction) < grid[0] * grid[1]
        return SitePlan(grid, strength, reduction) if joins else None
    halo = tiling.with_halo(settings.tile_halo) if settings.tile_halo else None
    window = (halo or tiling).window
    local = _reduce(settings, moment, site, window, strength) if strength > 1 else None
    ratio = _global_ratio(settings, moment)
    shared = None
    if ratio > 0:
        # at least one token of the grid is kept, however small the ratio
        thinning = min(len(tiling) / ratio, grid[0] * grid[1])
        shared = _reduce(settings, moment, site, grid, strength, thinning)
    return SitePlan(grid, strength, local, tiling, shared, halo)


def may_act(settings: Settings, site: Site) -> bool:
    """Whether `plan_site` plans anything at a site at some moment, for some grid."""
    if _left_alone(settings, site):
        return False
    if settings.method == TOKEN_MERGING or _tiles_at(settings, site):
        return True
    # the strength is greatest at the peak
    return site_strength(settings, Moment(0.0, settings.peak_time), site) > 1


def _left_alone(settings: Settings, site: Site) -> bool:
    """Whether the settings leave a site alone at every moment."""
    if site.side == "middle" and settings.keep_middle:
        return True
    if settings.method == TOKEN_MERGING and site.depth > settings.merge_max_downsample:
        return True
    return settings.block_weights.get(site.name, 1.0) == 0


def _tiles_at(settings: Settings, site: Site) -> bool:
    """Whether the method tiles the queries of grids that are large enough, at a site's depth."""
    if settings.method == PLAIN_TILES:
        return site.depth <= 2 ** (settings.plain_max_depth - 1)
    return settings.method in TILING and site.depth <= 2 ** (settings.tiling_max_depth - 1)


def site_strength(settings: Settings, moment: Moment, site: Site) -> float:
    """Tokens a key at a site and a moment, >= 0; 1 or less means that nothing is reduced.

    strength = slothful * time_ratio * depth_ratio * block_weight; the middle block follows the
    input blocks' parameters. In Token Downsampling the squared factor of the site's depth takes
    the place of slothful * depth_ratio. Methods that reduce nothing have strength 0.
    """
    if settings.method == DOWNSAMPLING:
        # the middle block of SD1 and SD2 is at depth 8, which shares a factor with depth 4
        factor = getattr(settings, f"downsample_depth_{min(site.depth.bit_length(), 3)}")
        return factor**2 * _share(settings, moment, site)
    if settings.method not in POOLING:
        return 0.0
    side = "out" if site.side == "out" else "in"
    slothful = getattr(settings, f"{side}_slothful")
    decay = getattr(settings, f"{side}_depth_decay")
    return slothful * depth_ratio(site.depth, decay) * _share(settings, moment, site)


def _share(settings: Settings, moment: Moment, site: Site) -> float:
    """The part of a method's full effect at a moment and a site, by time and block weight."""
    ratio = time_ratio(moment.time, settings.peak_time, settings.time_decay)
    return ratio * settings.block_weights.get(site.name, 1.0)


def _generator(site: Site, moment: Moment) -> random.Random:
    """A generator of its own, so that the picture's seed alone decides the picture."""
    return random.Random(f"{site.name} {moment.timestep}")


def _plan_merging(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> SitePlan | None:
    own = {"hires": settings.merge_ratio_hires, "img2img": settings.merge_ratio_img2img}
    ratio = own.get(moment.pass_name, 0.0) or settings.merge_ratio
    ratio *= depth_ratio(site.depth, settings.merge_depth_decay) * _share(settings, moment, site)
    merging = plan_merging(settings, grid, ratio, _generator(site, moment).getrandbits(32))
    if merging is None:
        return None
    return SitePlan(grid, grid[0] * grid[1] / merging.left, merging=merging)


def _reduce(
    settings: Settings,
    moment: Moment,
    site: Site,
    grid: tuple[int, int],
    strength: float,
    thinning: float = 1.0,
) -> Reduction:
    """The reduction with the mode and blends that the method has at the site."""
    generator = None if settings.kept_token == "first" else _generator(site, moment)
    chosen = dict(generator=generator, merges=settings.kept_token == "merged")
    if settings.method == DOWNSAMPLING:
        blend = 1.0 if settings.downsample_mode == "area" else 0.0
        factor = math.sqrt(strength)
        return plan_downsampling(*grid, factor=factor, blend=blend, **chosen)
    side = "out" if site.side == "out" else "in"
    pools = strength > 1  # a cell of one token is its own pool
    return plan_reduction(
        *grid,
        # Near-sighted Tile subsamples in two dimensions: it has no mode
        mode=getattr(settings, f"{side}_mode") if settings.method in POOLING else "2D_AVG",
        strength=strength,
        rounding=settings.rounding,
        thinning=thinning,
        k_blend=getattr(settings, f"{side}_k_blend") if pools else 0.0,
        v_blend=getattr(settings, f"{side}_v_blend") if pools else 0.0,
        **chosen,
    )


def _site_tiling(
    settings: Settings, moment: Moment, site: Site, grid: tuple[int, int]
) -> Tiling | None:
    if not _tiles_at(settings, site):
        return None
    if settings.method == PLAIN_TILES:
        tokens = settings.plain_tile_size // LATENT_FACTOR
        scale = site.depth if settings.plain_scale_depth else 1
        # the weaker the effect, the larger the tiles; never larger than the grid
        size = min(tokens * scale / max(_share(settings, moment, site), 1e-6), max(grid))
        shift, generator = _tile_shift(settings, moment, site), _generator(site, moment)
        return plan_divisor_tiling(*grid, max(int(size), 1), settings.plain_swap, shift, generator)
    tile_size = round(_scheduled(settings, moment, "tile_size"))
    return plan_tiling(*grid, tile_size, _tile_shift(settings, moment, site))


def _global_ratio(settings: Settings, moment: Moment) -> float:
    return _scheduled(settings, moment, "global_ratio") if settings.method in TILING else 0.0


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
        generator = _generator(site, moment)
        return generator.random(), generator.random()
    if settings.tile_shift == "alternating":
        # from site to site as in Swin Transformer, and from step to step
        half = 0.5 * ((moment.step + site.index) % 2)
        return half, half
    return 0.0, 0.0
