"""Where nothing is changed, whatever the method: passes, sizes, single blocks."""

from __future__ import annotations

from ..settings.settings import Settings
from .moment import Moment
from .site import Site


def within_limits(settings: Settings, moment: Moment) -> bool:
    """Whether anything is applied in a moment's pass and at its size."""
    if settings.passes not in ("both", "hires" if moment.pass_name == "hires" else "base"):
        return False
    if moment.size is None:
        return True
    width, height = moment.size
    large = min(width, height) >= settings.min_size
    return large and width >= settings.min_width and height >= settings.min_height


def skipped(settings: Settings, site: Site) -> bool:
    """Whether the settings skip a site at every moment, whatever the method."""
    if site.side == "middle" and settings.keep_middle:
        return True
    return settings.block_weights.get(site.name, 1.0) == 0
