"""Why a block has to be skipped in a call, although something is planned for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..planning.plan import Merge, SitePlan
from ..planning.site import Grid
from .calls import Args, Dialect, Kwargs
from .foreign import (
    CROSS_CHANGED,
    HOOKED,
    MLP_CHANGED,
    UNET_HOOKED,
    UNET_REPLACED,
    Watch,
)

KEYS = "another extension supplies its keys"
VALUES = "another extension supplies its values"
MASK = "it was called with an attention mask"
MASK_OR_VALUES = "it was called with a mask or with separate values"
FRAMES = "it was called with tokens from other frames"
ANSWERS = "another extension's self-attention returns a different number of tokens"
TENSOR = "it was called with another tensor in addition to its tokens"
PROCESSOR = "its attention is computed in a way of its own, e.g. with fused projections"
MERGED = "its tokens are already merged, e.g. by built-in token merging"
REPEATED = "another extension computes it more than once per step"
NOT_LINEAR = "its queries and keys are not projected linearly, so all channels are compared"

UNKNOWN_ROWS = "it is not known which rows are positive and which negative"
OTHER_ROWS = "the rows are not those that were expected"
APART = "prompt and negative prompt are computed in separate calls"
MORE_ROWS = "it was called with a tensor whose rows are not known"
NO_NEGATIVE = "the negative prompt is not known"
OTHER_TOKENS = "cross-attention was called with other rows than the U-Net"
AGENTS_LOOK = "agents look at its keys, and keys of the other side cannot be added"
ONE_HALF = "only one of the two sides is in the batch"

YieldsTo = Callable[[nn.Module, Grid], "str | None"]
"""Asked with an attention and the (height, width) of its tokens: a reason where another extension
is at work there already, None where there is none.
"""

NOTES = (
    *(KEYS, VALUES, MASK, MASK_OR_VALUES, FRAMES, TENSOR, PROCESSOR, MERGED, ANSWERS),
    *(HOOKED, CROSS_CHANGED, MLP_CHANGED, REPEATED, NOT_LINEAR),
    *(UNKNOWN_ROWS, OTHER_ROWS, APART, MORE_ROWS, UNET_REPLACED, UNET_HOOKED),
    *(NO_NEGATIVE, OTHER_TOKENS, ONE_HALF, AGENTS_LOOK),
)
"""All of them, but for what `yields_to` answers."""


class Obstacles:
    """What speaks against a plan in one block with attn1, attn2 and ff."""

    def __init__(self, layer: nn.Module, yields_to: YieldsTo, dialect: Dialect):
        """`yields_to` is asked for the block's attn1, last."""
        parts: Any = layer
        self.dialect = dialect
        self._attention = attention = parts.attn1
        self._yields_to = yields_to
        self._own = Watch(attention.modules(), may_replace=[attention])
        self._cross = Watch(() if parts.attn2 is None else parts.attn2.modules())
        self._mlp = Watch(parts.ff.modules())

    def reason(
        self, plan: SitePlan, tokens: torch.Tensor, args: Args, kwargs: Kwargs
    ) -> str | None:
        """Why attn1, called with `args` and `kwargs`, must be skipped; None if nothing speaks
        against the plan. `tokens`: (batch, tokens, channels), what it got as x.
        """
        reason = _in_arguments(self.dialect, tokens, args, kwargs)
        if reason == KEYS and tokens.shape[1] < plan.tokens:
            keys = self.dialect.context_of(args, kwargs)
            return MERGED if _count_of(keys) == plan.tokens else KEYS  # where queries alone are
        if reason is not None:
            return reason
        if not self.dialect.is_plain(self._attention):
            return PROCESSOR
        if tokens.shape[1] != plan.tokens:
            return MERGED
        if self._own.found():
            return HOOKED
        if isinstance(plan, Merge):
            if plan.cross and (self._cross.found() or self.dialect.has_regions(kwargs)):
                return CROSS_CHANGED
            if plan.mlp and self._mlp.found():
                return MLP_CHANGED
        return self._yields_to(self._attention, plan.grid)


def _in_arguments(dialect: Dialect, tokens: torch.Tensor, args: Args, kwargs: Kwargs) -> str | None:
    """What an attn1 got besides its own tokens. Some hosts call it as (x, context, mask),
    some as (x, context, value, mask, transformer_options), all but x mostly by name.
    """
    context = dialect.context_of(args, kwargs)
    if context is not None and context is not tokens:
        return KEYS
    value = kwargs.get(dialect.value)
    if value is not None and value is not tokens:
        return VALUES
    if kwargs.get(dialect.mask) is not None:
        return MASK
    if dialect.has_frames(kwargs):
        return FRAMES
    if any(not _is_harmless(each, tokens) for each in args[2:]):
        return MASK_OR_VALUES
    return TENSOR if _holds_tensor(dialect.others_of(kwargs)) else None


def _count_of(context: Any) -> int | None:
    """How many tokens there are in a context, if it is made of tokens."""
    is_tokens = isinstance(context, torch.Tensor) and context.dim() == 3
    return context.shape[1] if is_tokens else None


def _is_harmless(argument: Any, tokens: torch.Tensor) -> bool:
    """Whether an argument by position is none, or options, or the tokens themselves as values."""
    return argument is tokens or isinstance(argument, Mapping) or not _is_given(argument)


def _is_given(argument: Any) -> bool:
    return isinstance(argument, torch.Tensor) or bool(argument)


def _holds_tensor(arguments: Iterable[Any]) -> bool:
    """Whether any is a tensor with more than one number, or a sequence with such a tensor."""
    for each in arguments:
        if isinstance(each, torch.Tensor) and each.numel() > 1:
            return True
        if isinstance(each, (list, tuple)) and _holds_tensor(each):
            return True
    return False
