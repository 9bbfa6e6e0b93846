"""How far each reduction is from the U-Net as it is, on the small model.

python -m benchmarks.reductions
python -m benchmarks.reductions --methods --size 512 --scenes 4

For drawn scenes with noise of several levels, the relative error of the U-Net's output,
|changed - plain| / |plain|, the part of the keys that is left and that of self-attention's
arithmetic, where the settings act. Writes reductions.csv to --out; with --methods, of every method
at several strengths, methods.csv.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import slothful
from slothful import Settings
from slothful.planning.arithmetic import attention_operations
from slothful.settings.methods import (
    AGENT_POOLS,
    AGENTS,
    DOWNSAMPLING,
    KEPT,
    MODES,
    NEAR_SIGHTED,
    NEAR_SIGHTED_TILE,
    NO_METHOD,
    TOKEN_MERGING,
)
from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, StableDiffusion, load
from standalone.console import replace_unknown_letters
from standalone.model.scenes import draw, random_simple_scene

TIMESTEPS = (900.0, 700.0, 500.0, 300.0, 100.0)
_FLAT = dict(time_decay=0.0)
_STRONG = dict(**_FLAT, in_slothful=9, out_slothful=9, in_depth_decay=1, out_depth_decay=1)


def variants() -> dict[str, dict[str, Any]]:
    """The settings that are compared, by what they show."""
    found: dict[str, dict[str, Any]] = {
        f"one token of 9, {kept}": {**_STRONG, "kept_token": kept} for kept in KEPT
    }
    for blend in (0.5, 1.0):
        blends = {f"{side}_{part}_blend": blend for side in ("in", "out") for part in "kv"}
        for mode in MODES:
            name = f"{mode}, blend {blend:g}"
            found[name] = {**_STRONG, **blends, "in_mode": mode, "out_mode": mode}
    for ratio in (0.0, 0.5):
        for halo in (0, 2, 4):
            for kept in ("jittered", "merged") if ratio else ("jittered",):
                found[f"tiles of 16, global {ratio:g} {kept}, halo {halo}"] = dict(
                    method="Near-sighted Tile", tile_size=16, global_ratio=ratio, tile_halo=halo,
                    kept_token=kept,
                )  # fmt: skip
    merging = dict(method="Token Merging", merge_ratio=0.7, merge_max_downsample=2, **_FLAT)
    unweighted = {**merging, "merge_proportional": False}
    found["merging 0.7"] = {**unweighted, "merge_keys_only": False}
    found["merging 0.7, keys only"] = unweighted
    found["merging 0.7, keys only, proportional"] = merging
    for kept, mode in (("jittered", "nearest"), ("merged", "nearest"), ("jittered", "area")):
        found[f"downsampling 2, {mode} {kept}"] = dict(
            method="Token Downsampling", downsample_mode=mode, downsample_depth_2=2.0,
            kept_token=kept, **_FLAT,
        )  # fmt: skip
    return found


def methods() -> dict[str, dict[str, Any]]:
    """Every method at several strengths, at all levels but for the middle block."""
    decays: dict[str, Any] = dict(**_FLAT, in_depth_decay=1, out_depth_decay=1)
    found: dict[str, dict[str, Any]] = {}
    for strength in (2, 4, 9, 16, 36):
        strengths = dict(**decays, in_slothful=strength, out_slothful=strength)
        found[f"Slothful Attention, strength {strength}"] = strengths
        for pool in AGENT_POOLS:
            own = dict(**strengths, method=AGENTS, agent_pool=pool)
            found[f"Agent Attention, strength {strength}, {pool}"] = own
    strength = dict(**decays, in_slothful=9, out_slothful=9)
    for shortcut in (0.05, 0.1):
        own = dict(**strength, method=AGENTS, agent_shortcut=shortcut)
        found[f"Agent Attention, strength 9, shortcut {shortcut:g}"] = own
    for ratio in (0.2, 0.5, 1.0):
        own = dict(method=NEAR_SIGHTED_TILE, global_ratio=ratio)
        found[f"Near-sighted Tile, global {ratio:g}"] = own
    for each in (4, 12):
        own = dict(_FLAT, method=NEAR_SIGHTED, in_slothful=each, out_slothful=each)
        found[f"Near-sighted Attention, strength {each}"] = {**own, "peak_tile_size": 16}
    for ratio in (0.3, 0.5, 0.7):
        own = dict(_FLAT, method=TOKEN_MERGING, merge_ratio=ratio, merge_max_downsample=2)
        found[f"Token Merging, {ratio:g}"] = own
    for factor in (1.5, 2.0, 3.0):
        own = dict(_FLAT, method=DOWNSAMPLING, downsample_depth_1=factor, downsample_depth_2=factor)
        found[f"Token Downsampling, {factor:g}"] = own
    for share in (0.75, 0.5, 0.25):
        few = dict.fromkeys(("channels_depth_1", "channels_depth_2", "channels_depth_3"), share)
        found[f"fewer channels, {share:g}"] = {**few, "method": NO_METHOD}
        beside = f"Slothful Attention, strength 9, and fewer channels, {share:g}"
        found[beside] = {**few, **strength}
    return found


@torch.no_grad()
def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.reductions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", type=Path, default=SMALL, help="an SD1 checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", action="store_true", help="every method's strengths")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="side of the images, in pixels")
    parser.add_argument("--out", type=Path, default=Path("outputs/reductions"))
    replace_unknown_letters()
    args = parser.parse_args(arguments)
    model = load(args.model, device=args.device)
    rows = []
    print("| reduction | keys left | arithmetic left | relative error |\n| --- | --- | --- | --- |")
    with sdpa_attention():
        calls = list(noisy_calls(model, args.scenes, args.size))
        plain = [model.model.diffusion_model(x, t, context=text) for x, t, text in calls]
        for name, values in (methods() if args.methods else variants()).items():
            left, work, error = _measure(model, Settings.from_mapping(values), calls, plain)
            rows.append((name, left, work, error))
            print(f"| {name} | {left:.0%} | {work:.0%} | {error:.4f} |", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{'methods' if args.methods else 'reductions'}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ("reduction", "keys_left", "arithmetic_left", "relative_error")
        csv.writer(file).writerows([columns, *rows])
    print(f"\n{path}")
    return 0


def noisy_calls(
    model: StableDiffusion, count: int, size: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """(latents, timesteps, text) of one call for each level of noise."""
    scenes = [random_simple_scene(np.random.default_rng(seed)) for seed in range(count)]
    pictures = torch.from_numpy(np.stack([draw(scene, size) for scene in scenes]))
    device = model.alphas_cumprod.device
    pictures = pictures.permute(0, 3, 1, 2).to(device) / 127.5 - 1
    latents = model.encode_first_stage(pictures)
    text = model.get_learned_conditioning([scene.caption for scene in scenes])
    for timestep in TIMESTEPS:
        generator = torch.Generator().manual_seed(int(timestep))
        noise = torch.randn(latents.shape, generator=generator).to(device)
        alpha = model.alphas_cumprod[int(timestep)]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        yield noisy, torch.full((count,), timestep, device=device), text


def error_of(model, settings, calls, plain) -> float:
    """The mean relative error under settings, of such calls and what they give without."""
    return _measure(model, settings, calls, plain)[2]


def _measure(model, settings, calls, plain) -> tuple[float, float, float]:
    """Where the settings act, (part of the keys left, of self-attention's arithmetic); the mean
    relative error.
    """
    left, errors, work, whole = [], [], 0.0, 0.0
    unet = model.model.diffusion_model
    sites = {found.site.name: found.site for found in slothful.find_sites(unet)}
    with slothful.applied(unet, settings) as application:
        for (x, timesteps, text), expected in zip(calls, plain):
            changed = unet(x, timesteps, context=text)
            errors += ((changed - expected).norm() / expected.norm()).reshape(-1).tolist()
            for name, plan in application.plans.items():
                if plan is None:
                    continue
                left.append(plan.key_count / plan.tokens)
                sizes = plan.grid, sites[name].channels, sites[name].inner, sites[name].layers
                work += attention_operations(plan, *sizes)
                whole += attention_operations(None, *sizes)
    if not left:  # nowhere
        return 1.0, 1.0, statistics.mean(errors)
    return statistics.mean(left), work / whole, statistics.mean(errors)


if __name__ == "__main__":
    sys.exit(main())
