"""What an image costs in arithmetic, with and without the settings, without running a model.

Counts multiplications and additions of the matrix products and convolutions, as PyTorch's
FlopCounterMode does. Memory traffic and small operations (norms, pooling, moving of tokens) are
not in it, so time follows it loosely on small images and closely on large ones.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..settings.methods import ATTENTION, DEEP, IN_ATTENTION, SELF_ATTENTION, TRANSFORMERS, WHOLE
from ..settings.settings import Settings
from .arithmetic import attention_operations
from .counts import tokens_of
from .mixing import doubles_keys, mixed_amount
from .moment import Moment
from .plan import Merge, SitePlan, Sleep
from .planner import asleep_inside, first_inside, is_one_sided, plan_site
from .site import Grid, Site, grid_of

TEXT_TOKENS = 77
"""Tokens of a prompt of usual length."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Arithmetic of the calls of one image, in operations: without the settings and with them.

    `attention` and `attention_left` are those of self-attention (its projections included),
    `rest` and `rest_left` all else in the U-Net, of which only token merging takes anything.
    """

    attention: float
    attention_left: float
    rest: float
    rest_left: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, dataclasses.astuple(self), dataclasses.astuple(other)))

    def times(self, factor: float) -> Cost:
        """That of so many such calls."""
        return Cost(*(value * factor for value in dataclasses.astuple(self)))

    def of_rows(self, part: float) -> Cost:
        """Where only a part of the rows, in 0..1, is computed with the settings."""
        return Cost(self.attention, self.attention_left * part, self.rest, self.rest_left * part)

    @property
    def attention_share(self) -> float:
        """Part of the self-attention's arithmetic that is left, in (0, 1] or slightly above."""
        return self.attention_left / self.attention

    @property
    def total_share(self) -> float:
        """Part of the U-Net's arithmetic that is left."""
        return self.left / self.full

    @property
    def full(self) -> float:
        """All of the U-Net's arithmetic without the settings."""
        return self.attention + self.rest

    @property
    def left(self) -> float:
        """All of it with them."""
        return self.attention_left + self.rest_left


