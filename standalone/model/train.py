"""Trains the small model, stage by stage, on pictures that it draws itself.

    python -m standalone.model.fetch_sprites
    python -m standalone.model.train autoencoder --seconds 120
    python -m standalone.model.train text --seconds 20
    python -m standalone.model.train unet --seconds 400
    python -m standalone.model.train unet --from standalone/model/small.pack --work outputs/more \\
        --seconds 540 --rate 6e-4
    python -m standalone.model.export --work outputs/more --out standalone/model/small.pack

Every command is seeded, keeps its state in the working folder, can be stopped at any time and
resumes when it is run again. It ends after --steps or after --seconds, towards which the rate
falls. A GPU is used when there is one. With --from the U-Net's stage begins from a checkpoint or a
pack instead of from the other stages. Needed are torch, numpy, pillow and safetensors.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from standalone.model import loop
from standalone.model.autoencoder import Autoencoder
from standalone.model.autoencoder_stage import train_autoencoder
from standalone.model.export import AUTOENCODER, POSITIONS, TEXT, UNET
from standalone.model.packed import SUFFIX, CheckpointError, read_pack
from standalone.model.text_model import TextModel
from standalone.model.text_stage import train_text
from standalone.model.unet import UNet
from standalone.model.unet_stage import train_unet

RATES = {"autoencoder": 7e-4, "text": 2e-3, "unet": 1e-3}
SIZES, SHARES = (256, 512), (0.7, 0.3)
BATCHES = {"cuda": (256, 64), "cpu": (8, 2)}
HOLD = 0.4
AUTOENCODER_STATE = "autoencoder.pt"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 2 when there is nothing usable to begin from."""
    parser = _parser()
    args = parser.parse_args(argv)
    if math.isinf(args.steps) and math.isinf(args.seconds):
        parser.error("give --steps or --seconds")
    if args.begin and args.stage != "unet":
        parser.error("--from is for the stage unet")
    if not 0 <= args.hold < 1:
        parser.error(f"--hold must be in [0, 1), got {args.hold:g}")
    if not len(args.size) == len(args.batch or args.size) == len(args.share):
        parser.error("--size, --batch and --share need as many numbers each")
    args.work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    budget = loop.Budget(args.steps, args.seconds)
    shared = dict(
        rate=RATES[args.stage] if args.rate is None else args.rate, seed=args.seed, device=device,
        workers=args.workers if args.workers is not None else default_workers(device),
    )  # fmt: skip
    try:
        networks = new_networks(args.seed)
        if args.stage == "autoencoder":
            train_autoencoder(networks["autoencoder"], args.work, budget, **shared)
        elif args.stage == "text":
            train_text(networks["text"], args.work, budget, **shared)
        else:
            if args.begin is None:
                begin_from_stages(networks, args.work)
            else:
                begin_from(networks, args.begin)
                weights = {"autoencoder": networks["autoencoder"].state_dict()}
                torch.save(weights, args.work / AUTOENCODER_STATE)
            train_unet(
                **networks, work=args.work, budget=budget, sizes=args.size, shares=args.share,
                batches=args.batch or BATCHES[device.type], hold=args.hold,
                begun=args.begin is not None, compiled=args.compile, **shared,
            )  # fmt: skip
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("stage", choices=tuple(RATES))
    add("--work", type=Path, default=Path("outputs/training"))
    add("--steps", type=float, default=math.inf, help="steps of this stage in all")
    add("--seconds", type=float, default=math.inf, help="seconds of this stage in all")
    add("--rate", type=float, help=f"peak learning rate ({RATES})")
    add("--hold", type=float, default=HOLD, help="part of the U-Net's stage at the peak rate")
    add("--size", type=int, nargs="+", default=SIZES, help="the U-Net's, in pixels")
    add("--batch", type=int, nargs="+", help="pictures of each size a step")
    add("--share", type=float, nargs="+", default=SHARES, help="of the steps, for each size")
    add("--seed", type=int, default=0, help="of scenes, noise and first weights")
    add("--workers", type=int, help="processes that make scenes")
    add("--compile", action="store_true", help="compile the U-Net's parts (takes minutes)")
    add("--from", dest="begin", type=Path, help="a checkpoint or a pack whose weights to train on")
    return parser


def default_workers(device: torch.device) -> int:
    """Processes that make scenes: none where the processor trains itself."""
    return min(6, max((os.cpu_count() or 2) // 2 - 1, 1)) if device.type == "cuda" else 0


def new_networks(seed: int) -> dict[str, nn.Module]:
    """The three networks with random weights that follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {"unet": UNet(), "text": TextModel(), "autoencoder": Autoencoder()}


def begin_from(networks: dict[str, nn.Module], checkpoint: Path) -> None:
    """Give the networks the weights of a checkpoint or a pack. Raises `CheckpointError`."""
    weights = checkpoint_of(checkpoint)
    for name, prefix in (("unet", UNET), ("text", TEXT), ("autoencoder", AUTOENCODER)):
        own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        try:
            networks[name].load_state_dict(own)
        except RuntimeError as error:
            raise CheckpointError(f"{checkpoint}: not the small model's weights") from error


def begin_from_stages(networks: dict[str, nn.Module], work: Path) -> None:
    """Give autoencoder and text model the weights of their stages. Raises `CheckpointError`."""
    path = work / AUTOENCODER_STATE
    if not path.exists():
        raise CheckpointError(f"{work}: no {path.name}; train that stage first, or give --from")
    networks["autoencoder"].load_state_dict(torch.load(path)["autoencoder"])
    if (work / "text.pt").exists():
        networks["text"].load_state_dict(torch.load(work / "text.pt")["text"])


def checkpoint_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint or a pack. Raises `CheckpointError`."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    weights = read_pack(path) if path.suffix == SUFFIX else load_file(path)
    return {name: weight for name, weight in weights.items() if name != POSITIONS}


if __name__ == "__main__":
    sys.exit(main())
