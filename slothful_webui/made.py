"""What the calls of an image's U-Nets were, by arithmetic and by the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slothful

KnownCosts = Callable[[Any, slothful.UnetShape], slothful.MachineCosts | None]
"""The costs of a U-Net on this machine, None where they were not measured."""


class Made:
    """Adds up what was done, U-Net by U-Net: with a refiner there are several."""

    def __init__(self) -> None:
        self._cost = slothful.NO_COST
        self._seconds = 0.0
        self._told: slothful.Seconds | None = slothful.NO_SECONDS  # None where one is not known

    def add(
        self,
        settings: slothful.Settings,
        shape: slothful.UnetShape | None,
        times: slothful.CallTimes,
        costs: slothful.MachineCosts | None,
    ) -> None:
        """What a U-Net of this shape has done until now; `costs` are its own on this machine."""
        calls, seconds = times.take_calls(), times.take_seconds()
        if not calls or shape is None:
            return
        self._cost += slothful.cost_of(settings, shape, calls)
        self._seconds += seconds
        if costs is None or self._told is None:
            self._told = None
        else:
            self._told += slothful.seconds_of(settings, shape, costs, calls)

    def told(
        self, application: slothful.Application, settings: slothful.Settings
    ) -> list[slothful.Part]:
        """The line about it; nothing where nothing was called."""
        steps = application.asleep_steps, application.one_sided_steps, application.step_count
        has_method = settings.method != slothful.NO_METHOD
        # where some are skipped, another line says which are not
        applied = application.applied_sites if has_method and not application.notes else ()
        notes = application.negative_notes, application.mix_notes
        return slothful.what_was_done(
            settings, applied, steps, notes, self._cost, self._seconds, self._told
        )
