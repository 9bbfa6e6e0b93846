"""Keys mixed between the two halves of a batch, in self-attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.mixing import doubles_keys, mixed_amount, mixes
from ..planning.moment import Moment
from ..planning.plan import Reduce
from ..planning.site import Grid, Site
from ..settings.methods import REPEL
from ..settings.settings import Settings
from .attention_hooks import AttentionHooks
from .calls import Args, Kwargs
from .foreign import OwnHook
from .known_rows import KnownRows
from .obstacles import AGENTS_LOOK, ONE_HALF, OTHER_TOKENS, Obstacles, YieldsTo
from .rows import in_place_of
from .site_hooks import SiteHooks
from .sites import SiteModules
from .weighing import WeightedAttention


class Sides(NamedTuple):
    """Of each row of a call the place of a `partner` of the other side, and whether it is
    `positive`.
    """

    partners: Sequence[int]
    positive: Sequence[bool]


class Mixing:
    """The settings' mixing on a U-Net. `reasons` collects why it was left out of whole calls,
    `doubled` are the sites whose queries saw the other side's keys as well in the present call.
    """

    def __init__(
        self,
        settings: Settings,
        known: KnownRows,
        yields_to: YieldsTo,
        applied: Callable[[str], None],
        note: Callable[[str, str], None],
    ):
        """`applied` is called with a site's name where keys were mixed, `note` with the name and a
        reason where they could not be.
        """
        self.settings, self._known, self._yields_to = settings, known, yields_to
        self._applied, self.note = applied, note
        self._sites: list[_MixedSite] = []
        self._handles: list[RemovableHandle] = []
        self.sides: Sides | None = None
        self.moment: Moment | None = None
        self.reasons: dict[str, None] = {}
        self.doubled: set[str] = set()
        self.is_idle = not mixes(settings)

    def follow(
        self, found: Sequence[SiteModules], hooks: Mapping[str, Sequence[SiteHooks]]
    ) -> None:
        """Move to a U-Net whose sites are `found`; `hooks` are those of the method at some."""
        self._sites = []
        for modules in [] if self.is_idle else found:
            own = [each for each in hooks.get(modules.site.name, ()) if each.modules is modules]
            self._sites.append(_MixedSite(modules, self, own[0] if own else None, self._yields_to))
        self._handles = [handle for site in self._sites for handle in site.register()]

    def leave(self) -> None:
        """Let go of the U-Net."""
        self.end_call()
        for handle in self._handles:
            handle.remove()
        for site in self._sites:
            site.release()
        self._handles, self._sites = [], []

    def begin_call(self, moment: Moment, all_rows: bool) -> None:
        """A call at a moment; `all_rows`: both sides are computed in it, by settings at work."""
        self.end_call()
        if self.is_idle or not all_rows:
            return
        if all(not mixed_amount(self.settings, moment, each.site) for each in self._sites):
            return
        partners = None if self._known.doubt is not None else self._known.partners()
        if partners is None:
            self.reasons.setdefault(self._known.doubt or ONE_HALF)
            return
        positive = [not row.negative for row in self._known.rows]
        self.moment, self.sides = moment, Sides(partners, positive)

    def end_call(self) -> None:
        """The call is over, or failed."""
        self.sides = self.moment = None
        self.doubled = set()

    def amount_at(self, site: Site) -> float:
        """How much a site mixes in the present call."""
        return 0.0 if self.moment is None else mixed_amount(self.settings, self.moment, site)

    def mixed(self, site: Site) -> None:
        """Keys were mixed at a site."""
        self._applied(site.name)
        if doubles_keys(self.settings):
            self.doubled.add(site.name)


class _MixedSite:
    """Hooks around the self-attentions of one site."""

    def __init__(
        self, modules: SiteModules, owner: Mixing, hooks: SiteHooks | None, yields_to: YieldsTo
    ):
        self.site = modules.site
        self._modules = modules
        self.grid: Grid = (0, 0)  # (height, width) of the tokens of the present call
        own: Sequence[AttentionHooks | None] = (
            [None] * len(modules.layers) if hooks is None else hooks.attentions
        )
        self._layers = [
            _MixedLayer(layer, self, owner, Obstacles(layer, yields_to, modules.dialect), each)
            for layer, each in zip(modules.layers, own)
        ]

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them, and `release` what they have put on since."""
        before = OwnHook(self._before)
        transformer = self._modules.transformer
        handles = [transformer.register_forward_pre_hook(before, with_kwargs=True)]
        return handles + [handle for layer in self._layers for handle in layer.register()]

    def release(self) -> None:
        """Take off what was put on for a call."""
        for layer in self._layers:
            layer.release()

    def _before(self, transformer: nn.Module, args: Args, kwargs: Kwargs) -> None:
        self.grid = self._modules.grid_in(args, kwargs)


