"""Where a method saves time: fits `slothful.planning.arithmetic` to times of single blocks.

python -m benchmarks.speed.calibrate

Times one transformer block at many sizes with each method and without, and fits
time saved = saved operations / throughput + per score * saved scores of all heads
             - fixed - matching, where similar tokens are looked for - per value * moved values
by least squares of relative errors; prints the constants in operations.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time

import numpy as np
import torch
from ldm.modules.attention import SpatialTransformer
from scipy.optimize import nnls
from torch import nn
from tqdm import tqdm

import slothful
from benchmarks.speed.machine import machine_name
from benchmarks.speed.options import DTYPES
from slothful import Settings
from slothful.planning.arithmetic import moved_values, saved_operations, saved_scores, searches
from slothful.settings.methods import SUBSAMPLING
from standalone.attention import sdpa_attention

GRIDS = ((8, 8), (12, 12), (16, 16), (20, 20), (24, 24), (32, 32), (40, 40))
CHANNELS = (64, 160, 320)
HEADS = 8
STRENGTHS = (2.0, 4.0, 9.0)
HOW = ({}, dict(kept_token="jittered"), dict(in_k_blend=1, in_v_blend=1))
"""Joined, subsampled and pooled."""


class OneSite(nn.Module):
    """A U-Net of one transformer block, with the names by which sites are found."""

    def __init__(self, channels: int):
        super().__init__()
        transformer = SpatialTransformer(channels, HEADS, channels // HEADS, context_dim=64)
        self.input_blocks = nn.ModuleList([nn.Sequential(transformer)])
        self.middle_block, self.output_blocks = nn.Sequential(), nn.ModuleList()

    def forward(self, x, timesteps, context):
        return self.input_blocks[0][0](x, context)


@torch.inference_mode()
def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    options = dict(device=args.device, dtype=DTYPES[args.dtype])
    rows = []
    cases = list(itertools.product(CHANNELS, GRIDS))
    with sdpa_attention():
        for channels, grid in tqdm(cases, leave=False):
            unet = OneSite(channels).to(**options).eval()
            x, text = torch.randn(1, channels, *grid, **options), torch.randn(1, 77, 64, **options)
            rows += _measure(unet, (x, torch.tensor([600.0]), text), channels, args.rounds)
    *columns, gained = (np.array(column) for column in zip(*rows))
    weight = 1 / np.maximum(np.abs(gained), np.median(np.abs(gained)) / 10)
    columns = np.stack(columns, axis=1)
    # none of them can be negative
    constants, _ = nnls(columns * weight[:, None], gained * weight)
    right = (columns @ constants > 0) == (gained > 0)
    per_operation, *others = constants
    print(f"{machine_name(args.device)}, {args.dtype}")
    print(f"{1 / per_operation / 1e9:.1f} billion operations a second")
    for name, constant in zip(("PER_SCORE", "FIXED", "MATCHING", "PER_VALUE"), others):
        print(f"{name} = {constant / per_operation:.3g}")
    losses = int((gained < 0).sum())
    print(f"right about gain or loss in {right.mean():.0%} of {len(rows)} cases, {losses} losses")
    return 0


def _measure(unet, inputs, channels, rounds):
    """What each method and strength that acts saves and, negative, adds: operations, scores, hooks,
    looking for like tokens, moved values; and the seconds gained.
    """
    variants = [Settings(in_slothful=1)]
    for method, strength, how in itertools.product(SUBSAMPLING, STRENGTHS, HOW):
        variants.append(
            Settings(method=method, in_slothful=strength, **how,
                     tile_size=16, base_tile_size=16, peak_tile_size=16)
        )  # fmt: skip
    seconds = [[] for _ in variants]
    plans = [None] * len(variants)
    for turn in range(rounds + 1):
        for index, settings in enumerate(variants):
            with slothful.applied(unet, settings) as application:
                begin = time.perf_counter()
                unet(*inputs)
                if inputs[0].is_cuda:
                    torch.cuda.synchronize()
                elapsed = time.perf_counter() - begin
                plans[index] = application.plans["IN00"]
            if turn:
                seconds[index].append(elapsed)
    none, *others = (statistics.median(times) for times in seconds)
    for plan, elapsed in zip(plans[1:], others):
        if plan is not None:
            yield (
                saved_operations(plan, channels),
                HEADS * saved_scores(plan),
                -1,
                -searches(plan),
                -moved_values(plan, channels),
                none - elapsed,
            )


if __name__ == "__main__":
    sys.exit(main())
