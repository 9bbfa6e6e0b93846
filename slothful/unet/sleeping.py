"""Sleep at work on a U-Net: what sleeps is not computed, and gives what it gave before.

What sleeps must start no kernel, and a hook cannot skip a `forward`. So for this, and this alone, a
module's `forward` is replaced: from the beginning of a call of the U-Net to its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.moment import Moment
from ..planning.site import Site
from ..planning.sleep import asleep_since, awake_before, is_wanted, weight_of
from ..settings.methods import AWAKE
from ..settings.settings import Settings
from .memory import Memory
from .prediction import Prediction
from .sites import SiteModules
from .sleeping_parts import PARTS, Call, Making, Part


class Sleeper:
    """The settings' sleep, decided part by part in each call of a U-Net."""

    def __init__(self, settings: Settings):
        self._settings, self._memory = settings, Memory()
        self._parts: list[Part] = []
        self.is_idle = settings.sleep == AWAKE

    def follow(
        self, unet: nn.Module, found: Sequence[SiteModules], prediction: Prediction
    ) -> list[RemovableHandle]:
        """Move to a U-Net whose sites are `found`; the handles of the hooks that keep what its
        parts give. Raises `SettingsError` where the settings leave nothing of it to sleep.
        """
        making = Making(self._settings, unet, found, prediction, self._memory)
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

    def begin_call(self, moment: Moment, call: Call, at_work: bool) -> list[Site]:
        """Put to sleep what the schedule says, unless it is not known what to give instead; the
        sites that sleep. Not `at_work`: all is awake, and nothing is kept.
        """
        self.end_call()
        self._memory.begin_call(moment.timestep)
        asleep: list[Site] = []
        settings, oldest = self._settings, moment.index
        for part in self._parts:
            weight = weight_of(settings, part.sites)
            oldest = min(oldest, awake_before(settings, moment, weight))
            since = asleep_since(settings, moment, weight) if at_work else None
            if since is not None and part.sleep(call, since):
                asleep += part.sites
            else:
                part.wake(call, wanted=at_work and is_wanted(settings, moment, weight))
        self._memory.drop_before(oldest)
        return asleep

    def end_call(self) -> None:
        """The call is over, or failed: every forward is what it was."""
        for part in self._parts:
            part.end()
