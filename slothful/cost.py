"""What a U-Net's call costs in arithmetic, with and without the settings, without running it.

Counts multiplications and additions of the matrix products and convolutions, as PyTorch's
FlopCounterMode does. Memory traffic and small operations (norms, pooling, moving of tokens) are
not in it, so time follows it loosely on small pictures and closely on large ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from torch import nn

from slothful.arithmetic import attention_operations, plan_where_it_pays
from slothful.merging import Merging
from slothful.schedule import Moment
from slothful.settings import Settings
from slothful.sites import LATENT_FACTOR, Site, blocks_with_levels, find_sites

TEXT_TOKENS = 77
"""Tokens of a prompt of usual length."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Arithmetic of the calls of one picture, in operations: without the settings and with them.

    `attention` and `attention_left` are those of self-attention (its projections included),
    `rest` and `rest_left` all else in the U-Net, of which only token merging takes anything.
    """

    attention: float
    attention_left: float
    rest: float
    rest_left: float

    @property
    def attention_share(self) -> float:
        """Part of the self-attention's arithmetic that is left, in (0, 1] or slightly above."""
        return self.attention_left / self.attention

    @property
    def total_share(self) -> float:
        """Part of the U-Net's arithmetic that is left."""
        return (self.attention_left + self.rest_left) / (self.attention + self.rest)


@dataclasses.dataclass(frozen=True)
class SiteShape:
    """The channels of a site's tokens and of its projections (all heads), the number of its
    layers, and their operations for each token in cross-attention and in the feed-forward layers.
    """

    site: Site
    channels: int
    inner: int
    layers: int
    cross: float
    mlp: float

    def merged_away(self, merging: Merging) -> float:
        """Operations of cross-attention and feed-forward layers that a merging saves."""
        return merging.count * (merging.cross * self.cross + merging.mlp * self.mlp)


@dataclasses.dataclass(frozen=True)
class UnetShape:
    """What decides a U-Net's cost, read off its modules once.

    `sites` are those with self-attention; `per_position` the operations of all else for each
    position of a level (factor against the latent); `fixed` those of a call that do not grow with
    the picture.
    """

    sites: tuple[SiteShape, ...]
    per_position: tuple[tuple[int, float], ...]
    fixed: float


def shape_of(unet: nn.Module) -> UnetShape:
    """The shape of a U-Net. Raises `UnsupportedModelError` where `find_sites` does."""
    sites = find_sites(unet)
    own = {id(m) for site in sites for attn in site.attentions for m in attn.modules()}
    part_of = {
        id(module): (site.name, part)
        for site in sites
        for layer in site.layers
        for part, parent in (("cross", layer.attn2), ("mlp", layer.ff))
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
            site,
            site.attentions[0].to_q.in_features,
            site.attentions[0].to_q.out_features,
            len(site.layers),
            parts.get((site.name, "cross"), 0.0),
            parts.get((site.name, "mlp"), 0.0),
        )
        for site in sites
    )
    return UnetShape(shapes, tuple(sorted(per_position.items())), fixed)


def _is_layer(module: nn.Module) -> bool:
    """Whether it is a convolution or a linear layer: of torch, or a host's own with the same
    numbers (`in_features`, or `in_channels` and `kernel_size`).
    """
    if not hasattr(module, "weight"):
        return False
    linear = hasattr(module, "in_features") and hasattr(module, "out_features")
    return linear or (hasattr(module, "in_channels") and hasattr(module, "kernel_size"))


def _products(module: nn.Module) -> float:
    """Multiplications of a layer at one position; its weight may be packed and tell nothing."""
    if hasattr(module, "in_features"):
        return module.in_features * module.out_features
    size = module.kernel_size
    area = math.prod(size) if isinstance(size, (tuple, list)) else size**2
    return area * module.in_channels * module.out_channels / getattr(module, "groups", 1)


def _leaves(unet: nn.Module) -> Iterable[tuple[int, nn.Module, str]]:
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


def estimate(
    settings: Settings, shape: UnetShape, width: int, height: int, moments: Sequence[Moment]
) -> Cost:
    """The cost of a picture of (width, height) pixels whose U-Net is called at `moments`.

    Does not depend on the batch: rows cost the same. `settings` act as if the pass were chosen and
    the picture large enough for them.
    """
    levels = {level for level, _ in shape.per_position} | {s.site.level for s in shape.sites}
    grids = {level: grid_of(width, height, level) for level in levels}
    positions = {level: rows * columns for level, (rows, columns) in grids.items()}
    rest = shape.fixed + sum(each * positions[level] for level, each in shape.per_position)
    attention = attention_left = merged_away = 0.0
    for each in shape.sites:
        grid = grids[each.site.level]
        sizes = each.channels, each.inner, each.layers
        attention += attention_operations(None, grid, *sizes) * len(moments)
        for moment in moments:
            plan = plan_where_it_pays(settings, moment, each.site, grid)
            attention_left += attention_operations(plan, grid, *sizes)
            if plan is not None and plan.merging is not None:
                merged_away += each.merged_away(plan.merging)
    rest *= len(moments)
    return Cost(attention, attention_left, rest, rest - merged_away)


def grid_of(width: int, height: int, level: int) -> tuple[int, int]:
    """(height, width) of the feature map at a level; each halving rounds up."""
    size = height // LATENT_FACTOR, width // LATENT_FACTOR
    while level > 1:
        size, level = tuple((length + 1) // 2 for length in size), level // 2
    return size
