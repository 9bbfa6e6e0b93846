"""Builders and callers of small U-Nets, shared by the tests."""

import torch
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch.nn import functional

LAYOUTS = {
    "sd1": dict(
        model_channels=32,
        attention_resolutions=[4, 2, 1],
        channel_mult=[1, 2, 4, 4],
        num_heads=8,
    ),
    # heads of one size, so their number grows with the level
    "sd2": dict(
        model_channels=32,
        attention_resolutions=[4, 2, 1],
        channel_mult=[1, 2, 4, 4],
        num_head_channels=16,
        use_linear_in_transformer=True,
    ),
    # no attention at the finest level, several layers a block, a vector besides the text
    "sdxl": dict(
        model_channels=32,
        attention_resolutions=[4, 2],
        channel_mult=[1, 2, 4],
        num_head_channels=16,
        use_linear_in_transformer=True,
        transformer_depth=3,
        context_dim=[24] * 3,  # ldm takes a context for each layer
        num_classes=10,
    ),
}


def make_unet(layout: str, seed: int = 0, **changes) -> UNetModel:
    """A U-Net of ldm with random weights, none of them zero (ldm starts some layers at zero)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNetModel(
            image_size=32,
            in_channels=4,
            out_channels=4,
            num_res_blocks=2,
            use_spatial_transformer=True,
            use_checkpoint=False,
            legacy=False,
            **{"context_dim": 24, **LAYOUTS[layout], **changes},
        )
        for parameter in unet.parameters():
            if parameter.abs().max() == 0:
                parameter.data.normal_(std=0.05)
    return unet.eval()


def inputs(unet: UNetModel, batch: int = 2, height: int = 24, width: int = 32, seed: int = 1):
    """(latent, timesteps, keyword arguments) of one call, the same for the same seed.

    `height` and `width` are those of the finest self-attention.
    """
    if 1 not in unet.attention_resolutions:
        height, width = 2 * height, 2 * width
    generator = torch.Generator().manual_seed(seed)
    dtype = next(unet.parameters()).dtype
    latent = torch.randn(batch, 4, height, width, generator=generator).to(dtype)
    context = torch.randn(batch, 7, 24, generator=generator).to(dtype)
    keywords = {"context": context}
    if unet.num_classes is not None:
        keywords = {"context": [context] * 3, "y": torch.arange(batch) % 10}
    return latent, torch.full((batch,), 600.0), keywords


def run(unet: UNetModel, timestep: float = 600.0, **size) -> torch.Tensor:
    """One call of the U-Net."""
    latent, timesteps, keywords = inputs(unet, **size)
    return unet(latent, timesteps.fill_(timestep), **keywords)


def module_state(model: torch.nn.Module) -> dict:
    """Every hook and instance attribute of every module, to be compared before and after."""
    return {
        name: {
            key: list(value) if isinstance(value, dict) else id(value)
            for key, value in vars(module).items()
            if key not in ("training", "last_z_shape")  # the second is a note of ldm's decoder
        }
        for name, module in model.named_modules()
    }


def plain_attention(module, x, context=None, mask=None, **kwargs):
    """Textbook attention with the signature of the webui's replacements."""
    context = x if context is None else context
    query, key, value = module.to_q(x), module.to_k(context), module.to_v(context)
    heads = (t.unflatten(2, (module.heads, -1)).transpose(1, 2) for t in (query, key, value))
    out = functional.scaled_dot_product_attention(*heads)
    return module.to_out(out.transpose(1, 2).flatten(2))
