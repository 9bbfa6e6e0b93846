"""Records what the hooks give for a fixed set of settings, so that a rebuilt core can be compared.

    python -m tests.recording         writes tests/recorded.json anew
    python -m tests.recording --new   adds what it lacks and keeps the rest

For every variant two calls of a small U-Net are recorded: the hash of their bytes, and of each the
sum and the sum of magnitudes. Bits depend on the machine and on torch, so the unpatched calls are
recorded too: where these have other bits, sums are compared instead. Of the plans, sums of their
numbers of keys, queries and projected tokens over many sites, grids and moments.

Recorded before the core was divided into rooms. What is listed as "redrawn" was recorded anew when
each draw got a name of its own: where the tile shift is random, or tokens are kept in windows.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import sys
from pathlib import Path

import torch

import slothful
from slothful import METHODS, Moment, PassClock, Settings, plan_site
from slothful.settings.methods import AGENTS, COMPARING
from standalone.attention import sdpa_attention
from standalone.odd_sizes import resized_skips
from tests.unets import LAYOUTS, make_unet, run

RECORDED = Path(__file__).with_name("recorded.json")
CALLS = ((600.0, (24, 32)), (340.0, (17, 23)))
"""The timestep and the (height, width) of the finest self-attention of each call; half for SDXL."""

WIDE = dict(in_depth_decay=0.3, out_depth_decay=0.3, keep_middle=False)
BLENDS = dict(in_k_blend=1, in_v_blend=1, out_k_blend=1, out_v_blend=1)
APART = dict(in_k_blend=0.3, in_v_blend=0.8, out_k_blend=1, out_v_blend=0)
TILES = dict(tile_size=16, base_tile_size=16, peak_tile_size=18, tiling_max_depth=3)
PLAIN = dict(method="Plain Tiles", plain_tile_size=64)
MERGING = dict(method="Token Merging", merge_max_downsample=8)
EVERYWHERE = dict(merge_attention=True, merge_cross=True, merge_mlp=True)
SAMPLES = dict(method="Token Downsampling", downsample_depth_2=1.7, downsample_depth_3=1.5)
MODES = [f"{n}D_{pool}" for n in (1, 2) for pool in ("AVG", "MAX", "NORM", "SIM")]
KEPT = ("first", "jittered", "merged")
OLDEST = METHODS[:6]
TILED = ("Near-sighted Tile", "Near-sighted Attention")


def variants() -> dict[str, dict]:
    """The settings by name; "pass" and "clock" are for `Application.begin_pass`."""
    found = {f"{m} by default": dict(method=m) for m in OLDEST}
    for kept, rounding in itertools.product(KEPT, ("stride", "smooth")):
        kind = dict(kept_token=kept, rounding=rounding, **WIDE)
        found[f"slothful, {kept}, {rounding}"] = kind
        found[f"near-sighted, {kept}, {rounding}"] = {"method": TILED[1], **TILES, **kind}
        found[f"tile, {kept}, {rounding}"] = {"method": TILED[0], **TILES, **kind}
    for mode, rounding in itertools.product(MODES, ("stride", "smooth")):
        modes = dict(in_mode=mode, out_mode=mode, rounding=rounding, **WIDE)
        found[f"{mode}, {rounding}"] = modes | BLENDS
        found[f"{mode}, {rounding}, apart"] = modes | APART
    for mode in MODES:
        modes = dict(method=TILED[1], in_mode=mode, out_mode=mode, **WIDE, **TILES)
        found[f"near-sighted, {mode}"] = modes | BLENDS
        found[f"near-sighted, {mode}, apart"] = modes | APART | dict(tile_halo=2)
    for method, shift, halo in itertools.product(TILED, ("none", "alternating"), (0, 3)):
        shifted = dict(method=method, tile_shift=shift, tile_halo=halo, **TILES, **WIDE)
        found[f"{method}, {shift}, halo {halo}"] = shifted | dict(kept_token="first")
        found[f"{method}, {shift}, halo {halo}, no global keys"] = shifted | dict(
            kept_token="first", global_ratio=0, base_global_ratio=0, peak_global_ratio=0
        )
    for shift, halo in itertools.product(("none", "alternating"), (0, 2)):
        found[f"plain, {shift}, halo {halo}"] = PLAIN | dict(tile_shift=shift, tile_halo=halo)
    found["plain, no depth"] = PLAIN | dict(plain_scale_depth=False, plain_swap=1)
    found["plain, faint"] = PLAIN | dict(time_decay=4, plain_max_depth=2, keep_middle=False)
    for keys, weighs in itertools.product((True, False), (True, False)):
        kind = dict(merge_keys_only=keys, merge_proportional=weighs)
        found[f"merging, keys {keys}, weighs {weighs}"] = MERGING | kind
        found[f"merging, keys {keys}, weighs {weighs}, everywhere"] = MERGING | EVERYWHERE | kind
    others = dict(merge_attention=False, merge_cross=True, merge_mlp=True)
    found["merging before the others"] = MERGING | others
    strides = dict(merge_stride_x=3, merge_stride_y=1, merge_random=False, merge_depth_decay=0.5)
    found["merging, first destinations"] = MERGING | strides
    ratios = dict(merge_ratio=0.2, merge_ratio_hires=0.6, merge_ratio_img2img=0.7)
    for name in ("base", "hires", "img2img"):
        found[f"merging in {name}"] = MERGING | ratios | {"pass": name}
        found[f"limited in {name}"] = dict(passes="hires", min_size=160) | WIDE | {"pass": name}
    for mode, kept in itertools.product(("nearest", "area"), KEPT):
        found[f"downsampling, {mode}, {kept}"] = SAMPLES | dict(
            downsample_mode=mode, kept_token=kept
        )
    weights = dict(block_weights={"IN04": 0.5, "OUT04": 2, "IN05": 0}, **WIDE)
    for method in OLDEST:
        found[f"{method}, weights"] = dict(method=method, **weights, **TILES)
        found[f"{method}, where it pays"] = dict(method=method, only_where_it_pays=True, **TILES)
    progress = dict(time_axis="pass progress", peak_time=0.5, time_decay=3, **WIDE)
    found["pass progress"] = progress
    found["pass progress by a clock"] = progress | {"clock": (900.0, 700.0, 600.0, 340.0, 20.0)}
    for method, kept in itertools.product(TILED, KEPT):
        kind = dict(method=method, tile_shift="random", kept_token=kept, **TILES, **WIDE)
        found[f"{method}, random, {kept}"] = kind
    found["plain, random"] = PLAIN | dict(tile_shift="random")
    # only added to at the end: by its place, each variant has its layout
    agents = dict(method=AGENTS, **WIDE)
    found[f"{AGENTS} by default"] = dict(method=AGENTS)
    found["agents, cells"] = agents | dict(agent_pool="cells", agent_shortcut=0.2)
    found["agents, weights"] = agents | dict(block_weights={"IN04": 0.5, "OUT04": 2, "IN05": 0})
    few = dict(channels_depth_1=0.5, channels_depth_2=0.25, channels_depth_3=0.75)
    for method in COMPARING:
        found[f"{method}, fewer channels"] = dict(method=method, **few, **TILES)
    return found


def settings_of(variant: dict) -> Settings:
    """The settings of a variant."""
    return Settings(**{name: v for name, v in variant.items() if name not in ("pass", "clock")})


def outputs(unet: torch.nn.Module, variant: dict | None) -> list[torch.Tensor]:
    """What the calls give under a variant, None for no settings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad(), sdpa_attention(), resized_skips():
            if variant is None:
                return _calls(unet)
            with slothful.applied(unet, settings_of(variant)) as application:
                clock = PassClock(variant["clock"]) if "clock" in variant else None
                application.begin_pass(variant.get("pass", "base"), clock)
                return _calls(unet)
    finally:
        torch.set_num_threads(threads)


