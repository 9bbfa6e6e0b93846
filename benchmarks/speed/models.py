"""Full-size U-Nets with random weights: speed does not depend on what a model has learned."""

from __future__ import annotations

import contextlib
import io

import torch
from torch import nn

with contextlib.redirect_stdout(io.StringIO()):  # ldm prints that it does without xformers
    from ldm.modules.attention import SpatialTransformer
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

SD1 = dict(
    model_channels=320, attention_resolutions=[4, 2, 1], channel_mult=[1, 2, 4, 4], num_heads=8,
    context_dim=768,
)  # fmt: skip
FAMILIES = {
    "sd15": SD1,
    "sd21": dict(
        model_channels=320, attention_resolutions=[4, 2, 1], channel_mult=[1, 2, 4, 4],
        num_head_channels=64, use_linear_in_transformer=True, context_dim=1024,
    ),
    "sdxl": dict(
        model_channels=320, attention_resolutions=[4, 2], channel_mult=[1, 2, 4],
        num_head_channels=64, use_linear_in_transformer=True, transformer_depth=10,
        context_dim=[2048] * 10, num_classes=10,
    ),
    # SD1's layout with a fifth of its channels and a quarter of its heads, for a quick look
    "narrow": {**SD1, "model_channels": 64, "num_heads": 2, "context_dim": 64},
}  # fmt: skip
"""The layouts by name, with the widths and depths of the published models."""


def blank_unet(family: str) -> UNetModel:
    """A U-Net of a family without any numbers in it, on torch's device "meta", in inference
    mode.
    """
    with torch.device("meta"):
        unet = UNetModel(
            image_size=32, in_channels=4, out_channels=4, num_res_blocks=2,
            use_spatial_transformer=True, use_checkpoint=False, legacy=False, **FAMILIES[family],
        )  # fmt: skip
    if family == "sdxl":
        _thin_out_layers(unet)
    return unet.eval()


@torch.no_grad()
def make_unet(family: str, device: torch.device, dtype: torch.dtype) -> UNetModel:
    """A U-Net of a family with random weights, in inference mode.

    Its parameters could be trained, as `peak_memory` needs.
    """
    unet = blank_unet(family)
    unet = unet.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for module in unet.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            else:
                parameter.normal_(std=0.02, generator=generator)
    unet.dtype = dtype
    return unet


def _thin_out_layers(unet: UNetModel) -> None:
    """SDXL has 2 transformer layers a block at its first level with attention, else 10."""
    for transformer in (m for m in unet.modules() if isinstance(m, SpatialTransformer)):
        if transformer.in_channels == 2 * unet.model_channels:
            transformer.transformer_blocks = transformer.transformer_blocks[:2]


def make_inputs(
    unet: UNetModel, width: int, height: int, batch: int, timestep: float
) -> tuple[tuple, dict]:
    """Arguments of one call for a picture of so many pixels: (positional, by keyword)."""
    weight = unet.input_blocks[0][0].weight
    options = dict(device=weight.device, dtype=weight.dtype)
    generator = torch.Generator(weight.device).manual_seed(1)
    latent = torch.randn(batch, 4, height // 8, width // 8, generator=generator, **options)
    block = next(m for m in unet.modules() if isinstance(m, SpatialTransformer))
    channels = block.transformer_blocks[0].attn2.to_k.in_features
    context = torch.randn(batch, 77, channels, generator=generator, **options)
    keywords = {"context": context}
    if unet.num_classes is not None:
        labels = torch.zeros(batch, dtype=torch.long, device=latent.device)
        keywords = {"context": [context] * 10, "y": labels}
    return (latent, torch.full((batch,), timestep, device=latent.device)), keywords
