"""The hooks around the self-attention of one layer, and which kind is at work between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.plan import SitePlan
from ..tokens.key_inputs import Match
from .calls import Args, Dialect, Kwargs
from .dictionaries import LayerDictionary
from .fewer_channels import FewerChannels
from .foreign import OwnHook
from .obstacles import ANSWERS
from .replaced_forward import Handle
from .rows import in_place_of
from .weighing import WeightedAttention

PlanFor = Callable[[torch.Tensor, Args, Kwargs], "SitePlan | None"]
"""Called as plan_for(tokens, args, kwargs) with an attn1's arguments: the plan for this call."""

AnyPlan = TypeVar("AnyPlan", bound=SitePlan)


class Layer:
    """A layer with attn1, attn2 and ff, as the kinds of hooks see it.

    `index` is its place among the `count` layers of its site. Calls `applied` whenever something
    was applied. `shared` is what the layers of a site have in common, `dialect` how they are
    called, `dictionary` what its agents saw.
    """

    def __init__(
        self,
        module: Any,
        index: int,
        shared: Shared,
        applied: Callable[[], None],
        dialect: Dialect,
        dictionary: LayerDictionary,
    ):
        self.module = module
        self.dictionary = dictionary
        self.dialect = dialect
        self.index = index
        self.shared = shared
        self.applied = applied
        self.weighted = WeightedAttention(self.module.attn1, dialect)


class Shared:
    """What the layers of a site share in one call: `count` of them, and what is similar."""

    def __init__(self, count: int):
        self.count = count
        self.match: Match | None = None


class Kind(Generic[AnyPlan]):
    """What one kind of plan does around a layer's attn1, from `prepare` to `release`.

    Its own hooks, besides those around attn1, are put on where a plan needs them, for each takes
    time at every call. `answers_itself`: queries do not look at keys, but at what others saw.
    """

    answers_itself = False

    def __init__(self, layer: Layer):
        self.layer = layer
        self.handles: list[Handle] = []

    def prepare(self, plan: AnyPlan) -> None:
        """Called before the site's layers with their plan."""
        raise NotImplementedError

    def begin(self, plan: AnyPlan, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What attn1 gets as tokens and as context, for its `tokens` (batch, tokens, channels)."""
        raise NotImplementedError

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """attn1's answers as (batch, tokens, channels). Called after `begin`."""
        raise NotImplementedError

    def in_place_of(self, keys: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """What some `rows` of the present call have as keys at the places of each row's own, for
        (rows * n, keys, inner).
        """
        return in_place_of(keys, rows)

    def skip(self) -> None:
        """Called in the place of `begin` where a call has to be left as it is."""
        self.layer.weighted.skip()

    def release(self) -> None:
        """Take off what `prepare` has put on."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        self.skip()


class _Call(NamedTuple):
    """A call of attn1 that is under way: its own arguments, and the (batch, tokens) it got."""

    args: Args
    kwargs: Kwargs
    asked: torch.Size


class AttentionHooks:
    """Hooks around a layer's attn1, which hand its calls to the kind that its site's plan has."""

    def __init__(
        self,
        layer: Layer,
        plan_for: PlanFor,
        kinds: dict[type, Callable[[Layer], Kind[Any]]],
        note: Callable[[str], None],
    ):
        """`kinds`: how to make each kind, by the class of its plans. `note` is called with a reason
        where a call that had begun was made as it is after all.
        """
        self._layer = layer
        self._plan_for = plan_for
        self._kinds = kinds
        self._note = note
        attention: nn.Module = layer.module.attn1
        self._fewer_channels = FewerChannels(attention, layer.weighted, note)
        self._made: dict[type, Kind[Any]] = {}
        self._kind: Kind[Any] | None = None
        self._call: _Call | None = None
        self._stands_aside = False

    @property
    def weighted(self) -> WeightedAttention:
        """The layer's attention in which keys have weights."""
        return self._layer.weighted

    @property
    def answers_itself(self) -> bool:
        """See `Kind`."""
        return self._kind is not None and self._kind.answers_itself

    def in_place_of(self, keys: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """See `Kind.in_place_of`."""
        kind = None if self._call is None else self._kind
        return (in_place_of if kind is None else kind.in_place_of)(keys, rows)

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them."""
        attention = self._layer.module.attn1
        return [
            attention.register_forward_pre_hook(OwnHook(self._before), with_kwargs=True),
            # before others look at its answers
            attention.register_forward_hook(OwnHook(self._after), prepend=True),
        ]

    def prepare(self, plan: SitePlan | None) -> None:
        """Called before the site's layers with the plan of the site, None to skip it."""
        kind = None if plan is None else self._kind_of(type(plan))
        if kind is not self._kind:
            self._release_kind()
            self._kind = kind
        share = 1.0
        if kind is not None:
            kind.prepare(plan)
            share = getattr(plan, "score_share", 1.0)
        self._fewer_channels.prepare(share, [] if kind is None else kind.handles)

    def release(self) -> None:
        """Take off what `prepare` has put on, and keep nothing."""
        self._release_kind()
        self._fewer_channels.release()

    def _release_kind(self) -> None:
        if self._kind is not None:
            self._kind.release()
        self._kind = self._call = None

    def _kind_of(self, plan_class: type) -> Kind[Any]:
        if plan_class not in self._made:
            self._made[plan_class] = self._kinds[plan_class](self._layer)
        return self._made[plan_class]

    def _before(
        self, attention: nn.Module, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs] | None:
        self._call = None
        if self._kind is None:
            return None
        tokens = self._layer.dialect.tokens_of(args, kwargs)
        plan = None if self._stands_aside else self._plan_for(tokens, args, kwargs)
        if plan is None:
            self._skip()
            return None
        queries, context = self._kind.begin(plan, tokens)
        self._fewer_channels.begin()
        self._call = _Call(args, kwargs, queries.shape[:2])
        return self._layer.dialect.with_queries(queries, context, args, kwargs)

    def _after(
        self, attention: nn.Module, args: Args, answers: torch.Tensor
    ) -> torch.Tensor | None:
        call, self._call = self._call, None
        if self._kind is None or call is None:
            return None
        if answers.shape[:2] == call.asked:
            return self._kind.end(answers)
        # somebody's `forward` that knows of the tokens from elsewhere
        self._skip()
        self._stands_aside = True
        self._note(ANSWERS)
        plain: torch.Tensor = attention.forward(*call.args, **call.kwargs)
        return plain

    def _skip(self) -> None:
        """A call is left as it is."""
        if self._kind is not None:
            self._kind.skip()
        self._fewer_channels.skip()
