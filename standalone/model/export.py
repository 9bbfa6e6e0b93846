"""What an SD1 file holds: the three networks' weights in half precision, and the schedule.

python -m standalone.model.export --work outputs/training --out standalone/model/small.pack

puts what has been trained together, as a pack or as a .safetensors file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from standalone.model.noise import alphas_cumprod

UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
TEXT = "cond_stage_model.transformer."
NETWORKS = (UNET, AUTOENCODER, TEXT)
POSITIONS = f"{TEXT}text_model.embeddings.position_ids"


def checkpoint_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names and buffers of an SD1 file from the three networks' weights under their names
    there: weights in half, the schedule in single precision.
    """
    kept = {n: w.half().contiguous() for n, w in weights.items() if n.startswith(NETWORKS)}
    return kept | {POSITIONS: torch.arange(77)[None]} | schedule_buffers(alphas_cumprod())


def schedule_buffers(alphas: torch.Tensor) -> dict[str, torch.Tensor]:
    """The buffers that ldm's DDPM registers, each (timesteps,), from the products of alphas."""
    product = alphas.double()
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


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when a stage has not been trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/training"))
    parser.add_argument("--out", type=Path, required=True, help="a .pack or .safetensors")
    args = parser.parse_args(argv)
    for name in ("unet.pt", "autoencoder.pt"):
        if not (args.work / name).exists():
            print(f"error: {args.work}: no {name}; train that stage first", file=sys.stderr)
            return 2
    from standalone.model.packed import SUFFIX, write_pack  # which needs this module

    weights = assemble(args.work)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part")
    if args.out.suffix == SUFFIX:
        write_pack(weights, part)
    else:
        save_file(checkpoint_weights(weights), part, metadata={"format": "pt"})
    part.replace(args.out)
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MiB")
    return 0


def assemble(work: Path) -> dict[str, torch.Tensor]:
    """The three networks' trained weights under their names in an SD1 file."""
    average = torch.load(work / "unet.pt", map_location="cpu")["average"]
    autoencoder = torch.load(work / "autoencoder.pt", map_location="cpu")["autoencoder"]
    # as `unet_stage` lists them
    prefixes = {"0.": UNET, "1.": TEXT}
    found = {prefixes[name[:2]] + name[2:]: weight for name, weight in average.items()}
    return found | {AUTOENCODER + name: weight for name, weight in autoencoder.items()}


if __name__ == "__main__":
    sys.exit(main())
