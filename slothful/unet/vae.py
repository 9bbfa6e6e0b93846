"""Tiles for the self-attention of the VAE, which turns images into latents and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from einops import rearrange
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.plan import Reduce
from ..planning.site import LATENT_FACTOR, Grid
from ..planning.tiling import plan_divisor_tiling
from ..settings.settings import Settings
from ..tokens.layout import plan_layout
from ..tokens.moving import join_answers, split_queries
from .calls import Args
from .foreign import HOOKED, OwnHook, Watch
from .obstacles import YieldsTo


class VaeTiles:
    """Tiles at work on a VAE, from `follow` to `release`.

    Each self-attention of the encoder and the decoder sees one tile at a time; its normalisation
    still sees the whole map, so that no tile gets a tint of its own. Source: HyperTile (tfernd),
    which normalises each tile by itself.
    """

    def __init__(self, settings: Settings, yields_to: YieldsTo | None = None):
        """`yields_to` is asked for each self-attention, as in `slothful.applied`."""
        self._tile_size = settings.vae_tile_size // LATENT_FACTOR
        self._yields_to = yields_to or (lambda attention, grid: None)
        self._handles: list[RemovableHandle] = []
        self.vae: nn.Module | None = None
        self.notes: dict[str, str] = {}  # by block, why it was left as it is
        self.applied = False  # whether anything has been split so far

    def follow(self, vae: nn.Module | None) -> None:
        """Move to another VAE of ldm or sgm, or to none; no-op on the present one."""
        if vae is self.vae:
            return
        self.release()
        self.vae = vae
        for name, attention in _attentions(vae) if vae is not None else ():
            others = Watch(attention.modules(), may_replace=[attention])
            plan = functools.partial(self._plan, name, others)
            self._handles += _TiledBlock(attention, plan).register()

    def release(self) -> None:
        """Remove every hook from the VAE."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.vae = None

    def _plan(self, name: str, others: Watch, attention: nn.Module, grid: Grid) -> Reduce | None:
        tiling = plan_divisor_tiling(*grid, self._tile_size)
        if tiling is None:
            return None
        reason = HOOKED if others.found() else self._yields_to(attention, grid)
        if reason:
            self.notes[name] = reason
            return None
        self.applied = True
        return Reduce(grid, 0.0, tiling=tiling)


def _attentions(vae: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The self-attention blocks, by the parts that all their variants have."""
    for name, module in vae.named_modules():
        if all(hasattr(module, part) for part in ("norm", "q", "k", "v", "proj_out")):
            yield name, module


class _TiledBlock:
    """The hooks of one block: x + proj_out(attention(norm(x))) over a map of features."""

    def __init__(self, block: nn.Module, plan_for: Callable[[nn.Module, Grid], Reduce | None]):
        self._block: Any = block
        self._plan_for = plan_for
        self._plan: Reduce | None = None

    def register(self) -> list[RemovableHandle]:
        """Put the hooks on; the handles remove them."""
        return [
            self._block.register_forward_pre_hook(OwnHook(self._begin)),
            self._block.norm.register_forward_pre_hook(OwnHook(self._before_norm)),
            self._block.norm.register_forward_hook(OwnHook(self._after_norm)),
            self._block.register_forward_hook(OwnHook(self._end)),
        ]

    def _begin(self, block: nn.Module, args: Args) -> Args | None:
        height, width = args[0].shape[-2:]
        self._plan = self._plan_for(block, (height, width))
        return None if self._plan is None else (_split(args[0], self._plan), *args[1:])

    def _before_norm(self, norm: nn.Module, args: Args) -> Args | None:
        return None if self._plan is None else (_join(args[0], self._plan),)

    def _after_norm(self, norm: nn.Module, args: Args, output: torch.Tensor) -> torch.Tensor | None:
        return None if self._plan is None else _split(output, self._plan)

    def _end(self, block: nn.Module, args: Args, output: torch.Tensor) -> torch.Tensor | None:
        plan, self._plan = self._plan, None
        return None if plan is None else _join(output, plan)


def _split(features: torch.Tensor, plan: Reduce) -> torch.Tensor:
    """(batch, channels, height, width) -> (batch * W, channels, rows, columns)."""
    tokens = rearrange(features, "b c h w -> b (h w) c")
    windows = split_queries(tokens, plan_layout(plan, features.device), plan)
    return rearrange(windows, "b (h w) c -> b c h w", h=plan.window[0])


def _join(windows: torch.Tensor, plan: Reduce) -> torch.Tensor:
    """The inverse of `_split`."""
    tokens = rearrange(windows, "b c h w -> b (h w) c")
    joined = join_answers(tokens, plan_layout(plan, windows.device), plan)
    return rearrange(joined, "b (h w) c -> b c h w", h=plan.grid[0])
