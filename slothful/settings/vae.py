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
        "Also tile the self-attention of the VAE, which turns images into latents and back. "
        "Saves memory on large images and rarely shows.",
        brief="Also tile the self-attention of the VAE.",
        group="vae",
    )
    vae_tile_size: int = param(
        128,
        "Minimum VAE tile size in pixels",
        "Minimum tile size in the VAE's self-attention, in pixels.",
        group="vae",
        needs=("vae_tiles",),
        range=(64, 1024),
        step=16,
    )
