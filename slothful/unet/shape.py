"""The shape of a U-Net, read off its modules: what decides its cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..planning.cost import SiteShape, UnetShape
from .sites import blocks_with_levels, find_sites

TEXT_TOKENS = 77
"""Tokens of a prompt of usual length."""


def shape_of(unet: Any) -> UnetShape:
    """The shape of a U-Net. Raises `UnsupportedModelError` where `find_sites` does."""
    found = find_sites(unet)
    own = {id(m) for modules in found for attn in modules.attentions for m in attn.modules()}
    part_of = {
        id(module): (modules.site.name, part)
        for modules in found
        for layer in modules.layers
        for part, parent in (("cross", layer.attn2), ("mlp", layer.ff))
        if parent is not None
        for module in parent.modules()
    }
    parts: dict[tuple[str, str], float] = {}
    per_position: dict[int, float] = {}
    fixed = 0.0
    for level, module, name in _leaves(unet):
        if id(module) in own:
            continue
        operations = 2.0 * _products(module)
        if "emb_layers" in name or "embed" in name or "label_emb" in name:
            fixed += operations
        elif name.endswith(("attn2.to_k", "attn2.to_v")):
            fixed += operations * TEXT_TOKENS
        else:
            if name.endswith("attn2.to_q"):  # the scores and the sum of the text's values
                operations += 4.0 * TEXT_TOKENS * module.out_features
            per_position[level] = per_position.get(level, 0.0) + operations
            if id(module) in part_of:
                part = part_of[id(module)]
                parts[part] = parts.get(part, 0.0) + operations
    shapes = tuple(
        SiteShape(
            modules.site,
            parts.get((modules.site.name, "cross"), 0.0),
            parts.get((modules.site.name, "mlp"), 0.0),
        )
        for modules in found
    )
    return UnetShape(shapes, tuple(sorted(per_position.items())), fixed)


def _is_layer(module: Any) -> bool:
    """Whether it is a convolution or a linear layer: of torch, or a host's own with the same
    numbers (`in_features`, or `in_channels` and `kernel_size`).
    """
    if not hasattr(module, "weight"):
        return False
    linear = hasattr(module, "in_features") and hasattr(module, "out_features")
    return linear or (hasattr(module, "in_channels") and hasattr(module, "kernel_size"))


def _products(module: Any) -> float:
    """Multiplications of a layer at one position; its weight may be packed and tell nothing."""
    if hasattr(module, "in_features"):
        return float(module.in_features * module.out_features)
    size = module.kernel_size
    area = math.prod(size) if isinstance(size, (tuple, list)) else size**2
    groups = getattr(module, "groups", 1)
    return float(area * module.in_channels * module.out_channels / groups)


def _leaves(unet: Any) -> Iterable[tuple[int, Any, str]]:
    """(level, module, name) of every convolution and linear layer."""
    seen = set()
    for _, level, block in blocks_with_levels(unet):
        for name, module in block.named_modules():
            if _is_layer(module):
                seen.add(id(module))
                # an upsampling layer's convolution works on the enlarged map
                up = any(
                    type(parent).__name__ == "Upsample" and module in parent.modules()
                    for parent in block.children()
                )
                yield level // 2 if up else level, module, name
    for name, module in unet.named_modules():
        if _is_layer(module) and id(module) not in seen:
            yield 1, module, name
