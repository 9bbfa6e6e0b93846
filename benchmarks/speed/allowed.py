"""What settings allow: the share of the removable arithmetic that a method removes."""

from __future__ import annotations

from slothful import Moment, Settings, UnetShape, grid_of, plan_site
from slothful.planning.arithmetic import attention_operations


def allowed_share(
    settings: Settings, shape: UnetShape, width: int, height: int, moment: Moment
) -> float:
    """Between no patch (0) and the floor (1), which keeps the projections of queries and answers.

    Counts operations, as if all took the same time and moving tokens took none. What a method's
    defaults leave alone (deeper levels, keys that every tile sees) is beyond any implementation.
    """
    plain = left = floor = 0.0
    for each in shape.sites:
        grid = grid_of(width, height, each.site.level)
        site = each.site
        sizes = site.channels, site.inner, site.layers
        plan = plan_site(settings, moment, site, grid)
        plain += attention_operations(None, grid, *sizes)
        left += attention_operations(plan, grid, *sizes)
        floor += site.layers * 4.0 * grid[0] * grid[1] * site.channels * site.inner
    return (plain - left) / (plain - floor)


def changed_attentions(
    settings: Settings, shape: UnetShape, width: int, height: int, moment: Moment
) -> int:
    """How many self-attentions of a call are changed."""
    sites = [each.site for each in shape.sites]
    return sum(
        site.layers
        for site in sites
        if plan_site(settings, moment, site, grid_of(width, height, site.level)) is not None
    )
