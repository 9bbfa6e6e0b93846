"""Sleep at work on a U-Net: what sleeps is not computed, and gives what it gave before.

What sleeps must start no kernel, and a hook cannot skip a `forward`. So for this, and this alone, a
module's `forward` is replaced: from the beginning of a call of the U-Net to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.moment import Moment
from ..planning.site import Site
from ..planning.sleep import asleep_since, awake_before, is_measured, is_wanted, weight_of
from ..settings.methods import AWAKE
from ..settings.settings import Settings
from .changes import Changes
from .dictionaries import Dictionaries
from .memory import Memory
from .prediction import Prediction
from .sites import SiteModules
from .sleeping_parts import PARTS, Call, Making, Note, Part


class Sleeper:
    """The settings' sleep, decided part by part in each call of a U-Net."""

    def __init__(self, settings: Settings, note: Note):
        """`note(name, reason)` is told of sites that have to stay awake, and why."""
        self._settings, self._note, self._memory = settings, note, Memory()
        self._parts: list[Part] = []
        self._changes = Changes() if is_measured(settings) else None
        self._present: Call | None = None
        self._computed = False  # all of the present call
        self.dictionaries = Dictionaries(settings)
        self.is_idle = settings.sleep == AWAKE and self.dictionaries.is_idle

    def follow(
        self, unet: nn.Module, found: Sequence[SiteModules], prediction: Callable[[], Prediction]
    ) -> list[RemovableHandle]:
        """Move to a U-Net whose sites are `found`; the handles of the hooks that keep what its
        parts give. Raises `SettingsError` where the settings leave nothing of it to sleep.
        """
        making = Making(self._settings, unet, found, prediction, self._memory, self._note)
        self._parts = PARTS[self._settings.sleep](making)
        return [handle for part in self._parts for handle in part.register()]

    def leave(self) -> None:
        """Let go of the U-Net."""
        self.forget()
        self._parts = []

    def forget(self) -> None:
        """A new pass: what was kept is of another image."""
        self.end_call()
        self._memory.forget()
        self.dictionaries.forget()
        if self._changes is not None:
            self._changes.forget()

    def measure(self, *latents: torch.Tensor) -> list[torch.Tensor]:
        """What `begin_call` needs to know of a call with one of these latents: each (1,), still on
        its device; nothing without a threshold.
        """
        return [] if self._changes is None else self._changes.measure(*latents)

    def begin_call(
        self, moment: Moment, call: Call, at_work: bool, measured: Sequence[float]
    ) -> list[Site]:
        """Put to sleep what the schedule says, unless it is not known what to give instead, or the
        output has changed too much by what was `measured`; the sites that sleep. Not `at_work`: all
        is awake, and nothing is kept.
        """
        if self._present is not None:  # the last one failed
            self.forget()
        self.dictionaries.begin_call(moment, call.key, at_work)
        goes_back = self._memory.begin_call(moment.timestep)
        may_sleep = at_work
        if self._changes is not None:
            if goes_back:
                self._changes.forget()
            change = self._changes.estimate(call.key, measured)
            may_sleep = at_work and change <= self._settings.sleep_threshold
        asleep: list[Site] = []
        settings, oldest = self._settings, moment.index
        for part in self._parts:
            weight = weight_of(settings, part.sites)
            oldest = min(oldest, awake_before(settings, moment, weight))
            since = asleep_since(settings, moment, weight) if may_sleep else None
            if since is not None and part.sleep(call, since):
                asleep += part.sites
            else:
                # where a later call may sleep on this one whatever the schedule says, it is kept
                wanted = self._changes is not None or is_wanted(settings, moment, weight)
                part.wake(call, at_work and wanted)
        self._memory.drop_before(oldest)
        self._present, self._computed = call, at_work and not asleep
        return asleep

    def end_call(self, output: torch.Tensor | None = None) -> None:
        """The call is over, or failed: every forward is what it was. `output`: what it gave."""
        for part in self._parts:
            part.end()
        call, self._present = self._present, None
        if self._changes is not None and self._computed and call is not None and output is not None:
            self._changes.keep(call.key, call.latent, output)
