"""When each call of a U-Net happens, from what the host tells of passes and steps."""

from __future__ import annotations

from ..planning.moment import SAME_TIME, Moment, PassClock
from ..planning.schedule import noise_level_time
from ..settings.settings import Settings


class PassTime:
    """The time of one pass after the other: `size` is the (width, height) of the present one's
    image in pixels where the host has told it, `call_number` counts the calls of a step, and
    `rounding` is by which part of themselves the timesteps are rounded.
    """

    def __init__(self, settings: Settings):
        self._by_noise = settings.time_axis == "noise level"
        self._schedule: PassClock | None = None
        self._clock: PassClock | None = None
        self._pass = "base"
        self._moment: Moment | None = None
        self._step_begun = False
        self.size: tuple[int, int] | None = None
        self.call_number = 0
        self.rounding = 0.0

    def begin_pass(self, name: str, clock: PassClock | None, size: tuple[int, int] | None) -> None:
        """See `Application.begin_pass`."""
        self._pass, self._clock, self.size, self._moment = name, clock, size, None
        self._schedule = clock

    def begin_step(self) -> None:
        """See `Application.begin_step`."""
        self._step_begun = True

    def next_moment(self, timestep: float, size: tuple[int, int], looks_ahead: bool) -> Moment:
        """That of a call that begins, with a latent of (width, height) pixels. Only who
        `looks_ahead` needs the times of all steps.
        """
        before = self._moment
        same_time = before is not None and timestep == before.timestep
        self.call_number = self.call_number + 1 if same_time and not self._step_begun else 0
        self._step_begun = False
        step = 0 if before is None else before.step + (not same_time)
        if self._clock is None:
            self._clock = PassClock((timestep, 0.0))
        time, index = self._time_of(timestep), step
        times: tuple[float, ...] = ()
        if self._schedule is not None and looks_ahead:
            times = tuple(map(self._time_of, self._schedule.timesteps))
            within = max(SAME_TIME, self.rounding * timestep)
            index = self._schedule.index(timestep, within)
        size = self.size or size
        self._moment = Moment(timestep, time, step, self._pass, size, times, index)
        return self._moment

    def _time_of(self, timestep: float) -> float:
        if self._by_noise or self._clock is None:
            return noise_level_time(timestep)
        return self._clock.progress(timestep)
