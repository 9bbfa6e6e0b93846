"""Agent attention around a layer's attn1."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import nn

from ..planning.plan import Agents
from ..tokens.agents import asked_of, pooled_queries, seen_by
from ..tokens.group_means import Groups
from ..tokens.key_inputs import match_tokens
from ..tokens.layout import plan_layout
from .answering import Answering
from .attention_hooks import Kind, Layer
from .calls import Args
from .dictionaries import LayerDictionary
from .foreign import OwnHook


class Call(NamedTuple):
    """One call of attn1: its plan, which queries are pooled where they merge, and what the agents
    saw earlier, None where they look now.
    """

    plan: Agents
    groups: Groups | None
    seen: torch.Tensor | None


class AgentAnswers(Answering):
    """Answers for agents while there is a `call`."""

    def __init__(self, attention: nn.Module, dictionary: LayerDictionary):
        super().__init__(attention)
        self.call: Call | None = None
        self._dictionary = dictionary

    def wants(self, name: str, projected: torch.Tensor) -> bool:
        """See `Answering`."""
        return self.call is not None

    def answer(self) -> torch.Tensor:
        """See `Answering`."""
        call, self.call = self.call, None
        assert call is not None
        seen = self._seen(call) if call.seen is None else call.seen
        answers = asked_of(self.heads_of("to_q"), seen)
        if call.plan.shortcut:
            answers = answers.add(self.heads_of("to_v"), alpha=call.plan.shortcut)
        return answers

    def _seen(self, call: Call) -> torch.Tensor:
        """What the agents see now."""
        reduction = call.plan.pool.reduction
        assert reduction is not None
        agents = self.in_heads(pooled_queries(self.projected["to_q"], reduction, call.groups))
        seen = seen_by(agents, *(self.in_heads(self.projected[name]) for name in ("to_k", "to_v")))
        self._dictionary.keep(seen)
        return seen


class AgentHooks(Kind[Agents]):
    """Lets agents answer; where they repeat what they saw, no keys are made."""

    answers_itself = True

    def __init__(self, layer: Layer):
        super().__init__(layer)
        self._answers = AgentAnswers(layer.module.attn1, layer.dictionary)
        self._repeats: bool | None = None

    def prepare(self, plan: Agents) -> None:
        """Have those hooks on the projections that a plan needs."""
        self.layer.shared.match = None
        repeats = plan.since is not None
        if repeats == self._repeats:
            return
        self.release()
        self._repeats = repeats
        attention = self.layer.module.attn1
        for name in ("to_k", "to_v") if repeats else ():
            before = OwnHook(functools.partial(self._before_projection, name))
            self.handles.append(getattr(attention, name).register_forward_pre_hook(before))
        self.handles += self._answers.register()

    def release(self) -> None:
        """Take them off."""
        super().release()
        self._repeats = None

    def begin(self, plan: Agents, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens as they are, twice."""
        seen, groups = None, None
        if plan.since is not None:
            seen = self.layer.dictionary.given(plan.since, len(tokens))
        if seen is None and plan.pool.merges:
            groups = self._groups(plan, tokens)
        self._answers.call = Call(plan, groups, seen)
        return tokens, tokens

    def _groups(self, plan: Agents, tokens: torch.Tensor) -> Groups | None:
        """Which queries are similar, found by the first layer of the site for all of them."""
        shared = self.layer.shared
        match = shared.match
        if match is None or len(match.log_weights) != len(tokens):
            layout = plan_layout(plan.pool, tokens.device)
            match = match_tokens(tokens, tokens, layout, plan.pool, weighed=False)
        shared.match = match if self.layer.index + 1 < shared.count else None
        return match.own

    def skip(self) -> None:
        """See `Kind`."""
        super().skip()
        self._answers.call = None
        self._answers.projected.clear()

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """The answers as they are."""
        self.layer.applied()
        return answers

    def _before_projection(self, name: str, projection: nn.Module, args: Args) -> Args | None:
        """A single token, where nobody looks at the rest."""
        call = self._answers.call
        if call is None or call.seen is None or (name == "to_v" and call.plan.shortcut):
            return None
        return (args[0][:, :1], *args[1:])
