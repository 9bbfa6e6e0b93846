"""Token merging around the parts of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..planning.plan import Merge
from ..tokens.token_merging import TokenMatch
from .attention_hooks import Kind, Layer
from .calls import Args, Kwargs
from .foreign import OwnHook


class Merging(Kind[Merge]):
    """Tokens are matched by the layer's input, merged before a part of it and spread again after.

    Nothing is merged in the whole layer where its self-attention has to be skipped.
    """

    def __init__(self, layer: Layer):
        super().__init__(layer)
        self._parts: tuple[bool, bool, bool] | None = None
        self._input: torch.Tensor | None = None
        self._plan: Merge | None = None
        self._match: TokenMatch | None = None

    def prepare(self, plan: Merge) -> None:
        """Have hooks on the layer and on those of its parts before which tokens merge."""
        parts = plan.attention and plan.proportional, plan.cross, plan.mlp
        if parts == self._parts:
            return
        self.release()
        self._parts = parts
        layer, handles = self.layer.module, self.handles
        before_layer, after_layer = OwnHook(self._before_layer), OwnHook(self._after_layer)
        handles.append(layer.register_forward_pre_hook(before_layer, with_kwargs=True))
        handles.append(layer.register_forward_hook(after_layer))
        weighs, cross, mlp = parts
        if weighs:
            handles += self.layer.weighted.register()
        for merges, module in ((cross, layer.attn2), (mlp, layer.ff)):
            if merges and module is not None:
                before, after = OwnHook(self._before_part), OwnHook(self._after_part)
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(after))

    def release(self) -> None:
        """Take them off."""
        super().release()
        self._parts = self._input = None

    def begin(self, plan: Merge, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The merged tokens as queries (or all tokens) and as context."""
        if self._input is None:  # attn1 was called by somebody else than its layer
            self._input = tokens
        self._plan, self._match = plan, TokenMatch(self._input, plan, self.layer.index)
        self.layer.weighted.log_weights = None
        if not plan.attention:
            return tokens, tokens
        if plan.proportional:
            self.layer.weighted.log_weights = self._match.log_sizes()
        merged = self._match.merge(tokens)
        return (tokens if plan.keys_only else merged), merged

    def in_place_of(self, keys: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Each row merges other tokens: theirs are spread again, and merged as its own are."""
        if self._plan is None or not self._plan.attention or self._match is None:
            return super().in_place_of(keys, rows)
        return self._match.merge(super().in_place_of(self._match.unmerge(keys), rows))

    def skip(self) -> None:
        """Merge before no other part either."""
        super().skip()
        self._plan = self._match = None

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """Every token's answer, merged ones sharing theirs: (batch, tokens, channels)."""
        plan, match = self._plan, self._match
        assert plan is not None
        assert match is not None
        if not plan.attention:
            return answers
        self.layer.applied()
        return answers if plan.keys_only else match.unmerge(answers)

    def _before_layer(self, layer: nn.Module, args: Args, kwargs: Kwargs) -> None:
        self._plan = self._match = None
        self._input = self.layer.dialect.tokens_of(args, kwargs)

    def _after_layer(self, layer: nn.Module, args: Args, output: torch.Tensor) -> None:
        self._plan = self._match = self._input = None

    def _before_part(
        self, module: nn.Module, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs] | None:
        """Merge the tokens before attn2 or ff."""
        if self._match is None:
            return None
        dialect = self.layer.dialect
        return dialect.with_tokens(self._match.merge(dialect.tokens_of(args, kwargs)), args, kwargs)

    def _after_part(
        self, module: nn.Module, args: Args, output: torch.Tensor
    ) -> torch.Tensor | None:
        """Spread its answers again."""
        if self._match is None:
            return None
        self.layer.applied()
        return self._match.unmerge(output)
