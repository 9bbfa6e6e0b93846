"""What settings allow: the share of the removable arithmetic that a method removes."""

from __future__ import annotations

from slothful import Moment, Settings
from slothful.arithmetic import attention_operations, plan_where_it_pays
from slothful.cost import UnetShape, grid_of


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
        sizes = each.channels, each.inner, each.layers
        plan = plan_where_it_pays(settings, moment, each.site, grid)
        plain += attention_operations(None, grid, *sizes)
        left += attention_operations(plan, grid, *sizes)
        floor += each.layers * 4.0 * grid[0] * grid[1] * each.channels * each.inner
    return (plain - left) / (plain - floor)
