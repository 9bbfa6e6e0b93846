"""The negative prompt in the cross-attention of rows that are for the prompt."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..settings.methods import VSF
from ..settings.settings import Settings
from ..tokens.guidance import guided
from .answering import in_heads
from .calls import Args, Dialect, Kwargs
from .foreign import CROSS_CHANGED, OwnHook, Watch
from .obstacles import MASK, OTHER_TOKENS
from .rows import rows_of
from .sites import SiteModules, cross_attentions


@dataclasses.dataclass(frozen=True)
class NegativePrompts:
    """The negative prompts of a call's rows: `texts` (prompts, tokens, channels), and for each row
    the `places` of its own among them. Equal `key`s are equal texts.
    """

    texts: torch.Tensor
    places: Sequence[int]
    key: tuple[Any, ...]


class InAttention:
    """All cross-attentions of a U-Net, in which negative prompts act while `prompts` are set."""

    def __init__(self, settings: Settings, note: Callable[[str], None]):
        """`note` is called with a reason where a cross-attention could not take part."""
        self.settings, self.note = settings, note
        self.prompts: NegativePrompts | None = None
        self._crosses: list[_Cross] = []
        self._handles: list[RemovableHandle] = []
        self._watch = Watch(())
        self._dialect: Dialect | None = None

    def follow(self, found: Sequence[SiteModules]) -> None:
        """Move to a U-Net whose sites are `found`."""
        crosses = cross_attentions(found)
        self._dialect = found[0].dialect
        self._watch = Watch(module for cross in crosses for module in cross.modules())
        self._crosses = [_Cross(cross, self._dialect, self) for cross in crosses]
        self._handles = [handle for cross in self._crosses for handle in cross.register()]

    def leave(self) -> None:
        """Let go of the U-Net."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._crosses, self._watch, self.prompts = [], [], Watch(()), None

    def forget(self) -> None:
        """A new pass, in which prompts may be projected by other weights."""
        self.prompts = None
        for cross in self._crosses:
            cross.forget()

    def obstacle(self, kwargs: Kwargs) -> str | None:
        """Why a call of the U-Net with these arguments has to be left as it is."""
        assert self._dialect is not None
        if any(kwargs.get(name) is not None for name in _masks_of(self._dialect)):
            return MASK
        plain = all(self._dialect.is_plain(cross.attention) for cross in self._crosses)
        if not plain or self._watch.found() or any(_patches(kwargs)):
            return CROSS_CHANGED
        return None


def _masks_of(dialect: Dialect) -> tuple[str, str]:
    return dialect.mask, f"encoder_{dialect.mask}"


def _patches(kwargs: Kwargs) -> Iterable[str]:
    """What others do around cross-attention, by the options of hosts that have such."""
    options = kwargs.get("transformer_options")
    if isinstance(options, Mapping):
        for name in ("patches", "patches_replace"):
            patches = options.get(name) or {}
            yield from (each for each in patches if each.startswith("attn2") and patches[each])


class _Cross:
    """Hooks on one cross-attention. What its `to_k` and `to_v` make of a negative prompt is kept.

    The attention is computed by whatever optimization is active: NAG changes its answers before
    they enter `to_out`, VSF gives it more keys and values.
    """

    def __init__(self, attention: Any, dialect: Dialect, owner: InAttention):
        self.attention = attention
        self._dialect, self._owner = dialect, owner
        self._kept: tuple[tuple[Any, ...], dict[str, torch.Tensor]] | None = None
        self._projecting: dict[str, torch.Tensor] | None = None
        self._places: Sequence[int] = ()  # of the present call's prompts; empty: it is left alone
        self._queries: torch.Tensor | None = None

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them."""
        attention = self.attention
        handles = [
            attention.register_forward_pre_hook(OwnHook(self._before), with_kwargs=True),
            attention.to_q.register_forward_hook(OwnHook(self._after_queries)),
            attention.to_out[0].register_forward_pre_hook(OwnHook(self._before_output)),
        ]
        for name in ("to_k", "to_v"):
            after = OwnHook(functools.partial(self._after_projection, name))
            handles.append(getattr(attention, name).register_forward_hook(after))
        return handles

    def forget(self) -> None:
        """Keep nothing."""
        self._kept = self._queries = None
        self._places = ()

    def _before(self, attention: nn.Module, args: Args, kwargs: Kwargs) -> None:
        prompts = self._owner.prompts
        self._queries, self._places = None, ()
        if prompts is None:
            return
        tokens = self._dialect.tokens_of(args, kwargs)
        if len(tokens) != len(prompts.places):
            self._owner.note(OTHER_TOKENS)
            return
        if self._kept is None or self._kept[0] != prompts.key:
            self._kept = prompts.key, self._projected(prompts.texts, tokens, args, kwargs)
        self._places = prompts.places

    def _projected(
        self, texts: torch.Tensor, tokens: torch.Tensor, args: Args, kwargs: Kwargs
    ) -> dict[str, torch.Tensor]:
        """Keys and values of the texts, by the attention itself with a single query: so what sits
        between, as a hypernetwork, acts on them as on the prompt's.
        """
        query = tokens[:1, :1].expand(len(texts), -1, -1)
        args, kwargs = self._dialect.with_queries(query, texts.to(tokens), args, kwargs)
        self._projecting = {}
        try:
            self.attention.forward(*args, **kwargs)
            return self._projecting
        finally:
            self._projecting = None

    def _after_queries(self, layer: nn.Module, args: Args, queries: torch.Tensor) -> None:
        if self._places and self._owner.settings.negative_form != VSF:
            self._queries = queries

    def _after_projection(
        self, name: str, layer: nn.Module, args: Args, projected: torch.Tensor
    ) -> torch.Tensor | None:
        if self._projecting is not None:
            self._projecting[name] = projected
            return None
        settings = self._owner.settings
        if not self._places or settings.negative_form != VSF:
            return None
        more = self._of_rows(name).to(projected.dtype)
        if name == "to_v":
            more = more * -settings.negative_strength
        return torch.cat([projected, more], dim=1)

    def _before_output(self, layer: nn.Module, args: Args) -> Args | None:
        queries, self._queries = self._queries, None
        if queries is None:
            return None
        positive, settings = args[0], self._owner.settings
        heads = self.attention.heads
        key, value = (in_heads(self._of_rows(name), heads) for name in ("to_k", "to_v"))
        answers = F.scaled_dot_product_attention(in_heads(queries, heads), key, value)
        negative = answers.transpose(1, 2).flatten(2)
        values = settings.negative_scale, settings.negative_tau, settings.negative_alpha
        return (guided(positive, negative.to(positive.dtype), *values), *args[1:])

    def _of_rows(self, name: str) -> torch.Tensor:
        """What was kept, for each row of the call: (rows, tokens, inner)."""
        assert self._kept is not None
        return rows_of(self._kept[1][name], self._places)
