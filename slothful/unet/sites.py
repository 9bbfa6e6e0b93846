"""Where the self-attention of a U-Net is: the sites, their names and their depths.

Found by walking the modules, never by a table of models: SD1 and SD2 (ldm), SDXL, its refiner and
pruned variants (sgm) differ in levels, heads and layers but share the names `input_blocks`,
`middle_block`, `output_blocks`, `transformer_blocks` and `attn1`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..planning.site import Site


class UnsupportedModelError(ValueError):
    """The model has no self-attention of the known shape, so nothing can be applied to it."""


@dataclasses.dataclass(frozen=True, eq=False)
class SiteModules:
    """The modules of a site: `transformer` receives the tokens as a (batch, channels, height,
    width) map; `layers` are its blocks of attn1, attn2 and ff.
    """

    site: Site
    transformer: nn.Module
    layers: tuple[Any, ...]

    @property
    def attentions(self) -> tuple[Any, ...]:
        """The `attn1` of each layer."""
        return tuple(layer.attn1 for layer in self.layers)


def find_sites(unet: Any) -> tuple[SiteModules, ...]:
    """The sites of a U-Net in the order of its forward pass.

    Raises `UnsupportedModelError` when the model is no U-Net of this family (SD3, Flux, TensorRT)
    or has no self-attention.
    """
    missing = [n for n in ("input_blocks", "middle_block", "output_blocks") if not hasattr(unet, n)]
    if missing:
        raise UnsupportedModelError(
            f"{type(unet).__name__} is not a Stable Diffusion 1, 2 or XL U-Net: "
            f"it has no {', '.join(missing)}"
        )
    found = []
    for name, level, block in blocks_with_levels(unet):
        for transformer in (m for m in block.modules() if hasattr(m, "transformer_blocks")):
            blocks: Any = transformer.transformer_blocks
            layers = tuple(
                layer
                for layer in blocks
                if hasattr(layer, "attn1") and not getattr(layer, "disable_self_attn", False)
            )
            if layers:
                found.append((name, level, transformer, layers))
    if not found:
        raise UnsupportedModelError(f"{type(unet).__name__} has no self-attention")
    finest = min(level for _, level, _, _ in found)
    inside = blocks_inside(unet)
    return tuple(
        SiteModules(_site(name, index, level, finest, layers, inside[name]), transformer, layers)
        for index, (name, level, transformer, layers) in enumerate(found)
    )


def _site(
    name: str, index: int, level: int, finest: int, layers: tuple[nn.Module, ...], inside: int
) -> Site:
    attention: Any = layers[0].attn1
    # a host's own layers may lack the numbers; then nothing is known of what they cost
    channels = getattr(attention.to_q, "in_features", 0)
    inner = getattr(attention.to_q, "out_features", 0)
    heads = getattr(attention, "heads", 1)
    return Site(name, index, level, level // finest, channels, inner, heads, len(layers), inside)


def blocks_with_levels(unet: Any) -> Iterator[tuple[str, int, nn.Module]]:
    """(site name, downsampling factor, block) of every block of the U-Net.

    A downsampling layer is a block of its own, before the blocks of the next level; an upsampling
    layer closes the last block of its level.
    """
    level = 1
    for index, block in enumerate(unet.input_blocks):
        level *= 2 if _contains(block, "Downsample") else 1
        yield f"IN{index:02d}", level, block
    if unet.middle_block is not None:  # some small models have none
        yield "M00", level, unet.middle_block
    for index, block in enumerate(unet.output_blocks):
        yield f"OUT{index:02d}", level, block
        level //= 2 if _contains(block, "Upsample") else 1


def blocks_inside(unet: Any) -> dict[str, int]:
    """For each block of the U-Net, by its site's name, how many blocks come before it, or after it
    if it is an output block; for the middle block as many as there are on the longer side.
    """
    inputs, outputs = len(unet.input_blocks), len(unet.output_blocks)
    before = {f"IN{index:02d}": index for index in range(inputs)}
    after = {f"OUT{index:02d}": outputs - 1 - index for index in range(outputs)}
    return {**before, "M00": max(inputs, outputs), **after}


def most_awake(unet: Any) -> int:
    """How many blocks can stay awake on either side, so that some between them can sleep."""
    return min(len(unet.input_blocks), len(unet.output_blocks)) - 1


def _contains(block: nn.Module, class_name: str) -> bool:
    return any(type(module).__name__ == class_name for module in block.modules())
