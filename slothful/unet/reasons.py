"""Why nothing was applied in any call so far."""

from __future__ import annotations

from collections.abc import Iterable

from ..planning.moment import Moment
from ..planning.nothing import (
    CHANGING,
    NEVER_CALLED,
    NOT_RUN,
    nearest,
    reason_of_pass,
    reason_of_site,
)
from ..planning.plan import Sleep
from ..planning.planner import is_one_sided, plan_site
from ..planning.site import Grid, Site
from ..settings.settings import Settings


class Reasons:
    """What was met in the calls that were looked at, as long as nothing is applied."""

    def __init__(self, settings: Settings, sleeps: bool):
        """`sleeps`: whether anything sleeps at some step."""
        self._settings, self._sleeps = settings, sleeps
        self._met = {NEVER_CALLED}

    def add(self, reason: str) -> None:
        """One of `slothful.planning.nothing.REASONS`."""
        self._met.add(reason)

    def begin_call(self, moment: Moment, idle: Iterable[tuple[Site, Grid]]) -> None:
        """A call begins; `idle` are the sites at which nothing is ever planned."""
        outside = reason_of_pass(self._settings, moment)
        if outside is not None:
            self.add(outside)
            return
        for site, grid in idle:
            self.look(moment, site, grid)

    def look(self, moment: Moment, site: Site, grid: Grid) -> None:
        """Note why nothing is planned at a site; of what is planned, that it did not run, should it
        not.
        """
        if reason_of_pass(self._settings, moment) is not None:
            return
        reason = reason_of_site(self._settings, moment, site, grid)
        if is_one_sided(self._settings, moment):
            reason = CHANGING
        elif reason is None:
            reason = NOT_RUN
            if self._sleeps and isinstance(plan_site(self._settings, moment, site, grid), Sleep):
                reason = CHANGING
        self.add(reason)

    def nearest(self) -> str:
        """The one that is nearest to something being applied."""
        return nearest(self._met)
