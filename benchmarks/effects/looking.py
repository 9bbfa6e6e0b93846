"""Where the small model's self-attention looks, and which of its sites decide.

python -m benchmarks.effects.looking                        at 256x256 and 512x512
python -m benchmarks.effects.looking --size 512x512 --images 2

While images of held-out captions of all kinds are sampled in full, in five of the calls and of the
rows of the prompt: how far away the tokens are that a query attends to, relative to the mean
distance of all (1: as if it looked everywhere alike); the share of its attention that stays in its
own tile of 16x16 tokens, beside the tile's share of the image; and of how many keys it makes use,
exp(entropy) of those there are. Then, for drawn scenes with noise, the relative error of the
U-Net's output with Slothful Attention everywhere, at one site alone, and with a block weight of 0
there. Writes looking.csv, a row for each head, to --out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import slothful
from benchmarks.pictures.images import Images
from benchmarks.pictures.sampling import Picture
from benchmarks.pictures.variants import Play, Variant
from benchmarks.reductions.__main__ import error_of, noisy_calls
from benchmarks.speed.options import read_size
from benchmarks.speed.report import markdown
from slothful import Settings
from slothful.planning.site import Grid
from standalone.attention import sdpa_attention
from standalone.checkpoint import SMALL, CheckpointError, load
from standalone.console import replace_unknown_letters
from standalone.model.scenes import random_scene

FIRST_SEED = 43_000_000
"""Of the captions and of the noise; training, evaluation and the other studies use others."""
STEPS, CFG_SCALE, LOOKED_AT = 20, 5.0, (2, 6, 10, 14, 18)
TILE = 16


class Look(NamedTuple):
    """Means over a head's queries: distance relative to that of all tokens, share of the attention
    in the own tile, and the part of the keys that is made use of; all from 0 on, the last two up
    to 1.
    """

    distance: float
    own_tile: float
    keys_used: float


def look_of(query: torch.Tensor, key: torch.Tensor, grid: Grid, tile: int = TILE) -> Look:
    """Of a head's queries and keys (tokens, channels), the tokens being rows of a (height, width)
    grid.
    """
    weights = (query.float() @ key.float().mT * query.shape[-1] ** -0.5).softmax(-1)
    away, together = _places(grid, tile)
    away, together = away.to(weights.device), together.to(weights.device)
    entropy = -torch.xlogy(weights, weights).sum(-1)
    return Look(
        ((weights * away).sum(-1).mean() / away.mean()).item(),
        (weights * together).sum(-1).mean().item(),
        (entropy.exp() / weights.shape[-1]).mean().item(),
    )


@functools.lru_cache(maxsize=4)
def _places(grid: Grid, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each pair of tokens (tokens, tokens) the distance in tokens, and whether they are in one
    tile.
    """
    rows, columns = (each.flatten() for each in
                     torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij"))  # fmt: skip
    places = torch.stack([rows, columns], 1).float()
    tiles = torch.div(places, tile, rounding_mode="floor")
    return torch.cdist(places, places), (tiles[:, None] == tiles[None]).all(-1).float()


def tile_share(grid: Grid, tile: int = TILE) -> float:
    """What of a grid a token's own tile is, on average."""
    return _places(grid, tile)[1].mean().item()


class Looking(Variant):
    """No patch; keeps the looks of every head, by site and grid."""

    def __init__(self) -> None:
        self.looks: dict[tuple[str, Grid, int], list[Look]] = defaultdict(list)

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        now = [0]
        with contextlib.ExitStack() as stack:
            for found in slothful.find_sites(unet):
                grid = [(0, 0)]
                inputs = functools.partial(_keep_grid, found, grid)
                handle = found.transformer.register_forward_pre_hook(inputs, with_kwargs=True)
                stack.callback(handle.remove)
                for attention in found.attentions:
                    seen: dict[str, torch.Tensor] = {}
                    for name in ("to_q", "to_k"):
                        keep = functools.partial(_keep, seen, name)
                        handle = getattr(attention, name).register_forward_hook(keep)
                        stack.callback(handle.remove)
                    look = functools.partial(self._look, found.site.name, grid, seen, now)
                    stack.callback(attention.register_forward_hook(look).remove)
            yield Play(functools.partial(now.__setitem__, 0), lambda: ())

    def _look(
        self, site: str, grid: list[Grid], seen: dict[str, torch.Tensor], now: list[int],
        attention: Any, args: Any, output: Any,
    ) -> None:  # fmt: skip
        if now[0] in LOOKED_AT:
            # the positive rows come first
            query, key = (
                seen[name].chunk(2)[0].unflatten(-1, (attention.heads, -1))
                for name in ("to_q", "to_k")
            )
            for head in range(attention.heads):
                looks = self.looks[site, grid[0], head]
                looks += [look_of(q[:, head], k[:, head], grid[0]) for q, k in zip(query, key)]
        seen.clear()


def _keep(seen: dict[str, torch.Tensor], name: str, module: Any, args: Any, output: Any) -> None:
    seen[name] = output


def _keep_grid(found: Any, grid: list[Grid], module: Any, args: Any, kwargs: Any) -> None:
    grid[0] = found.grid_in(args, kwargs)


@torch.no_grad()
def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    parser = argparse.ArgumentParser(
        prog="benchmarks.effects.looking", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", type=Path, default=SMALL, help="an SD1 checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", nargs="+", default=["256x256", "512x512"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("outputs/looking"))
    args = parser.parse_args(arguments)
    try:
        sizes = [read_size(size) for size in args.size]
        model = load(args.model, device=args.device)
    except (CheckpointError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = []
    named = {f"{width}x{height}": (width, height) for width, height in sizes}
    for name, size in named.items():
        looking = Looking()
        for seed in range(FIRST_SEED, FIRST_SEED + args.images):
            caption = random_scene(np.random.default_rng(seed)).caption
            Images(model, "Euler", STEPS, size, CFG_SCALE).made(looking, [caption], [seed])
        own = [_row(name, *key, looks) for key, looks in looking.looks.items()]
        rows += own
        print(f"{name}, {args.images} images", as_table(own), sep="\n\n", end="\n\n")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "looking.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(path, end="\n\n")
    for name, size in named.items():
        print(name, _weights(model, args.images, size), sep="\n\n", end="\n\n")
    return 0


def _row(size: str, site: str, grid: Grid, head: int, looks: Sequence[Look]) -> dict[str, Any]:
    means = Look(*np.mean(looks, axis=0))
    return {
        "size": size, "site": site, "tokens": f"{grid[1]}x{grid[0]}",
        "head": head, "tile_share": f"{tile_share(grid):.4f}",
        **{name: f"{value:.4f}" for name, value in means._asdict().items()},
    }  # fmt: skip


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: a line for each site, the mean over heads and in brackets the least and
    the most of a head.
    """
    lines = []
    for site in dict.fromkeys(row["site"] for row in rows):
        own = [row for row in rows if row["site"] == site]
        line = [site, own[0]["tokens"], f"{float(own[0]['tile_share']):.0%}"]
        for name in Look._fields:
            values = [float(row[name]) for row in own]
            form = ".2f" if name == "distance" else ".0%"
            line.append(f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})")
        lines.append(line)
    head = ["site", "tokens", "a tile of 16", "distance", "attention in the own tile", "keys used"]
    return markdown(head, lines)


def _weights(model: Any, scenes: int, size: tuple[int, int]) -> str:
    """A Markdown table: the U-Net's error with a method at one site, and with all others."""
    unet = model.model.diffusion_model
    names = [found.site.name for found in slothful.find_sites(unet)]
    strong = dict(time_decay=0, in_depth_decay=0, out_depth_decay=0, keep_middle=False,
                  min_size=0, in_slothful=9, out_slothful=9)  # fmt: skip
    with sdpa_attention():
        calls = list(noisy_calls(model, scenes, size[0]))
        plain = [unet(x, t, context=text) for x, t, text in calls]

        def error(weights: dict[str, float]) -> float:
            settings = Settings.from_mapping({**strong, "block_weights": weights})
            return error_of(model, settings, calls, plain)

        lines = [["all", f"{error({}):.4f}", ""]]
        for name in names:
            alone = error({each: float(each == name) for each in names})
            lines.append([name, f"{alone:.4f}", f"{error({name: 0.0}):.4f}"])
    return markdown(["site", "error, this one alone", "error, block weight 0 here"], lines)


if __name__ == "__main__":
    sys.exit(main())
