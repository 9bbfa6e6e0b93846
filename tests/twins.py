"""The same U-Net twice: as ldm builds it, and as diffusers does, with the same weights."""

import functools

import torch
from diffusers import UNet2DConditionModel

from tests.unets import LAYOUTS, inputs, make_unet

LEVELS = {
    "sd1": dict(attention_head_dim=8),  # of heads, in spite of its name
    "sd2": dict(attention_head_dim=(2, 4, 8, 8), use_linear_projection=True),
    "sdxl": dict(
        attention_head_dim=(2, 4, 8),
        use_linear_projection=True,
        transformer_layers_per_block=3,
        num_class_embeds=10,
    ),
}
RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""The parts of a residual layer in ldm, and in diffusers."""


@functools.cache
def make_twins(layout: str):
    """(ldm's U-Net, diffusers' U-Net); the same ones every time."""
    unet = make_unet(layout)
    twin = make_empty(layout)
    copy(unet, twin)
    return unet, twin


def make_empty(layout: str, **changes) -> UNet2DConditionModel:
    """A U-Net of diffusers of a layout; its weights are random."""
    levels = LAYOUTS[layout]["channel_mult"]
    resolutions = LAYOUTS[layout]["attention_resolutions"]
    has_attention = [2**index in resolutions for index in range(len(levels))]
    downs = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in has_attention]
    ups = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(has_attention)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2DConditionModel(
            block_out_channels=[32 * each for each in levels],
            down_block_types=downs,
            up_block_types=ups,
            cross_attention_dim=24,
            **{**LEVELS[layout], **changes},
        ).eval()


def copy(unet, twin) -> None:
    """Copy every weight of ldm's U-Net; loading fails where one is missing or has another shape."""
    load(twin.time_embedding.linear_1, unet.time_embed[0])
    load(twin.time_embedding.linear_2, unet.time_embed[2])
    if unet.num_classes is not None:
        load(twin.class_embedding, unet.label_emb)
    load(twin.conv_norm_out, unet.out[0])
    load(twin.conv_out, unet.out[2])
    layers = [layer for block in unet.input_blocks for layer in block]
    layers += [*unet.middle_block, *(layer for block in unet.output_blocks for layer in block)]
    for layer, own in zip(layers, in_order(twin), strict=True):
        kind = type(layer).__name__
        if kind == "ResBlock":
            for name, other in RESIDUAL.items():
                if not isinstance(layer.get_submodule(name), torch.nn.Identity):
                    load(own.get_submodule(other), layer.get_submodule(name))
        elif kind in ("Downsample", "Upsample"):
            load(own.conv, layer.op if kind == "Downsample" else layer.conv)
        else:  # transformers and the first convolution have the same names inside
            load(own, layer)


def in_order(twin):
    """The layers of diffusers' U-Net in the order of ldm's."""
    yield twin.conv_in
    for block in (*twin.down_blocks, twin.mid_block, *twin.up_blocks):
        attentions = list(getattr(block, "attentions", []))
        for residual in block.resnets:
            yield residual
            if attentions:
                yield attentions.pop(0)
        for name in ("downsamplers", "upsamplers"):
            yield from getattr(block, name, None) or ()


def load(module, other) -> None:
    module.load_state_dict(other.state_dict())


def run_both(unet, twin, timestep: float = 600.0, **size):
    """What both answer to one call."""
    latent, timesteps, keywords = inputs(unet, **size)
    timesteps = timesteps.fill_(timestep)
    return unet(latent, timesteps, **keywords), run_twin(twin, latent, timesteps, keywords)


def run_twin(twin, latent, timesteps, keywords) -> torch.Tensor:
    """One call of diffusers' U-Net with ldm's arguments, as pipelines make it."""
    context = keywords["context"]
    context = context[0] if isinstance(context, list) else context
    labels = {"class_labels": keywords["y"]} if "y" in keywords else {}
    return twin(latent, timesteps[0], encoder_hidden_states=context, return_dict=False, **labels)[0]
