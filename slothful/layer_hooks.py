"""The hooks of one transformer block of the U-Net, and their state from one to the next."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from slothful.foreign import OwnHook
from slothful.groups import Groups
from slothful.layout import Layout, deal_keys, join_answers, plan_layout, split_queries
from slothful.plan import SitePlan
from slothful.sources import Match, key_sources, match_tokens
from slothful.weighted_attention import WeightedAttention

PlanFor = Callable[[torch.Tensor, tuple, dict], "SitePlan | None"]
"""Called as plan_for(tokens, args, kwargs) with an attn1's arguments: the plan for this call."""

Applied = Callable[[], None]
"""Called when something was applied in a call."""


class SiteState:
    """What the blocks of a site share in one call: `count` of them, and what is alike."""

    def __init__(self, count: int):
        self.count = count
        self.match: Match | None = None


class LayerHooks:
    """Hooks around a block's attn1, which give it x and context and take its answers.

    `layer`: a block with attn1, attn2 and ff; `index`: its place among the blocks of its site.
    """

    def __init__(
        self,
        layer: nn.Module,
        index: int,
        plan_for: PlanFor,
        state: SiteState,
        applied: Applied = lambda: None,
    ):
        self.layer = layer
        self.state = state
        self.index = index
        self.plan: SitePlan | None = None
        self.weighted = WeightedAttention(layer.attn1)
        self.applied = applied
        self._plan_for = plan_for

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them."""
        attention = self.layer.attn1
        return [
            attention.register_forward_pre_hook(OwnHook(self._before_attention), with_kwargs=True),
            attention.register_forward_hook(OwnHook(self._after_attention)),
        ]

    def prepare(self, plan: SitePlan | None) -> None:
        """Called before the block with the plan of its site, None to leave it alone."""

    def release(self) -> None:
        """Take off what `prepare` has put on."""

    def begin(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What attn1 gets as x and as context, for `tokens` (batch, tokens, channels)."""
        raise NotImplementedError

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """attn1's answers as (batch, tokens, channels)."""
        raise NotImplementedError

    def _before_attention(
        self, attention: nn.Module, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict] | None:
        tokens = args[0] if args else kwargs["x"]
        self.weighted.log_weights = None
        self.plan = self._plan_for(tokens, args, kwargs)
        if self.plan is None:
            return None
        queries, context = self.begin(tokens)
        # values come from the context, unless they are given as well (Forge, ComfyUI)
        rest = {name: each for name, each in kwargs.items() if name not in ("x", "value")}
        if len(args) > 1:
            return (queries, context, *(None if a is tokens else a for a in args[2:])), rest
        # x by position and context by name is what every known replacement accepts
        return (queries,), {**rest, "context": context}

    def _after_attention(
        self, attention: nn.Module, args: tuple, answers: torch.Tensor
    ) -> torch.Tensor | None:
        return None if self.plan is None else self.end(answers)


class ReducingHooks(LayerHooks):
    """Reduction of keys and values, tiling of queries."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._layout: Layout | None = None
        self._groups: Groups | None = None
        self._needs: tuple[bool, bool, bool] | None = None
        self._handles: list[RemovableHandle] = []

    def prepare(self, plan: SitePlan | None) -> None:
        """Have those hooks on the projections that a plan needs: each takes time at every call."""
        self.state.match = None
        needs = None if plan is None else (plan.tiling is not None, plan.splits, plan.merges)
        if needs == self._needs:
            return
        self.release()
        self._needs = needs
        if plan is None:
            return
        attention, handles = self.layer.attn1, self._handles
        for part, projection in enumerate((attention.to_k, attention.to_v)):
            if plan.splits:
                before = functools.partial(self._before_projection, part)
                handles.append(projection.register_forward_pre_hook(OwnHook(before)))
            if plan.tiling is not None:
                after = OwnHook(self._after_projection)
                handles.append(projection.register_forward_hook(after))
        if plan.merges:
            handles += self.weighted.register()

    def release(self) -> None:
        """Take them off."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._needs = [], None

    def begin(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch * W, T, channels) and (batch, M, channels) for W windows.

        Where keys and values come from different tokens, the context is both, one after the
        other, and each projection takes its half: so a hypernetwork, which sits between, sees
        the tokens that are projected and nothing else.
        """
        self._layout = plan_layout(self.plan, tokens.device)
        tokens = _as_projected(tokens, self.layer.attn1.to_q)
        # where autocast would turn single precision to half and back at every other step
        with torch.autocast(tokens.device.type, enabled=False) if tokens.is_cuda else nullcontext():
            queries = split_queries(tokens, self._layout, self.plan)
            match = self._match(tokens, queries) if self.plan.merges else None
            sources = key_sources(tokens, queries, self._layout, self.plan, match)
        keys, values, self.weighted.log_weights, self._groups = sources
        return queries, torch.cat([keys, values], dim=1) if self.plan.splits else keys

    def _match(self, tokens: torch.Tensor, queries: torch.Tensor) -> Match:
        """What is alike, found by the first block of the site: tokens change little on the way
        from one to the next.
        """
        match = self.state.match
        if match is None or len(match.log_weights) != len(queries):
            match = match_tokens(tokens, queries, self._layout, self.plan)
        # the last one frees its memory
        self.state.match = match if self.index + 1 < self.state.count else None
        return match

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """The answers in the order of the grid: (batch, tokens, channels)."""
        self.applied()
        plan, self.plan, self._groups = self.plan, None, None
        return join_answers(answers, self._layout, plan)

    def _before_projection(self, part: int, projection: nn.Module, args: tuple) -> tuple | None:
        """Give to_k (part 0) and to_v (part 1) their half of the context."""
        if self.plan is None:
            return None
        return (args[0].chunk(2, dim=1)[part], *args[1:])

    def _after_projection(
        self, projection: nn.Module, args: tuple, projected: torch.Tensor
    ) -> torch.Tensor | None:
        """Deal the projected tokens to the windows."""
        if self.plan is None:
            return None
        shared = self._groups and self._groups.means(projected)
        return deal_keys(projected, self._layout, self.plan, shared)


def _as_projected(tokens: torch.Tensor, projection: nn.Module) -> torch.Tensor:
    """The tokens in half precision where CUDA's autocast would have each projection cast them."""
    if not (tokens.is_cuda and torch.is_autocast_enabled()):
        return tokens
    dtype = getattr(getattr(projection, "weight", None), "dtype", None)
    return tokens.to(dtype) if dtype in (torch.float16, torch.bfloat16) else tokens
