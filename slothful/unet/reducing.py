"""Reduction of keys and values and tiling of queries, around a layer's attn1."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn

from ..planning.plan import Reduce
from ..tokens.group_means import Groups
from ..tokens.key_inputs import Match, key_inputs, match_tokens
from ..tokens.layout import Layout, plan_layout
from ..tokens.moving import deal_keys, join_answers, split_queries
from .attention_hooks import Kind, Layer
from .calls import Args
from .foreign import OwnHook


class Needs(NamedTuple):
    """What a plan needs done around the projections."""

    deals: bool
    separates: bool
    weighs: bool
    stands_in: bool  # for the attention's `forward`, which then need not be called
    watches: bool  # what a replaced `forward` takes as queries


class Call(NamedTuple):
    """One call of attn1: its plan and layout, the groups whose means are keys and values, and the
    (batch, tokens) that it is given as queries and to project. `beside`: what to_k and to_v get,
    where that is not in the context.
    """

    plan: Reduce
    layout: Layout
    groups: Groups | None
    asked: torch.Size
    given: torch.Size
    beside: tuple[torch.Tensor, torch.Tensor] | None


class Reducing(Kind[Reduce]):
    """Gives attn1 the query windows and the tokens that become keys, and joins its answers."""

    def __init__(self, layer: Layer):
        super().__init__(layer)
        self._needs: Needs | None = None
        self._call: Call | None = None

    def prepare(self, plan: Reduce) -> None:
        """Have those hooks on the projections that a plan needs."""
        self.layer.shared.match = None
        attention, weighted = self.layer.module.attn1, self.layer.weighted
        deals, stands_in = plan.tiling is not None, plan.merges and weighted.may_stand_in
        watches = deals and weighted.is_replaced
        separates = plan.separate_kv or self._beside_context(plan)
        needs = Needs(deals, separates, plan.merges, stands_in, watches)
        if needs == self._needs and weighted.stands_in == stands_in:
            return
        self.release()
        self._needs = needs
        if watches:
            after = OwnHook(self._after_queries)
            self.handles.append(attention.to_q.register_forward_hook(after))
        for part, projection in enumerate((attention.to_k, attention.to_v)):
            if needs.separates:
                before = OwnHook(functools.partial(self._before_projection, part))
                self.handles.append(projection.register_forward_pre_hook(before))
            if needs.deals:
                after = OwnHook(self._after_projection)
                self.handles.append(projection.register_forward_hook(after))
        if needs.stands_in:
            self.handles.append(weighted.stand_in())
        elif needs.weighs:
            self.handles += weighted.register()

    def release(self) -> None:
        """Take them off."""
        super().release()
        self._needs = None

    def begin(self, plan: Reduce, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch * W, T, channels) and (batch, M, channels) for W windows; the former twice where
        the host counts rows by the context, for with fewer of them it would take windows for one.

        Where keys and values come from different tokens, the context is both, one after the
        other, and each projection takes its half: so a hypernetwork, which sits between, sees
        the tokens that are projected and nothing else.
        """
        layout = plan_layout(plan, tokens.device)
        tokens = _as_projected(tokens, self.layer.module.attn1.to_q)
        # where autocast would turn single precision to half and back at every other step
        with torch.autocast(tokens.device.type, enabled=False) if tokens.is_cuda else nullcontext():
            queries = split_queries(tokens, layout, plan)
            match = self._match(tokens, queries, layout, plan) if plan.merges else None
            inputs = key_inputs(tokens, queries, layout, plan, match)
        beside = (inputs.keys, inputs.values) if self._beside_context(plan) else None
        given = inputs.keys.shape[:2]
        self._call = Call(plan, layout, inputs.groups, queries.shape[:2], given, beside)
        if beside is not None:
            context = queries
        elif plan.separate_kv:
            context = torch.cat([inputs.keys, inputs.values], dim=1)
        else:
            context = inputs.keys
        self.layer.weighted.begin(inputs.log_weights, queries, context)
        return queries, context

    def _beside_context(self, plan: Reduce) -> bool:
        """Whether to_k and to_v get their tokens from here, whatever the context is."""
        return plan.tiling is not None and self.layer.dialect.rows_from_context

    def _match(
        self, tokens: torch.Tensor, queries: torch.Tensor, layout: Layout, plan: Reduce
    ) -> Match:
        """What is similar, found by the first layer of the site: tokens change little on the way
        from one to the next.
        """
        shared = self.layer.shared
        match = shared.match
        if match is None or len(match.log_weights) != len(queries):
            match = match_tokens(tokens, queries, layout, plan)
        # the last one frees its memory
        shared.match = match if self.layer.index + 1 < shared.count else None
        return match

    def skip(self) -> None:
        """Leave the projections as they are, too."""
        super().skip()
        self._call = None

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """The answers in the order of the grid: (batch, tokens, channels)."""
        call, self._call = self._call, None
        assert call is not None
        self.layer.applied()
        self.layer.weighted.end()
        return join_answers(answers, call.layout, call.plan)

    def _after_queries(
        self, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        """Deal nothing to windows whose queries are not the ones that were given."""
        call = self._call
        if call is not None and projected.shape[:2] != call.asked:
            self._call = call._replace(given=torch.Size((0, 0)))
        return None

    def _before_projection(self, part: int, projection: nn.Module, args: Args) -> Args | None:
        """Give to_k (part 0) and to_v (part 1) their tokens, or their half of the context. Nothing
        where a replaced `forward` projects tokens of its own.
        """
        call = self._call
        if call is None or not call.given.numel():
            return None
        if call.beside is not None:
            return (call.beside[part], *args[1:]) if args[0].shape[:2] == call.asked else None
        if args[0].shape[1] != 2 * call.given[1]:
            return None
        return (args[0].chunk(2, dim=1)[part], *args[1:])

    def _after_projection(
        self, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        """Deal the projected tokens to the windows."""
        call = self._call
        if call is None or projected.shape[:2] != call.given:
            return None
        shared = None if call.groups is None else call.groups.means(projected)
        return deal_keys(projected, call.layout, call.plan, shared)


def _as_projected(tokens: torch.Tensor, projection: nn.Module) -> torch.Tensor:
    """The tokens in half precision where CUDA's autocast would have each projection cast them."""
    if not (tokens.is_cuda and torch.is_autocast_enabled()):
        return tokens
    dtype = getattr(getattr(projection, "weight", None), "dtype", None)
    return tokens.to(dtype) if dtype in (torch.float16, torch.bfloat16) else tokens
