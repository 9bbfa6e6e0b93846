"""Keys that the two halves of a batch mix in self-attention: how much, where and when."""

from __future__ import annotations

from ..settings.methods import REPEL, SHARE, UNMIXED
from ..settings.settings import Settings
from .limits import skipped, within_limits
from .moment import Moment
from .schedule import time_ratio
from .site import Site
from .sleep import negative_asleep_since


def mixed_amount(settings: Settings, moment: Moment, site: Site) -> float:
    """How much of the other half's keys a site mixes into its own at a moment, >= 0; by the amount,
    the weight of its block and the time, and 0 where the negative side is not computed.
    """
    if not mixes(settings) or skipped(settings, site) or not within_limits(settings, moment):
        return 0.0
    if negative_asleep_since(settings, moment) is not None:
        return 0.0
    at_time = time_ratio(moment.time, settings.mix_peak_time, settings.mix_time_decay)
    return settings.mix_amount * settings.block_weights.get(site.name, 1.0) * at_time


def mixes(settings: Settings) -> bool:
    """Whether any keys may be mixed."""
    return settings.mix != UNMIXED and settings.mix_amount > 0


def doubles_keys(settings: Settings) -> bool:
    """Whether queries see the other half's keys beside their own."""
    return settings.mix in (SHARE, REPEL)
