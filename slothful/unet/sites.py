"""Where the self-attention of a U-Net is: the sites, their names and their depths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from ..planning.site import Grid, Site
from .anatomy import UnsupportedModelError, anatomy_of
from .calls import Args, Dialect, Kwargs


@dataclasses.dataclass(frozen=True, eq=False)
class SiteModules:
    """The modules of a site: `transformer` receives the tokens as a (batch, channels, height,
    width) map; `layers` are its blocks of attn1, attn2 and ff; all are called in a `dialect`. Of a
    flat model, `transformer` is the model, whose every `patch` x `patch` positions are a token.
    """

    site: Site
    transformer: nn.Module
    layers: tuple[Any, ...]
    dialect: Dialect
    patch: int = 0

    @property
    def attentions(self) -> tuple[Any, ...]:
        """The `attn1` of each layer."""
        return tuple(layer.attn1 for layer in self.layers)

    def grid_in(self, args: Args, kwargs: Kwargs) -> Grid:
        """The (height, width) of the tokens of a call of the transformer."""
        height, width = self.dialect.tokens_of(args, kwargs).shape[-2:]
        side = self.patch or 1
        return height // side, width // side

    @property
    def outermost(self) -> nn.Module:
        """What adds the site's work to a map or to tokens: the transformer, or a flat model's
        layer.
        """
        layer: nn.Module = self.layers[0]
        return layer if self.patch else self.transformer


def find_sites(unet: Any) -> tuple[SiteModules, ...]:
    """The sites of a U-Net in the order of its forward pass.

    Raises `UnsupportedModelError` when the model is no U-Net of this family (SD3, Flux, TensorRT)
    or has no self-attention.
    """
    anatomy = anatomy_of(unet)
    found = []
    for block in anatomy.blocks:
        around = [(unet, block.modules)] if anatomy.patch else _transformers(block.modules)
        for transformer, blocks in around:
            layers = tuple(layer for layer in blocks if _is_found(layer))
            if layers:
                found.append((block.name, block.level, transformer, layers))
    if not found:
        raise UnsupportedModelError(f"{type(unet).__name__} has no self-attention")
    finest = min(level for _, level, _, _ in found)
    inside = anatomy.inside
    return tuple(
        SiteModules(
            _site(name, index, level, finest, layers, inside[name]),
            transformer,
            layers,
            anatomy.dialect,
            anatomy.patch,
        )
        for index, (name, level, transformer, layers) in enumerate(found)
    )


def _transformers(modules: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, Iterable[Any]]]:
    """Each transformer in the modules, with its layers."""
    for module in modules:
        for each in module.modules():
            layers: Any = getattr(each, "transformer_blocks", None)
            if layers is not None:
                yield each, layers


def _is_found(layer: Any) -> bool:
    """Whether a layer has self-attention; in some, both attentions are to the prompt."""
    crossed = ("disable_self_attn", "only_cross_attention")
    return hasattr(layer, "attn1") and not any(getattr(layer, name, False) for name in crossed)


def _site(
    name: str, index: int, level: int, finest: int, layers: tuple[nn.Module, ...], inside: int
) -> Site:
    attention: Any = layers[0].attn1
    # a host's own layers may lack the numbers; then nothing is known of what they cost
    channels = getattr(attention.to_q, "in_features", 0)
    inner = getattr(attention.to_q, "out_features", 0)
    heads = getattr(attention, "heads", 1)
    return Site(name, index, level, level // finest, channels, inner, heads, len(layers), inside)


def cross_attentions(found: Sequence[SiteModules]) -> list[Any]:
    """The attn2 of all layers that have one."""
    attentions = (layer.attn2 for modules in found for layer in modules.layers)
    return [attention for attention in attentions if attention is not None]
