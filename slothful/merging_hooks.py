"""The hooks of one transformer block for token merging."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.utils.hooks import RemovableHandle

from slothful.layer_hooks import LayerHooks, PlanFor
from slothful.merging import TokenMatch


class MergingHooks(LayerHooks):
    """Tokens are matched by the block's input, merged before a part of it and spread again after.

    Nothing is merged in the whole block where its self-attention has to be left alone.
    """

    def __init__(self, layer: nn.Module, index: int, plan_for: PlanFor):
        super().__init__(layer, index, plan_for)
        self._input: torch.Tensor | None = None
        self._match: TokenMatch | None = None
        self._projected: dict[str, torch.Tensor] = {}

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on the block and on its parts."""
        layer, attention = self.layer, self.layer.attn1
        handles = [
            layer.register_forward_pre_hook(self._before_layer, with_kwargs=True),
            *super().register(),
            layer.register_forward_hook(self._after_layer),
        ]
        for name in ("to_q", "to_k", "to_v"):
            keep = functools.partial(self._after_projection, name)
            handles.append(getattr(attention, name).register_forward_hook(keep))
        # its first layer, because the webui's optimizations call the layers one by one
        handles.append(attention.to_out[0].register_forward_pre_hook(self._before_output))
        for part, module in (("cross", layer.attn2), ("mlp", layer.ff)):
            before = functools.partial(self._before_part, part)
            after = functools.partial(self._after_part, part)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after))
        return handles

    def begin(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The merged tokens as queries (or all tokens) and as context."""
        merging = self.plan.merging
        self._match = TokenMatch(self._input, merging, self.index)
        if not merging.attention:
            return tokens, tokens
        merged = self._match.merge(tokens)
        return (tokens if merging.keys_only else merged), merged

    def end(self, answers: torch.Tensor) -> torch.Tensor:
        """Every token's answer, merged ones sharing theirs: (batch, tokens, channels)."""
        merging = self.plan.merging
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
        return self._match.unmerge(output)

    # -- proportional attention. No optimization of the webui takes a bias for the scores, so the
    # active one gets a single token to work on, and its answer is replaced by that of torch's own
    # attention over what to_q, to_k and to_v gave.

    @property
    def _proportional(self) -> bool:
        merging = None if self._match is None else self.plan.merging
        return merging is not None and merging.attention and merging.proportional

    def _after_projection(
        self, name: str, projection: nn.Module, args: tuple, projected: torch.Tensor
    ) -> torch.Tensor | None:
        if not self._proportional:
            return None
        self._projected[name] = projected
        return projected[:, :1]

    def _before_output(self, layer: nn.Module, args: tuple) -> tuple | None:
        if not self._proportional:
            return None
        query, key, value = (
            rearrange(self._projected.pop(name), "b n (h c) -> b h n c", h=self.layer.attn1.heads)
            for name in ("to_q", "to_k", "to_v")
        )
        bias = self._match.log_sizes().to(query.dtype)
        answers = F.scaled_dot_product_attention(
            query, key, value, attn_mask=rearrange(bias, "b n -> b 1 1 n")
        )
        return (rearrange(answers, "b h n c -> b n (h c)"), *args[1:])