def _calls(unet: torch.nn.Module) -> list[torch.Tensor]:
    part = 1 if 1 in unet.attention_resolutions else 2
    return [run(unet, t, height=h // part, width=w // part) for t, (h, w) in CALLS]


def noted(tensors: list[torch.Tensor]) -> dict:
    """The hash of the bytes of tensors, and two sums of each."""
    hashed = hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()[:16]
    sums = [[float(t.double().sum()), float(t.double().abs().sum())] for t in tensors]
    return {"hash": hashed, "sums": [[round(value, 6) for value in pair] for pair in sums]}


@functools.cache
def all_sites() -> tuple[slothful.Site, ...]:
    """Those of SD1 and of SDXL."""
    unets = (make_unet(layout) for layout in ("sd1", "sdxl"))
    return tuple(found.site for unet in unets for found in slothful.find_sites(unet))


def plan_numbers(variant: dict) -> list[int]:
    """(sum of keys, of queries, of projected tokens, hash of all) over sites, grids, moments."""
    settings, numbers = settings_of(variant), []
    grids = ((64, 64), (37, 53), (16, 97), (5, 3), (1, 40))
    for site, (height, width), (step, timestep) in itertools.product(
        all_sites(), grids, ((0, 981.0), (1, 640.0), (3, 21.0))
    ):
        grid = -(-height // site.depth), -(-width // site.depth)
        moment = Moment(timestep, 1 - timestep / 1000, step, variant.get("pass", "base"))
        plan = plan_site(settings, moment, site, grid)
        if plan is None:
            numbers.append((0, 0, 0))
        else:
            numbers.append((plan.key_count, plan.query_count, plan.projected_count))
    hashed = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]
    return [*map(sum, zip(*numbers)), hashed]


def cases() -> list[tuple[str, str]]:
    """(variant, layout): the defaults in all layouts, each other variant in one of them."""
    named = variants()
    return [
        (name, layout)
        for index, name in enumerate(named)
        for number, layout in enumerate(LAYOUTS)
        if name.endswith("by default") or index % len(LAYOUTS) == number
    ]


def record(keep: dict) -> dict:
    """All of it; what `keep` holds already is taken from there."""
    unets = {layout: make_unet(layout) for layout in LAYOUTS}
    made = {"torch": torch.__version__}
    own = {layout: noted(outputs(unet, None)) for layout, unet in unets.items()}
    made["unpatched"] = keep.get("unpatched", own)
    named, old = variants(), keep.get("outputs", {})
    made["outputs"] = {
        key: old.get(key) or noted(outputs(unets[layout], named[name]))
        for name, layout in cases()
        for key in [f"{name} / {layout}"]
    }
    if own != made["unpatched"]:  # the rest was recorded on a machine with other bits
        for key in made["outputs"].keys() - old.keys():
            made["outputs"][key]["hash"] = ""
    old = keep.get("plans", {})
    made["plans"] = {n: old.get(n) or plan_numbers(variant) for n, variant in named.items()}
    made["redrawn"] = keep.get("redrawn", [])
    return made


def write(made: dict) -> None:
    """One line for each record."""
    lines = []
    for key, value in made.items():
        text = json.dumps(value)
        if isinstance(value, dict):
            parts = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in value.items()]
            text = "{\n" + ",\n".join(parts) + "\n}"
        lines.append(f"{json.dumps(key)}: {text}")
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    kept = json.loads(RECORDED.read_text(encoding="utf-8")) if "--new" in sys.argv else {}
    write(record(kept))
