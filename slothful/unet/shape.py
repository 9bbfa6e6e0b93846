"""The shape of a U-Net, read off its modules: what decides its cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from torch import nn

from ..planning.cost import RestShape, SiteShape, UnetShape
from .sites import SiteModules, blocks_inside, blocks_with_levels, find_sites, most_awake

TEXT_TOKENS = 77
"""Tokens of a prompt of usual length."""


def shape_of(unet: Any) -> UnetShape:
    """The shape of a U-Net. Raises `UnsupportedModelError` where `find_sites` does."""
    found = find_sites(unet)
    own = {id(m) for modules in found for attn in modules.attentions for m in attn.modules()}
    part_of = {
        id(module): (modules.site.name, part)
        for modules in found
        for part, parent in _parts(modules)
        for module in parent.modules()
    }
    parts: dict[tuple[str, str], float] = defaultdict(float)
    rest: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for inside, level, module, name in _leaves(unet):
        if id(module) in own:
            continue
        site, part = part_of.get(id(module), ("", ""))
        operations = 2.0 * _products(module)
        fixed = any(word in name for word in ("emb_layers", "embed", "label_emb"))
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            fixed, part, operations = True, "prompt", operations * TEXT_TOKENS
        elif name.endswith("attn2.to_q"):  # the scores and the sum of the text's values
            operations += 4.0 * TEXT_TOKENS * module.out_features
        rest[inside, level][fixed] += operations
        parts[site, part] += operations
    names = ("cross", "mlp", "around", "prompt")
    shapes = (SiteShape(m.site, *(parts[m.site.name, part] for part in names)) for m in found)
    return UnetShape(
        tuple(shapes),
        tuple(RestShape(*place, *costs) for place, costs in sorted(rest.items())),
        tuple(_deep(unet)),
    )


def _deep(unet: Any) -> Iterable[tuple[int, int]]:
    """What the last block gives that sleeps, (channels, level), for 1, 2, ... blocks awake."""
    outputs = [(level, block) for name, level, block in blocks_with_levels(unet) if "OUT" in name]
    for awake in range(1, most_awake(unet) + 1):
        (_, block), (level, _) = outputs[-1 - awake], outputs[-awake]
        # an upsampling layer gives as many channels as it gets
        children: Iterable[Any] = block.children()
        channels = next((m.out_channels for m in children if hasattr(m, "out_channels")), 0)
        yield channels, level


def _parts(modules: SiteModules) -> Iterable[tuple[str, nn.Module]]:
    """The parts of a site's transformer, inner ones last."""
    yield "around", modules.transformer
    layers: Any = modules.layers
    for layer in layers:
        yield "mlp", layer.ff
        if layer.attn2 is not None:
            yield "cross", layer.attn2


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


def _leaves(unet: nn.Module) -> Iterable[tuple[int, int, Any, str]]:
    """(blocks before or after its own, level, module, name) of every convolution and linear
    layer.
    """
    seen = set()
    inside = blocks_inside(unet)
    for site_name, level, block in blocks_with_levels(unet):
        for name, module in block.named_modules():
            if _is_layer(module):
                seen.add(id(module))
                # an upsampling layer's convolution works on the enlarged map
                up = any(
                    type(parent).__name__ == "Upsample" and module in parent.modules()
                    for parent in block.children()
                )
                yield inside[site_name], level // 2 if up else level, module, name
    for name, module in unet.named_modules():
        if _is_layer(module) and id(module) not in seen:
            yield -1, 1, module, name
