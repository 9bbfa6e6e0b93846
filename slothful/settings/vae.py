"""The parameters of tiles in the VAE."""

from __future__ import annotations

import dataclasses

from .parameter import param


@dataclasses.dataclass(frozen=True, kw_only=True)
class VaeParameters:
    """Fields of `Settings`."""

    vae_tiles: bool = param(
        False,
        "Tile the VAE",
        "Also tile the self-attention that turns pictures into latents and back; seldom seen in "
        "the picture, saves memory on large ones.",
        group="vae",
    )
    vae_tile_size: int = param(
        128,
        "Smallest VAE tile in pixels",
        "A tile of the VAE's self-attention is at least as large.",
        group="vae",
        needs=("vae_tiles",),
        range=(64, 1024),
        step=16,
    )
