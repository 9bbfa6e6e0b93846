"""The hooks of one transformer block for token merging."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from slothful.foreign import OwnHook
from slothful.layer_hooks import LayerHooks
from slothful.merging import TokenMatch


class MergingHooks(LayerHooks):
    """Tokens are matched by the block's input, merged before a part of it and spread again after.

    Nothing is merged in the whole block where its self-attention has to be left alone.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._input: torch.Tensor | None = None
        self._match: TokenMatch | None = None

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on the block and on its parts."""
        layer = self.layer
        handles = [
            layer.register_forward_pre_hook(OwnHook(self._before_layer), with_kwargs=True),
            *super().register(),
            *self.weighted.register(),
            layer.register_forward_hook(OwnHook(self._after_layer)),
        ]
        for part, module in (("cross", layer.attn2), ("mlp", layer.ff)):
            before = OwnHook(functools.partial(self._before_part, part))
            after = OwnHook(functools.partial(self._after_part, part))
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after))
        return handles

    def begin(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The merged tokens as queries (or all tokens) and as context."""
        merging = self.plan.merging
        self._match = TokenMatch(self._input, merging, self.index)
        if not merging.attention:
            return tokens, tokens
        if merging.proportional:
            self.weighted.log_weights = self._match.log_sizes()
        merged = self._match.merge(tokens)
        return (tokens if merging.keys_only else merged), merged

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """Every token's answer, merged ones sharing theirs: (batch, tokens, channels)."""
        merging = self.plan.merging
        if merging.attention:
            self.applied()
        spread = merging.attention and not merging.keys_only
        return self._match.unmerge(answers) if spread else answers

    def _before_layer(self, layer: nn.Module, args: tuple, kwargs: dict) -> None:
        self.plan = self._match = None
        self._input = args[0] if args else kwargs["x"]

    def _after_layer(self, layer: nn.Module, args: tuple, output: torch.Tensor) -> None:
        self.plan = self._match = self._input = None

    def _before_part(self, part: str, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """Merge the tokens before attn2 or ff."""
        if self._match is None or not getattr(self.plan.merging, part):
            return None
        x = args[0] if args else kwargs["x"]
        x = self._match.merge(x)
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "x": x})

    def _after_part(self, part: str, module: nn.Module, args: tuple, output: torch.Tensor) -> Any:
        """Spread its answers again."""
        if self._match is None or not getattr(self.plan.merging, part):
            return None
        self.applied()
        return self._match.unmerge(output)
