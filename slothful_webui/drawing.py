"""What the page draws: the passes, the plan of each site at each step, and what they leave to do.

All of it comes from the core, so that the page shows what will happen and computes nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from slothful import (
    NO_COST,
    Agents,
    Cost,
    Moment,
    Reduce,
    Settings,
    SitePlan,
    Sleep,
    UnetShape,
    agents_asleep_since,
    asleep_since,
    check_awake_blocks,
    estimate,
    grid_of,
    held_numbers,
    idle_parameters,
    is_measured,
    is_one_sided,
    noise_level_time,
    pass_moments,
    plan_site,
    why_nothing,
    within_limits,
)
from slothful_webui.costs import CostsFile
from slothful_webui.engine import number_size, unet_of
from slothful_webui.passes import Fields, Pass, passes_of
from slothful_webui.seconds import image_seconds, measured_costs, problem_of
from slothful_webui.shapes import known_shape

FEW_KEYS = 64
"""Fewer keys than the coarsest self-attention of SD1 has at 512x512 lose what an image holds."""

MOST_MOMENTS = 50
"""The most steps of a pass that are drawn; of more, so many evenly spaced ones."""

MOST_TOKENS = 4e6
"""The most tokens of all sites and moments of a pass where each is counted: half a second."""

MIB = 1024**2


def describe(
    settings: Settings,
    fields: Fields,
    model: Any,
    go_on: Callable[[], None] = lambda: None,
    costs_file: CostsFile | None = None,
) -> dict[str, Any]:
    """The drawing of settings for the passes that the page's fields ask for, JSON-ready.

    `model` is the webui's loaded model. "model" in the answer is "loaded", "none" where there is
    no model yet, or "unsupported"; the last two have no sites, plans or costs. "nothing" says why
    the U-Net will do what it does without the settings, None where it will not or there is no
    model yet; "only_vae" is true where the VAE will be tiled all the same. "idle" are the
    parameters without effect, each with the names of those that stand in its way. "left" is what is
    left to compute of all passes, "measured" true where less may sleep than is drawn, "negative"
    what becomes of the negative side in steps that are "one_sided", "held" the MiB that sleep holds
    for each image of a batch. "seconds" are the U-Net's of one image,
    "left" and "without", None where the machine was not measured; "costs_problem" says what of
    `costs_file` could not be used. Raises `SettingsError` for settings that leave nothing of the
    model to sleep. `go_on` is called between the sites, and ends it by raising.
    """
    unet = None if model is None else unet_of(model)
    shape = known_shape(unet)
    if shape is not None:
        check_awake_blocks(settings, len(shape.deep))
    sites = [] if shape is None else [each.site for each in shape.sites]
    plans: dict[SitePlan, int] = {}
    asked = passes_of(fields, model)
    costs = [_cost(settings, each, shape) for each in asked]
    passes = [
        _describe_pass(settings, each, shape, cost, plans, go_on)
        for each, cost in zip(asked, costs)
    ]
    moments = [
        (one.name, one.width, one.height, _looked_at(settings, one, shape, len(one.timesteps)))
        for one in asked
    ]
    measured = measured_costs(costs_file, unet, shape)
    timed = [(each, moments_of(settings, each)) for each in asked]
    nothing = None if model is None else why_nothing(settings, sites, moments)
    return {
        "model": "none" if model is None else "unsupported" if shape is None else "loaded",
        "sites": [{"name": s.name, "side": s.side, "level": s.level, "depth": s.depth}
                  for s in sites],
        "plans": [_describe_plan(plan) for plan in plans],
        "passes": passes,
        "left": _left(sum(costs, NO_COST)),
        "measured": is_measured(settings),
        "negative": settings.negative,
        "held": 0.0 if shape is None else _held(settings, shape, asked, number_size(unet)),
        "seconds": shape and measured and image_seconds(settings, timed, fields, shape, measured),
        "costs_problem": problem_of(costs_file),
        "nothing": nothing,
        "only_vae": nothing is not None and settings.vae_tiles,
        "idle": idle_parameters(settings),
    }  # fmt: skip


def _describe_pass(
    settings: Settings,
    each: Pass,
    shape: UnetShape | None,
    cost: Cost,
    plans: dict[SitePlan, int],
    go_on: Callable[[], None],
) -> dict[str, Any]:
    """One pass; its "sites" name, for each of its "steps", the number of the plan in `plans`, -1
    where the site is left alone. "steps" are those that are looked at, from 0, of "step_count".
    """
    moments = _looked_at(settings, each, shape, MOST_MOMENTS)
    acts = within_limits(settings, _place(each))
    chosen: dict[str, list[SitePlan | None]] = {}
    for site in (own.site for own in shape.sites) if shape else ():
        go_on()
        grid = grid_of(each.width, each.height, site.level)
        chosen[site.name] = [plan_site(settings, moment, site, grid) for moment in moments]
    return {
        "name": each.name,
        "width": each.width,
        "height": each.height,
        "acts": acts,
        "exact": each.exact,
        "times": [moment.time for moment in moments],
        "noise": [noise_level_time(moment.timestep) for moment in moments],
        "steps": [moment.step for moment in moments],
        "step_count": len(each.timesteps),
        "sites": {
            name: [-1 if plan is None else plans.setdefault(plan, len(plans)) for plan in row]
            for name, row in chosen.items()
        },
        "left": _left(cost),
        "few": _few_keys(chosen),
        "asleep": [acts and asleep_since(settings, moment) is not None for moment in moments],
        "one_sided": [is_one_sided(settings, moment) for moment in moments],
    }


def _looked_at(settings: Settings, each: Pass, shape: UnetShape | None, most: int) -> list[Moment]:
    """The moments of a pass: all, or evenly spaced ones where they are more than `most` or than
    `MOST_TOKENS` allows. How many is a matter of settings and size, never of a clock.
    """
    return _spread(moments_of(settings, each), min(most, _allowed(settings, each, shape)))


def _allowed(settings: Settings, each: Pass, shape: UnetShape | None) -> int:
    """How many moments of a pass may be planned where the sites are awake."""
    if shape is None or not _counts_tokens(settings):
        return len(each.timesteps)
    grids = (grid_of(each.width, each.height, own.site.level) for own in shape.sites)
    return max(1, int(MOST_TOKENS / sum(math.prod(grid) for grid in grids)))


def _spread(moments: list[Moment], most: int) -> list[Moment]:
    """At most so many of them, evenly spaced."""
    if len(moments) <= most:
        return moments
    last = len(moments) - 1
    places = [last // 2] if most == 1 else [i * last // (most - 1) for i in range(most)]
    return [moments[place] for place in places]


def _counts_tokens(settings: Settings) -> bool:
    """Whether plans count their tokens one by one: those that tiles keep of themselves."""
    used = (settings.parameter(name).used_by(settings.method) for name in ("in_mode", "tile_halo"))
    return all(used) and settings.kept_token != "merged"


def moments_of(settings: Settings, each: Pass) -> list[Moment]:
    """One for each step of a pass."""
    return pass_moments(settings, each.timesteps, each.name, (each.width, each.height))


def _cost(settings: Settings, each: Pass, shape: UnetShape | None) -> Cost:
    """That of all steps of a pass, for one row of a batch; of none where it is not known. Steps
    that sleep are counted apart, so that those which are looked at stand for their like.
    """
    cost = NO_COST
    if shape is None:
        return cost
    most = _allowed(settings, each, shape)
    kinds: dict[tuple[bool, bool, bool], list[Moment]] = {}
    for moment in moments_of(settings, each):
        kinds.setdefault(_sleeps(settings, moment), []).append(moment)
    for moments in kinds.values():
        seen = _spread(moments, most)
        some = estimate(settings, shape, each.width, each.height, seen)
        cost += some.times(len(moments) / len(seen))
    return cost


def _sleeps(settings: Settings, moment: Moment) -> tuple[bool, bool, bool]:
    """Whether a part of the U-Net sleeps at a moment, whether the negative side does, and whether
    agents repeat what they saw.
    """
    repeat = agents_asleep_since(settings, moment) is not None
    return asleep_since(settings, moment) is not None, is_one_sided(settings, moment), repeat


def _left(cost: Cost) -> dict[str, float] | None:
    """The parts of the arithmetic that are left, None where they are not known."""
    if cost.full == 0:
        return None
    return {"attention": cost.attention_share, "unet": cost.total_share}


def _held(settings: Settings, shape: UnetShape, passes: list[Pass], size: int) -> float:
    """MiB that sleep holds at most, for each image of a batch: a positive and a negative row of
    numbers of so many bytes.
    """
    numbers = [
        held_numbers(settings, shape, each.width, each.height)
        for each in passes
        if within_limits(settings, _place(each))
        and any(any(_sleeps(settings, moment)) for moment in moments_of(settings, each))
    ]
    return 2 * size * max(numbers, default=0) / MIB


def _place(each: Pass) -> Moment:
    """A moment of a pass that tells of it alone."""
    return Moment(0.0, 0.0, 0, each.name, (each.width, each.height))


def _few_keys(chosen: dict[str, list[SitePlan | None]]) -> dict[str, Any] | None:
    """The site that is left with the fewest keys, if they are too few for the tokens it has."""
    scarce = [
        (plan.key_count, name)
        for name, plans in chosen.items()
        for plan in plans
        if plan is not None
        and not isinstance(plan, (Sleep, Agents))
        and plan.key_count < FEW_KEYS
        and plan.tokens >= 4 * FEW_KEYS
    ]
    if not scarce:
        return None
    keys, site = min(scarce)
    return {"site": site, "keys": keys, "enough": FEW_KEYS}


def _describe_plan(plan: SitePlan) -> dict[str, Any]:
    """A plan in numbers. "stride" is the tokens for each key, or agent, that a query sees; "rows"
    and "columns" are the borders of the windows, "cell" the (height, width) of a cell, in tokens.
    "agents" is true where they are no keys, "channels" the part in which scores are computed.
    """
    if isinstance(plan, Sleep):
        return {"grid": plan.grid, "asleep": plan.part}
    drawn = {
        "grid": plan.grid,
        "keys": plan.key_count,
        "stride": plan.tokens / plan.key_count,
    }
    if isinstance(plan, Agents):
        return {**_describe_plan(plan.pool), **drawn, "agents": True}
    if plan.score_share < 1:
        drawn["channels"] = plan.score_share
    if not isinstance(plan, Reduce):
        return drawn
    if plan.tiling is not None:
        drawn |= {"rows": plan.tiling.rows.edges, "columns": plan.tiling.columns.edges}
    elif plan.reduction is not None and plan.reduction.rows.length == plan.grid[0]:
        cells = plan.reduction.rows, plan.reduction.columns
        drawn["cell"] = [axis.stride or axis.length / len(axis) for axis in cells]
    return drawn
