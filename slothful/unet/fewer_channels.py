"""Queries and keys with fewer channels, around a layer's attn1."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..tokens.devices import to_device
from ..tokens.score_channels import best_mixing
from .answering import Answering
from .calls import Args
from .foreign import OwnHook
from .linear_map import LinearMap, Projection
from .obstacles import NOT_LINEAR
from .replaced_forward import Handle
from .weighing import Extend, WeightedAttention, attend


class FewerChannels(Answering):
    """Projects queries and keys straight to fewer channels while `share` is below 1: the part of a
    head's channels in which they are compared, those of the best form of that rank.

    to_q and to_k get a single token, so that what their hosts do to them still happens (LoRA is
    applied there), and what goes into them is projected here. The best form is made from the maps
    that they are, once for all ranks, and made anew when they change.
    """

    def __init__(
        self, attention: nn.Module, weighted: WeightedAttention, note: Callable[[str], None]
    ):
        """`weighted`: who would answer in calls in which keys weigh differently. `note` is called
        with a reason where all channels are compared after all.
        """
        super().__init__(attention)
        self._note = note
        self._active = False
        self.share = 1.0
        self._weighted = weighted
        self._log_weights: torch.Tensor | None = None
        self._extend: Extend | None = None
        self._inputs: dict[str, torch.Tensor] = {}
        self._ones: dict[str, torch.Tensor] = {}
        self._maps = {name: Projection(getattr(attention, name)) for name in ("to_q", "to_k")}
        self._handles: list[RemovableHandle] = []
        self._after: list[Handle] | None = None
        self._factors: dict[str, LinearMap] | None = None
        self._few: dict[str, LinearMap] = {}
        self._rank = 0

    def prepare(self, share: float, others: list[Handle]) -> None:
        """Have hooks on the projections where a plan needs them: `share` of the channels. `others`
        are the hooks of whatever else changes what is projected; ours come behind them.
        """
        self.share = share
        if share == 1:
            self._remove()
        elif others is not self._after:
            self._remove()
            self._after = others
            self._handles = self._own_hooks() + self.register()

    def release(self) -> None:
        """Take the hooks off, and let go of what was made from the weights."""
        self._remove()
        self.skip()
        self._factors, self._few, self._rank = None, {}, 0

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._after = [], None

    def begin(self) -> None:
        """attn1 is called."""
        self.skip()
        if self.share < 1:
            self._active = True
            self._log_weights, self._weighted.log_weights = self._weighted.log_weights, None
            self._extend, self._weighted.extend = self._weighted.extend, None

    def skip(self) -> None:
        """A call is left as it is."""
        self._active = False
        self._log_weights = self._extend = None
        for each in (self._inputs, self._ones, self.projected):
            each.clear()

    def _own_hooks(self) -> list[RemovableHandle]:
        """Around the projections of queries and keys, inside all others."""
        handles = []
        for name in ("to_q", "to_k"):
            projection = getattr(self.attention, name)
            before = OwnHook(functools.partial(self._before, name))
            after = OwnHook(functools.partial(self._instead, name))
            handles.append(projection.register_forward_pre_hook(before))
            handles.append(projection.register_forward_hook(after, prepend=True))
        return handles

    def _before(self, name: str, projection: nn.Module, args: Args) -> Args | None:
        """Keep what is to be projected, and give a token of it."""
        if not self._active:
            return None
        self._inputs[name] = args[0]
        return (args[0][:, :1], *args[1:])

    def _instead(
        self, name: str, projection: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        """What the projection would have given, with fewer channels; of queries, only the shape."""
        if name not in self._inputs:
            return None
        self._ones[name] = projected
        tokens = self._inputs[name]
        if name == "to_q":  # which changes are made to the keys' weights is not known yet
            return projected.expand(-1, tokens.shape[1], -1)
        self._follow_weights(tokens, projected)
        return self._project(name)

    def _follow_weights(self, tokens: torch.Tensor, projected: torch.Tensor) -> None:
        """Make the factors anew where a projection has changed."""
        changed = [each.has_changed(tokens) for each in self._maps.values()]
        if self._factors is None or any(changed):
            self._factors, self._rank = self._made(tokens, projected.dtype), 0
        rank = max(round(self.share * projected.shape[-1] / self.attention.heads), 1)
        if rank != self._rank:
            self._rank = rank
            self._few = {name: _first(each, rank) for name, each in self._factors.items()}

    def _made(self, tokens: torch.Tensor, dtype: torch.dtype) -> dict[str, LinearMap]:
        """The maps of queries and keys to all channels of the best form, head by head; none where
        what the projections do is not linear.
        """
        maps = [each.read(tokens) for each in self._maps.values()]
        if any(each is None for each in maps):
            self._note(NOT_LINEAR)
            return {}
        heads = self.attention.heads
        query, key = (_heads_of(each, heads) for each in maps if each is not None)
        mixing = best_mixing(query.weight.mT, key.weight.mT)
        mixed = zip(self._maps, mixing, (query, key))
        return {
            name: LinearMap(*(to_device(mix @ part, tokens.device, dtype) for part in each))
            for name, mix, each in mixed
        }

    def _project(self, name: str) -> torch.Tensor:
        tokens, few = self._inputs.pop(name), self._few.get(name)
        if few is None:
            whole: torch.Tensor = getattr(self.attention, name).forward(tokens)
            return whole
        return F.linear(tokens.to(few.weight.dtype), *few)

    def wants(self, name: str, projected: torch.Tensor) -> bool:
        """See `Answering`; not where a replaced `forward` has keys of its own."""
        weights = self._log_weights
        if weights is not None and name != "to_q" and projected.shape[1] != weights.shape[-1]:
            self._log_weights = None
        return self._active

    def one_token(self, name: str, projected: torch.Tensor) -> torch.Tensor:
        """See `Answering`."""
        one = self._ones.pop(name, projected)[:1, :1]
        return one.expand(len(projected), -1, -1)

    def answer(self) -> torch.Tensor:
        """See `Answering`."""
        self.projected["to_q"] = self._project("to_q")
        query, key, value = (self.heads_of(name) for name in ("to_q", "to_k", "to_v"))
        # torch's fast kernels ask for as many channels as values have: without them, attention on
        # a CPU takes 2 to 4 times as long
        query, key = (F.pad(each, (0, value.shape[-1] - each.shape[-1])) for each in (query, key))
        log_weights, self._log_weights = self._log_weights, None
        return attend(query, key, value, log_weights, self._extend)


def _heads_of(whole: LinearMap, heads: int) -> LinearMap:
    """Of each head: weight (heads, d, channels) and bias (heads, d, 1)."""
    weight, bias = (part.unflatten(0, (heads, -1)) for part in whole)
    return LinearMap(weight, bias[..., None])


def _first(whole: LinearMap, rank: int) -> LinearMap:
    """The first channels of each head, as a projection: (heads * rank, channels) and its bias."""
    return LinearMap(whole.weight[:, :rank].flatten(0, 1), whole.bias[:, :rank].flatten())
