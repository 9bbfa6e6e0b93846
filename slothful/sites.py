"""Where the self-attention of a U-Net is: the sites, their names and their depths.

Found by walking the modules, never by a table of models: SD1 and SD2 (ldm), SDXL, its refiner and
pruned variants (sgm) differ in levels, heads and layers but share the names `input_blocks`,
`middle_block`, `output_blocks`, `transformer_blocks` and `attn1`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from torch import nn

from slothful.parameters import SITE_NAMES


def _names(inputs: Iterable[int], outputs: Iterable[int]) -> tuple[str, ...]:
    return (*(f"IN{i:02d}" for i in inputs), "M00", *(f"OUT{i:02d}" for i in outputs))


LATENT_FACTOR = 8
"""Pixels of the picture along one side of a latent position."""

FAMILY_SITES = {
    "SD1, SD2": _names((1, 2, 4, 5, 7, 8), range(3, 12)),
    "SDXL": _names((4, 5, 7, 8), range(6)),
    "SDXL refiner": _names((4, 5, 7, 8), range(3, 9)),
}
"""The sites of the known families: for pages, which are built before a model is loaded."""

KNOWN_SITES = tuple(
    name for name in SITE_NAMES if any(name in names for names in FAMILY_SITES.values())
)
"""The sites that some known family has, in the order of the forward pass."""


class UnsupportedModelError(ValueError):
    """The model has no self-attention of the known shape, so nothing can be applied to it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """The self-attention of one block of the U-Net.

    `name` is the one that users of block weights know (IN01 ... M00 ... OUT11). `level` is the
    downsampling factor against the latent (1, 2, 4, 8), `depth` the level relative to the finest
    one with self-attention in this model. `transformer` receives the tokens as a
    (batch, channels, height, width) map; `layers` are its blocks of attn1, attn2 and ff.
    """

    name: str
    index: int
    level: int
    depth: int
    transformer: nn.Module
    layers: tuple[nn.Module, ...]

    @property
    def attentions(self) -> tuple[nn.Module, ...]:
        """The `attn1` of each layer."""
        return tuple(layer.attn1 for layer in self.layers)

    @property
    def side(self) -> str:
        """ "in", "middle" or "out"."""
        return {"I": "in", "M": "middle", "O": "out"}[self.name[0]]


def find_sites(unet: nn.Module) -> tuple[Site, ...]:
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
            layers = tuple(
                layer
                for layer in transformer.transformer_blocks
                if hasattr(layer, "attn1") and not getattr(layer, "disable_self_attn", False)
            )
            if layers:
                found.append((name, level, transformer, layers))
    if not found:
        raise UnsupportedModelError(f"{type(unet).__name__} has no self-attention")
    finest = min(level for _, level, _, _ in found)
    return tuple(
        Site(name, index, level, level // finest, transformer, layers)
        for index, (name, level, transformer, layers) in enumerate(found)
    )


def blocks_with_levels(unet: nn.Module) -> Iterator[tuple[str, int, nn.Module]]:
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


def _contains(block: nn.Module, class_name: str) -> bool:
    return any(type(module).__name__ == class_name for module in block.modules())
