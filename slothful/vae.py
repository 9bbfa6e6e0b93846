"""Tiles for the self-attention of the VAE, which turns pictures into latents and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from torch import nn

from slothful.foreign import OwnHook
from slothful.layout import join_answers, plan_layout, split_queries
from slothful.plan import SitePlan
from slothful.settings import Settings
from slothful.sites import LATENT_FACTOR
from slothful.tiling import plan_divisor_tiling


class VaeTiles:
    """Tiles at work on a VAE, from `follow` to `release`.

    Each self-attention of the encoder and the decoder sees one tile at a time; its normalisation
    still sees the whole map, so that no tile gets a tint of its own. Source: HyperTile (tfernd),
    which normalises each tile by itself.
    """

    def __init__(
        self,
        settings: Settings,
        yields_to: Callable[[nn.Module, tuple[int, int]], str | None] | None = None,
    ):
        """`yields_to` is asked for each self-attention, as in `slothful.applied`."""
        self._tile_size = settings.vae_tile_size // LATENT_FACTOR
        self._yields_to = yields_to or (lambda attention, grid: None)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self.vae: nn.Module | None = None
        self.notes: dict[str, str] = {}
        self.applied = False  # whether anything has been split so far

    def follow(self, vae: nn.Module | None) -> None:
        """Move to another VAE of ldm or sgm, or to none; no-op on the present one."""
        if vae is self.vae:
            return
        self.release()
        self.vae = vae
        for name, attention in _attentions(vae) if vae is not None else ():
            self._handles += _TiledBlock(attention, functools.partial(self._plan, name)).register()

    def release(self) -> None:
        """Remove every hook from the VAE."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.vae = None

    def _plan(self, name: str, attention: nn.Module, grid: tuple[int, int]) -> SitePlan | None:
        reason = self._yields_to(attention, grid)
        if reason:
            self.notes[name] = reason
            return None
        tiling = plan_divisor_tiling(*grid, self._tile_size)
        self.applied |= tiling is not None
        return None if tiling is None else SitePlan(grid, 0.0, tiling=tiling)


def _attentions(vae: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The self-attention blocks, by the parts that all their variants have."""
    for name, module in vae.named_modules():
        if all(hasattr(module, part) for part in ("norm", "q", "k", "v", "proj_out")):
            yield name, module


class _TiledBlock:
    """The hooks of one block: x + proj_out(attention(norm(x))) over a map of features."""

    def __init__(
        self,
        block: nn.Module,
        plan_for: Callable[[nn.Module, tuple[int, int]], SitePlan | None],
    ):
        self._block = block
        self._plan_for = plan_for
        self._plan: SitePlan | None = None

    def register(self) -> list[torch.utils.hooks.RemovableHandle]:
        """Put the hooks on; the handles remove them."""
        return [
            self._block.register_forward_pre_hook(OwnHook(self._begin)),
            self._block.norm.register_forward_pre_hook(OwnHook(self._before_norm)),
            self._block.norm.register_forward_hook(OwnHook(self._after_norm)),
            self._block.register_forward_hook(OwnHook(self._end)),
        ]

    def _begin(self, block: nn.Module, args: tuple) -> tuple | None:
        self._plan = self._plan_for(block, tuple(args[0].shape[-2:]))
        return None if self._plan is None else (self._split(args[0]), *args[1:])

    def _before_norm(self, norm: nn.Module, args: tuple) -> tuple | None:
        return None if self._plan is None else (self._join(args[0]),)

    def _after_norm(
        self, norm: nn.Module, args: tuple, output: torch.Tensor
    ) -> torch.Tensor | None:
        return None if self._plan is None else self._split(output)

    def _end(self, block: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
        if self._plan is None:
            return None
        joined, self._plan = self._join(output), None
        return joined

    def _split(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch * W, channels, rows, columns)."""
        layout = plan_layout(self._plan, features.device)
        tokens = rearrange(features, "b c h w -> b (h w) c")
        windows = split_queries(tokens, layout, self._plan)
        return rearrange(windows, "b (h w) c -> b c h w", h=self._plan.tiling.rows.size)

    def _join(self, windows: torch.Tensor) -> torch.Tensor:
        """The inverse of `_split`."""
        layout = plan_layout(self._plan, windows.device)
        tokens = rearrange(windows, "b c h w -> b (h w) c")
        joined = join_answers(tokens, layout, self._plan)
        return rearrange(joined, "b (h w) c -> b c h w", h=self._plan.grid[0])
