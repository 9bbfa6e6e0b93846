"""What an image costs in arithmetic, with and without the settings, without running a model.

Counts multiplications and additions of the matrix products and convolutions, as PyTorch's
FlopCounterMode does. Memory traffic and small operations (norms, pooling, moving of tokens) are
not in it, so time follows it loosely on small images and closely on large ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..settings.settings import Settings
from .arithmetic import attention_operations
from .moment import Moment
from .plan import Merge
from .planner import plan_site
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
        return (self.attention_left + self.rest_left) / (self.attention + self.rest)


@dataclasses.dataclass(frozen=True)
class SiteShape:
    """A site, and what its layers do for each token in cross-attention and in the feed-forward
    layers, in operations.
    """

    site: Site
    cross: float
    mlp: float

    def merged_away(self, plan: Merge) -> float:
        """Operations of cross-attention and feed-forward layers that a merging saves."""
        return plan.count * (plan.cross * self.cross + plan.mlp * self.mlp)


@dataclasses.dataclass(frozen=True)
class UnetShape:
    """What decides a U-Net's cost, read off its modules once.

    `sites` are those with self-attention; `per_position` the operations of all else for each
    position of a level (factor against the latent); `fixed` those of a call that do not grow with
    the image.
    """

    sites: tuple[SiteShape, ...]
    per_position: tuple[tuple[int, float], ...]
    fixed: float


def estimate(
    settings: Settings, shape: UnetShape, width: int, height: int, moments: Sequence[Moment]
) -> Cost:
    """The cost of an image of (width, height) pixels whose U-Net is called at `moments`.

    Does not depend on the batch: rows cost the same.
    """
    levels = {level for level, _ in shape.per_position} | {s.site.level for s in shape.sites}
    grids = {level: grid_of(width, height, level) for level in levels}
    positions = {level: rows * columns for level, (rows, columns) in grids.items()}
    rest = shape.fixed + sum(each * positions[level] for level, each in shape.per_position)
    attention = attention_left = merged_away = 0.0
    sized = [dataclasses.replace(moment, size=(width, height)) for moment in moments]
    for each in shape.sites:
        site, grid = each.site, grids[each.site.level]
        sizes = site.channels, site.inner, site.layers
        attention += attention_operations(None, grid, *sizes) * len(sized)
        for moment in sized:
            plan = plan_site(settings, moment, site, grid)
            attention_left += attention_operations(plan, grid, *sizes)
            if isinstance(plan, Merge):
                merged_away += each.merged_away(plan)
    rest *= len(sized)
    return Cost(attention, attention_left, rest, rest - merged_away)
