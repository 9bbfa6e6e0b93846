"""Puts the trained parts together as one SD1 checkpoint in half precision.

python -m standalone.model.export --work outputs/training
python -m standalone.model.export --work outputs/training --out somewhere/small.safetensors
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from standalone.checkpoint import SMALL, StableDiffusion, build
from standalone.console import replace_unknown_letters
from standalone.model.autoencoder_stage import fold_scale
from standalone.model.train import CONFIG
from standalone.model.unet_stage import newest_state, trained_modules


def main() -> int:
    """The command line; 2 when a stage has not been trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/training"))
    parser.add_argument("--out", type=Path, default=SMALL)
    replace_unknown_letters()
    args = parser.parse_args()
    unet_state, autoencoder_state = newest_state(args.work), args.work / "autoencoder.pt"
    if unet_state is None or not autoencoder_state.exists():
        missing = "unet-*.pt" if unet_state is None else autoencoder_state.name
        print(f"error: {args.work}: no {missing}; train that stage first", file=sys.stderr)
        return 2
    model = assemble(unet_state, autoencoder_state)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part")
    save_file(checkpoint_weights(model), part, metadata={"format": "pt"})
    part.replace(args.out)
    if args.out.with_suffix(".yaml") != CONFIG:
        shutil.copy(CONFIG, args.out.with_suffix(".yaml"))
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB from {unet_state.name}")
    return 0


def assemble(unet_state: Path, autoencoder_state: Path) -> StableDiffusion:
    """The model with the averaged weights of a U-Net state and a folded autoencoder."""
    model = build(CONFIG)
    average = torch.load(unet_state, map_location="cpu")["average"]
    trained_modules(model).load_state_dict(average)
    autoencoder = torch.load(autoencoder_state, map_location="cpu")["autoencoder"]
    model.first_stage_model.load_state_dict(autoencoder)
    fold_scale(model.first_stage_model, model.scale_factor)
    return model


def checkpoint_weights(model: StableDiffusion) -> dict[str, torch.Tensor]:
    """The names and buffers of an SD1 file: weights in half, the schedule in single precision."""
    weights = {name: w.half().contiguous() for name, w in model.state_dict().items()}
    positions = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    weights[positions] = torch.arange(77)[None]
    return weights | schedule_buffers(model.alphas_cumprod)


def schedule_buffers(alphas_cumprod: torch.Tensor) -> dict[str, torch.Tensor]:
    """The buffers that ldm's DDPM registers, each (timesteps,), from the products of alphas."""
    product = alphas_cumprod.double()
    before = torch.cat([product.new_ones(1), product[:-1]])
    betas = 1 - product / before
    variance = betas * (1 - before) / (1 - product)
    buffers = {
        "betas": betas,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": product.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - product).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - product).log(),
        "sqrt_recip_alphas_cumprod": product.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / product - 1).sqrt(),
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_variance": variance,
        "posterior_mean_coef1": betas * before.sqrt() / (1 - product),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - product),
    }
    return {name: buffer.float() for name, buffer in buffers.items()}


if __name__ == "__main__":
    sys.exit(main())