NO_COST = Cost(0.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class SiteShape:
    """A site, and what its layers do besides self-attention, in operations: for each token in
    cross-attention, in the feed-forward layers and in the transformer around them; and for the
    prompt's keys and values, once a call.
    """

    site: Site
    cross: float
    mlp: float
    around: float
    prompt: float

    def saved(self, plan: SitePlan | None) -> float:
        """Operations besides self-attention that a plan saves in a call."""
        if isinstance(plan, Merge):
            return plan.count * (plan.cross * self.cross + plan.mlp * self.mlp)
        if isinstance(plan, Sleep) and plan.part == ATTENTION:
            return plan.tokens * self.cross + self.prompt
        if isinstance(plan, Sleep) and plan.part == TRANSFORMERS:
            return plan.tokens * (self.cross + self.mlp + self.around) + self.prompt
        return 0.0  # of what sleeps as a whole, `asleep_inside` tells


@dataclasses.dataclass(frozen=True)
class RestShape:
    """What blocks of the U-Net do besides self-attention: operations for each position of a `level`
    (factor against the latent), and those of a call that do not grow with the image. `inside` is as
    for sites, -1 for what belongs to no block.
    """

    inside: int
    level: int
    per_position: float
    fixed: float


@dataclasses.dataclass(frozen=True)
class UnetShape:
    """What decides a U-Net's cost, read off its modules once.

    `sites` are those with self-attention; `rest` is all else, block by block. `deep` holds, for 1,
    2, ... blocks that stay awake on either side, the (channels, level) of what the last block
    between them gives.
    """

    sites: tuple[SiteShape, ...]
    rest: tuple[RestShape, ...]
    deep: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class MadeCall:
    """A call of the U-Net that was made, with `rows` of (width, height) pixels, and the plan of
    each site in it. `asleep` of the rows, the negative ones, were not computed; `attends`: the
    negative prompt acted in the cross-attention of the others. At the sites that are `doubled`,
    queries saw the other side's keys as well.
    """

    size: tuple[int, int]
    rows: int
    plans: Mapping[str, SitePlan | None]
    asleep: int = 0
    attends: bool = False
    doubled: frozenset[str] = frozenset()


def estimate(
    settings: Settings, shape: UnetShape, width: int, height: int, moments: Sequence[Moment]
) -> Cost:
    """The cost of an image of (width, height) pixels whose U-Net is called at `moments`.

    Does not depend on the batch: rows cost the same, and half of them are negative.
    """
    cost = NO_COST
    for moment in (dataclasses.replace(each, size=(width, height)) for each in moments):
        plan = functools.partial(plan_site, settings, moment)
        doubled = _doubled(settings, shape, moment)
        one_sided = is_one_sided(settings, moment)
        more = _More(doubled, one_sided and settings.negative == IN_ATTENTION)
        inside = asleep_inside(settings, moment)
        call = _cost_of_call(shape, width, height, plan, inside, more)
        cost += call.of_rows(0.5 if one_sided else 1.0)
    return cost


def _doubled(settings: Settings, shape: UnetShape, moment: Moment) -> frozenset[str]:
    """The sites whose queries see the other side's keys as well."""
    if not doubles_keys(settings):
        return frozenset()
    sites = (each.site for each in shape.sites)
    return frozenset(site.name for site in sites if mixed_amount(settings, moment, site) > 0)


def cost_of(settings: Settings, shape: UnetShape, calls: Iterable[MadeCall]) -> Cost:
    """The cost of calls that were made with settings, each counted as often as it had rows."""
    cost = NO_COST
    for call in calls:
        plans = [call.plans.get(each.site.name) for each in shape.sites]
        whole = any(isinstance(plan, Sleep) and plan.part in (DEEP, WHOLE) for plan in plans)

        def plan(site: Site, grid: Grid, call: MadeCall = call) -> SitePlan | None:
            return call.plans.get(site.name)

        inside = first_inside(settings) if whole else None
        more = _More(call.doubled, call.attends)
        each = _cost_of_call(shape, *call.size, plan, inside, more)
        cost += each.of_rows(1.0 - call.asleep / call.rows).times(call.rows)
    return cost


@dataclasses.dataclass(frozen=True)
class _More:
    """What is computed besides, as `MadeCall` says it."""

    doubled: frozenset[str] = frozenset()
    attends: bool = False

    def scores(self, site: Site, plan: SitePlan | None, grid: Grid) -> float:
        """Operations of scores and sums of values in a site's self-attention."""
        queries = keys = tokens_of(grid)
        if plan is not None:
            queries, keys = plan.query_count, plan.key_count
        return 4.0 * site.layers * site.inner * queries * keys * (site.name in self.doubled)

    def cross(self, each: SiteShape, plan: SitePlan | None, grid: Grid) -> float:
        """The same in its cross-attention, which some models do not have at every site."""
        if not self.attends or not each.cross:
            return 0.0
        if isinstance(plan, Sleep) and plan.part != SELF_ATTENTION:
            return 0.0
        return 4.0 * each.site.layers * each.site.inner * TEXT_TOKENS * tokens_of(grid)


def _cost_of_call(
    shape: UnetShape,
    width: int,
    height: int,
    plan_of: Callable[[Site, Grid], SitePlan | None],
    inside: int | None,
    more: _More,
) -> Cost:
    """Of one row. `inside`: which blocks sleep as a whole, as `asleep_inside` says."""
    levels = {each.level for each in shape.rest} | {each.site.level for each in shape.sites}
    grids = {level: grid_of(width, height, level) for level in levels}
    attention = attention_left = rest = saved = 0.0
    for each in shape.sites:
        site, grid = each.site, grids[each.site.level]
        sizes, plan = (site.channels, site.inner, site.layers), plan_of(site, grid)
        attention += attention_operations(None, grid, *sizes)
        attention_left += attention_operations(plan, grid, *sizes) + more.scores(site, plan, grid)
        saved += each.saved(plan) - more.cross(each, plan, grid)
    for block in shape.rest:
        cost = block.fixed + block.per_position * tokens_of(grids[block.level])
        rest += cost
        saved += cost if inside is not None and block.inside >= inside else 0.0
    return Cost(attention, attention_left, rest, rest - saved)
