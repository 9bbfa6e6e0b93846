"""Trains the small model, stage by stage, on images that it draws itself.

    python -m standalone.model.train text --steps 500 --batch 64
    python -m standalone.model.train autoencoder --steps 800
    python -m standalone.model.train unet --size 128 --steps 2000 --batch 32
    python -m standalone.model.train unet --size 256 --steps 800 --batch 12 --rate 5e-4
    python -m standalone.model.train unet --size 256 256 256 512 --batch 8 8 8 2 --steps 1600

Every command is seeded, keeps its state in the working folder, can be stopped at any time and
resumes when it is run again. Text comes before the U-Net, which begins on small images, where a
step is cheap, and ends at the sizes of use, taken in turn. A GPU is used when there is one. With
--begin-from a stage without a state begins from a checkpoint instead of from random weights.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from standalone.attention import sdpa_attention
from standalone.checkpoint import CheckpointError, build, load
from standalone.console import replace_unknown_letters
from standalone.model import loop
from standalone.model.autoencoder_stage import train_autoencoder
from standalone.model.text_stage import train_text
from standalone.model.unet_stage import train_unet

CONFIG = Path(__file__).parent / "small.yaml"


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when the checkpoint to begin from cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("text", "autoencoder", "unet"))
    parser.add_argument("--work", type=Path, default=Path("outputs/training"))
    parser.add_argument("--steps", type=int, required=True, help="steps of this stage in all")
    parser.add_argument("--batch", type=int, nargs="+", default=[32], help="one, or one a size")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[128], help="sides of the images, in pixels"
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument(
        "--hold", type=float, default=loop.HOLD, help="part of the U-Net's steps at the peak rate"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the U-Net's images and noise")
    parser.add_argument("--begin-from", type=Path, help="a checkpoint whose weights to train on")
    replace_unknown_letters()
    args = parser.parse_args(argv)
    if len(args.batch) == 1:
        args.batch = args.batch * len(args.size)
    if len(args.batch) != len(args.size):
        parser.error(f"--batch: give one or {len(args.size)}, as --size; got {len(args.batch)}")
    if not 0 <= args.hold < 1:
        parser.error(f"--hold must be in [0, 1), got {args.hold:g}")
    if args.seed < 0:
        parser.error(f"--seed must be 0 or more, got {args.seed}")
    args.work.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = load(args.begin_from, config_path=CONFIG) if args.begin_from else build(CONFIG)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    model = model.to(device).train().requires_grad_(True)
    torch.manual_seed(0)
    shared = {"until": args.steps, "rate": args.rate}
    with sdpa_attention():
        if args.stage == "text":
            train_text(model, args.work, batch=args.batch[0], **shared)
        elif args.stage == "autoencoder":
            train_autoencoder(model, args.work, begun=args.begin_from is not None, **shared)
        else:
            train_unet(
                model,
                args.work,
                sizes=args.size,
                batches=args.batch,
                hold=args.hold,
                seed=args.seed,
                **shared,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