class _MixedLayer:
    """Hooks around one attn1 and its `to_k`: where keys are pushed, before whatever a method does
    with them; where the other side's are seen as well, in the attention with weights.
    """

    def __init__(
        self,
        layer: Any,
        site: _MixedSite,
        owner: Mixing,
        obstacles: Obstacles,
        method: AttentionHooks | None,
    ):
        self._attention = layer.attn1
        self._site, self._owner, self._obstacles, self._method = site, owner, obstacles, method
        if method is None:
            self._weighted = WeightedAttention(layer.attn1, obstacles.dialect)
        else:
            self._weighted = method.weighted
        self._handles: list[RemovableHandle] = []
        self._sides: Sides | None = None  # in this call of attn1
        self._amount = 0.0

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on, before those of a method; the handles remove them."""
        attention = self._attention
        before, after = OwnHook(self._before), OwnHook(self._after)
        handles = [
            attention.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
            attention.register_forward_hook(after),
        ]
        if not doubles_keys(self._owner.settings):
            pushed = OwnHook(self._after_keys)
            handles.append(attention.to_k.register_forward_hook(pushed, prepend=True))
        return handles

    def release(self) -> None:
        """Take off what was put on for a call."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._sides = [], None
        self._weighted.extend = None

    def _before(self, attention: nn.Module, args: Args, kwargs: Kwargs) -> None:
        self.release()
        sides, self._amount = self._owner.sides, self._owner.amount_at(self._site.site)
        if sides is None or self._amount == 0:
            return
        tokens = self._obstacles.dialect.tokens_of(args, kwargs)
        plain = Reduce(self._site.grid, 1.0)
        reason = self._obstacles.reason(plain, tokens, args, kwargs)
        if len(tokens) != len(sides.partners):
            reason = reason or OTHER_TOKENS
        doubles = doubles_keys(self._owner.settings)
        if doubles and self._method is not None and self._method.answers_itself:
            reason = reason or AGENTS_LOOK
        if reason is not None:
            self._owner.note(self._site.site.name, reason)
            return
        self._sides = sides
        if doubles:
            self._weighted.extend = functools.partial(self._extended, sides)
            # behind what the method's hooks do to keys and values
            self._handles = [] if self._weighted.is_on else self._weighted.register()

    def _after(self, attention: nn.Module, args: Args, answers: torch.Tensor) -> None:
        self.release()

    def _after_keys(
        self, projection: nn.Module, args: Args, keys: torch.Tensor
    ) -> torch.Tensor | None:
        """K+ + m (K+ - K-) for the rows of the prompt."""
        sides = self._sides
        if sides is None or len(keys) % len(sides.partners):
            return None
        self._owner.mixed(self._site.site)
        pushed = torch.lerp(self._others(keys, sides), keys, 1.0 + self._amount)
        both = zip(*(each.chunk(len(sides.positive)) for each in (keys, pushed)))
        return torch.cat([pair[positive] for pair, positive in zip(both, sides.positive)])

    def _extended(
        self,
        sides: Sides,
        key: torch.Tensor,
        value: torch.Tensor,
        log_weights: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The keys (batch, heads, keys, channels) of both sides, the values of one's own."""
        self._owner.mixed(self._site.site)
        flat = key.transpose(1, 2).flatten(2)
        others = self._others(flat, sides).view(len(key), key.shape[2], key.shape[1], -1)
        own = key.new_zeros(len(key), key.shape[2]) if log_weights is None else log_weights
        sign = -1.0 if self._owner.settings.mix == REPEL else 1.0
        return (
            torch.cat([key, others.transpose(1, 2)], dim=2),
            torch.cat([value, sign * value], dim=2),
            torch.cat([own, own + math.log(self._amount)], dim=1),
        )

    def _others(self, keys: torch.Tensor, sides: Sides) -> torch.Tensor:
        """The other side's keys at the places of one's own, for (rows * n, keys, inner)."""
        take = in_place_of if self._method is None else self._method.in_place_of
        return take(keys, sides.partners)
