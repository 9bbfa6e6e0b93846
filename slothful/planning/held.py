"""What sleep holds in memory, in numbers: counted from shapes, before anything is held."""

from __future__ import annotations

from ..settings.methods import (
    AGENTS,
    ASLEEP,
    ATTENTION,
    AWAKE,
    COMPUTED,
    DEEP,
    TRANSFORMERS,
    WHOLE,
)
from ..settings.settings import Settings
from .cost import SiteShape, UnetShape
from .counts import tokens_of
from .forecast import LOOKS_AT
from .limits import skipped
from .moment import Moment
from .planner import may_apply, planned_regardless
from .site import Site, grid_of
from .sleep import weight_of

LATENT_CHANNELS = 4


def held_numbers(settings: Settings, shape: UnetShape, width: int, height: int) -> int:
    """How many numbers sleep holds at most, between the calls, for each row of a batch of
    (width, height) pixels.
    """
    latent = LATENT_CHANNELS * tokens_of(grid_of(width, height, 1))
    # a difference for two rows
    difference = latent // 2 if settings.negative == ASLEEP else 0
    if settings.method == AGENTS and settings.agent_every > 1:
        difference += sum(_held_by_agents(settings, s.site, width, height) for s in shape.sites)
    if settings.sleep == AWAKE:
        return difference
    if settings.sleep == WHOLE:
        each = latent
    elif settings.sleep == DEEP:
        channels, level = shape.deep[settings.sleep_awake_blocks - 1]
        each = channels * tokens_of(grid_of(width, height, level))
    else:
        each = sum(_held_at(settings, site, width, height) for site in shape.sites)
    each *= LOOKS_AT[settings.sleep_forecast]
    # in a step with one side only, that of positive rows beside that of all
    return (each if settings.negative == COMPUTED else each * 3 // 2) + difference


def _held_by_agents(settings: Settings, site: Site, width: int, height: int) -> int:
    """Numbers of a site's agents and of what they saw, where there are most of them: at the end of
    the schedule that is further away from the peak, or, where there are none, before that.
    """
    grid = grid_of(width, height, site.level)
    far = Moment(0.0, float(settings.peak_time < 0.5))
    plan = planned_regardless(settings, far, site, grid)
    if skipped(settings, site) or not may_apply(settings, site):
        return 0
    agents = tokens_of(grid) // 2 if plan is None else plan.key_count
    return 2 * site.layers * site.inner * agents


def _held_at(settings: Settings, shape: SiteShape, width: int, height: int) -> int:
    """Numbers that a site gives: its attentions, or its transformer's difference to its input."""
    site = shape.site
    if weight_of(settings, [site]) == 0:
        return 0
    modules = {TRANSFORMERS: 1, ATTENTION: site.layers * (2 if shape.cross else 1)}
    given = modules.get(settings.sleep, site.layers)
    return given * site.channels * tokens_of(grid_of(width, height, site.level))
