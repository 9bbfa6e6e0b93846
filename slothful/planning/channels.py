"""In how many channels queries and keys are compared."""

from __future__ import annotations

from ..settings.methods import COMPARING, SCHEDULED
from ..settings.settings import Settings
from .moment import Moment
from .parts import effect_at
from .site import Site


def score_share(settings: Settings, moment: Moment, site: Site) -> float:
    """The part of a head's channels in which queries and keys are compared at a moment and a site,
    in (0, 1]: of a whole number of channels.

    What the settings take away at the site's level follows the block's weight and the method's
    schedule; where the method has none, it stays the same over time.
    """
    channels = site.inner // site.heads  # 0 where a host does not tell
    taken = 1.0 - level_share(settings, site)
    if taken == 0 or channels == 0 or settings.method not in COMPARING:
        return 1.0
    taken *= settings.block_weights.get(site.name, 1.0)
    if settings.method in SCHEDULED:
        taken *= effect_at(settings, moment)
    return max(round((1.0 - taken) * channels), 1) / channels


def level_share(settings: Settings, site: Site) -> float:
    """The same by the site's level alone."""
    shares = settings.channels_depth_1, settings.channels_depth_2, settings.channels_depth_3
    return shares[site.third]
