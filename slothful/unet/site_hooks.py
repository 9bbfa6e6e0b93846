"""The hooks of one site: its plan for each call of the U-Net, and who performs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.plan import Agents, Merge, Reduce, SitePlan
from ..planning.site import Grid
from .agents import AgentHooks
from .attention_hooks import AttentionHooks, Kind, Layer, PlanFor, Shared
from .calls import Args, Kwargs
from .dictionaries import Dictionaries, LayerDictionary
from .foreign import OwnHook
from .merging import Merging
from .obstacles import Obstacles, YieldsTo
from .reducing import Reducing
from .sites import SiteModules

KINDS: dict[type, Callable[[Layer], Kind[Any]]] = {
    Reduce: Reducing,
    Merge: Merging,
    Agents: AgentHooks,
}
"""Who performs a plan, by its class."""


class SiteHooks:
    """Hooks on a site's transformer and layers; `attentions` are those around each attn1."""

    def __init__(
        self,
        modules: SiteModules,
        plan_for: Callable[[Grid], SitePlan | None],
        yields_to: YieldsTo,
        applied: Callable[[], None],
        note: Callable[[str], None],
        dictionaries: Dictionaries,
    ):
        """`plan_for` is asked in each call with the site's grid; `applied` is called whenever
        something was, `note` with a reason where something planned was not.
        """
        self.modules = modules
        self._plan_for = plan_for
        self._note = note
        self._plan: SitePlan | None = None
        shared = Shared(len(modules.layers))
        self.attentions = [
            AttentionHooks(
                Layer(
                    layer,
                    index,
                    shared,
                    applied,
                    modules.dialect,
                    LayerDictionary(dictionaries, modules.site, index),
                ),
                self._unless(Obstacles(layer, yields_to, modules.dialect)),
                KINDS,
                note,
            )
            for index, layer in enumerate(modules.layers)
        ]

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them, and `release` what they have put on since."""
        before = OwnHook(self._before)
        transformer = self.modules.transformer
        handles = [transformer.register_forward_pre_hook(before, with_kwargs=True)]
        for hooks in self.attentions:
            handles += hooks.register()
        return handles

    def release(self) -> None:
        """Take off what was put on for a plan."""
        for hooks in self.attentions:
            hooks.release()

    def forget_forwards(self) -> None:
        """What the attentions' `forward` do may have changed, as where hypernetworks come."""
        for hooks in self.attentions:
            hooks.weighted.forget()

    def _before(self, transformer: nn.Module, args: Args, kwargs: Kwargs) -> None:
        """Plan from the exact grid, which is right for odd sizes and resized maps too."""
        self.prepare(self.modules.grid_in(args, kwargs))

    def prepare(self, grid: Grid) -> None:
        """Plan a call over a (height, width) grid, and put on what the plan needs."""
        self._plan = self._plan_for(grid)
        for hooks in self.attentions:
            hooks.prepare(self._plan)

    def _unless(self, obstacles: Obstacles) -> PlanFor:
        """The site's plan, None in a call against which something speaks."""

        def plan_for(tokens: torch.Tensor, args: Args, kwargs: Kwargs) -> SitePlan | None:
            if self._plan is None:
                return None
            reason = obstacles.reason(self._plan, tokens, args, kwargs)
            if reason is None:
                return self._plan
            self._note(reason)
            return None

        return plan_for
