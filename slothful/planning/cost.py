"""What an image costs in arithmetic, with and without the settings, without running a model.

Counts multiplications and additions of the matrix products and convolutions, as PyTorch's
FlopCounterMode does. Memory traffic and small operations (norms, pooling, moving of tokens) are
not in it, so time follows it loosely on small images and closely on large ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..settings.methods import ATTENTION, TRANSFORMERS
from ..settings.settings import Settings
from .arithmetic import attention_operations
from .counts import tokens_of
from .moment import Moment
from .plan import Merge, SitePlan, Sleep
from .planner import asleep_inside, plan_site
from .site import Site, grid_of


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

    `sites` are those with self-attention; `rest` is all else, block by block.
    """

    sites: tuple[SiteShape, ...]
    rest: tuple[RestShape, ...]


def estimate(
    settings: Settings, shape: UnetShape, width: int, height: int, moments: Sequence[Moment]
) -> Cost:
    """The cost of an image of (width, height) pixels whose U-Net is called at `moments`.

    Does not depend on the batch: rows cost the same.
    """
    levels = {each.level for each in shape.rest} | {each.site.level for each in shape.sites}
    grids = {level: grid_of(width, height, level) for level in levels}
    positions = {level: tokens_of(grid) for level, grid in grids.items()}
    sized = [dataclasses.replace(moment, size=(width, height)) for moment in moments]
    attention = attention_left = saved = 0.0
    for each in shape.sites:
        site, grid = each.site, grids[each.site.level]
        sizes = site.channels, site.inner, site.layers
        attention += attention_operations(None, grid, *sizes) * len(sized)
        for moment in sized:
            plan = plan_site(settings, moment, site, grid)
            attention_left += attention_operations(plan, grid, *sizes)
            saved += each.saved(plan)
    costs = [
        (each.inside, each.fixed + each.per_position * positions[each.level]) for each in shape.rest
    ]
    rest = sum(cost for _, cost in costs)
    for moment in sized:
        inside = asleep_inside(settings, moment)
        saved += sum(cost for place, cost in costs if inside is not None and place >= inside)
    return Cost(attention, attention_left, rest * len(sized), rest * len(sized) - saved)
