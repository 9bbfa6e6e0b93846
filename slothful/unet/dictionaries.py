"""What agents saw when they last looked at the image, for the steps in which they repeat it."""

from __future__ import annotations

import dataclasses

import torch

from ..planning.moment import Moment
from ..planning.plan import Agents, AwakePlan
from ..planning.site import Site
from ..planning.sleep import agents_awake_before
from ..settings.methods import AGENTS
from ..settings.settings import Settings
from .memory import CallKey, Memory


class Dictionaries:
    """Of the calls of one U-Net over one pass."""

    def __init__(self, settings: Settings):
        self._settings, self._memory = settings, Memory()
        self._call: tuple[CallKey, int] | None = None
        self._kept: set[str] = set()  # in this call
        self.is_idle = settings.method != AGENTS or settings.agent_every == 1

    def forget(self) -> None:
        """A new pass, another U-Net, the end, or a call that failed."""
        self._memory.forget()
        self._call = None

    def begin_call(self, moment: Moment, key: CallKey, at_work: bool) -> None:
        """Which call of the U-Net comes. Not `at_work`: nothing is kept."""
        if self.is_idle:
            return
        self._memory.begin_call(moment.timestep)
        self._memory.drop_before(agents_awake_before(self._settings, moment))
        self._call = (key, moment.index) if at_work else None
        self._kept.clear()

    def settled(self, plan: AwakePlan | None, site: Site) -> AwakePlan | None:
        """The plan of a site, where its agents look at the image if it is not known what they saw
        in the step that the plan says.
        """
        if not isinstance(plan, Agents) or plan.since is None:
            return plan
        known = all(self.given(_name(site, i), plan.since) is not None for i in range(site.layers))
        return plan if known else dataclasses.replace(plan, since=None)

    def given(self, name: str, since: int) -> torch.Tensor | None:
        """What the agents of a layer saw in a step, (batch, ...), None where that is not known."""
        if self._call is None:
            return None
        entries = self._memory.found(self._call[0], name, since)
        return entries[-1].value if entries else None

    def keep(self, name: str, value: torch.Tensor) -> None:
        """What the agents of a layer see in this call, unless they look more than once."""
        if self._call is None or len(value) != self._call[0].shape[0]:
            return
        if name in self._kept:
            self._memory.discard(self._call[0], name, self._call[1])
        else:
            self._memory.keep(self._call[0], name, self._call[1], value, most=1)
        self._kept.add(name)


class LayerDictionary:
    """Of one layer of a site."""

    def __init__(self, dictionaries: Dictionaries, site: Site, layer: int):
        self._all, self._name = dictionaries, _name(site, layer)

    def given(self, since: int, rows: int) -> torch.Tensor | None:
        """See `Dictionaries`; None where it is of another number of rows."""
        value = self._all.given(self._name, since)
        return value if value is not None and len(value) == rows else None

    def keep(self, value: torch.Tensor) -> None:
        """See `Dictionaries`."""
        self._all.keep(self._name, value)


def _name(site: Site, layer: int) -> str:
    return f"{site.index}.{layer}"
