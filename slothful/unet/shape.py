"""The shape of a U-Net, read off its modules: what decides its cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from torch import nn

from ..planning.cost import TEXT_TOKENS, RestShape, SiteShape, UnetShape
from .anatomy import UnsupportedModelError, anatomy_of
from .sites import SiteModules, find_sites

FUSED = ("to_kv", "to_qkv")
"""Projections that hold the weights of others once more: both are there from their fusing on."""

UPSAMPLE = ("Upsample", "Upsample2D")
"""Classes of layers that enlarge the map."""


def shape_of(unet: Any) -> UnetShape:
    """The shape of a U-Net. Raises `UnsupportedModelError` where `find_sites` does, and for flat
    models.
    """
    found = find_sites(unet)
    if found[0].patch:
        raise UnsupportedModelError(f"{type(unet).__name__} is no U-Net: its cost is not known")
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
        if id(module) in own or name.endswith(FUSED):
            continue
        site, part = part_of.get(id(module), ("", ""))
        operations = 2.0 * _products(module)
        fixed = "emb" in name  # of the timestep and what else there is one of for a row
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
    anatomy = anatomy_of(unet)
    for awake in range(1, anatomy.most_awake + 1):
        block, following = anatomy.outputs[-1 - awake], anatomy.outputs[-awake]
        layers: list[Any] = [each for m in block.modules for each in (m, *m.children())]
        # an upsampling layer gives as many channels as it gets
        channels = next((m.out_channels for m in layers if hasattr(m, "out_channels")), 0)
        yield channels, following.level


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
    if not hasattr(module, "weight") or hasattr(module, "base_layer"):  # counted itself
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
    anatomy = anatomy_of(unet)
    inside = anatomy.inside
    for block in anatomy.blocks:
        for part in block.modules:
            # an upsampling layer's convolution works on the enlarged map
            ups = [m for m in (part, *part.children()) if type(m).__name__ in UPSAMPLE]
            enlarged = {id(module) for up in ups for module in up.modules()}
            for name, module in part.named_modules():
                if _is_layer(module):
                    seen.add(id(module))
                    level = block.level // 2 if id(module) in enlarged else block.level
                    yield inside[block.name], level, module, name.replace(".base_layer", "")
    for name, module in unet.named_modules():
        if _is_layer(module) and id(module) not in seen:
            yield -1, 1, module, name
