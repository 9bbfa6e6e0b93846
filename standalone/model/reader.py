"""Reads a picture: which things it shows, in which style, how many, where, and on what.

A small network, trained by `reader_stage` on drawn scenes alone, so that it knows what they can be
and nothing else. What it answers is judged by `judges`. Its layers are also a measure of how
different two pictures look (`distance`), in the way of LPIPS (Zhang et al., 2018).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from standalone.model.scenes import ComposedScene, Scene, SimpleScene
from standalone.model.scenes.canvas import SHAPES
from standalone.model.scenes.grounds import GROUND_COLOURS, GROUNDS
from standalone.model.scenes.related import RelatedScene
from standalone.model.scenes.things import STYLES, THINGS
from standalone.model.scenes.wording import NUMBERS

SIDE = 128
"""In pixels, to which pictures are reduced."""
WEIGHTS = Path(__file__).with_name("reader.safetensors")
NAMES = (*(thing.name for thing in THINGS), *SHAPES)
QUESTIONS: dict[str, tuple] = {
    "first": NAMES,
    "last": NAMES,
    "style": STYLES,
    "count": tuple(NUMBERS),
    "arrangement": ("alone", "row", "column", "grid"),
    "ground": GROUNDS,
    "colours": tuple(GROUND_COLOURS),
}
"""What is asked, and the possible answers. "first" is the object furthest to the left, in a column
the uppermost, "last" the one at the other end. "colours" are the background's, one or two of
them."""
WIDTH, HEADS, LAYERS = 96, 4, 2
GRID = SIDE // 16


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.branch = nn.Sequential(*_convolution(width, inner), *_convolution(inner, width)[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, rows, columns) to the same."""
        return F.relu(x + self.branch(x))


def _convolution(width: int, out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(width, out, 3, stride, 1, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU()]


class Reader(nn.Module):
    """Convolutions to a grid of tokens, then two layers of attention between these and the
    questions, each of which is a token of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([
            nn.Sequential(*_convolution(3, 24, 2), *_convolution(24, 48, 2), Residual(48, 48)),
            nn.Sequential(*_convolution(48, WIDTH, 2), Residual(WIDTH, 32)),
            nn.Sequential(*_convolution(WIDTH, WIDTH, 2)),
        ])  # fmt: skip
        self.places = nn.Parameter(0.02 * torch.randn(GRID * GRID, WIDTH))
        self.questions = nn.Parameter(0.02 * torch.randn(len(QUESTIONS), WIDTH))
        layer = functools.partial(
            nn.TransformerEncoderLayer, WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.layers = nn.ModuleList(layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(WIDTH, len(answers)) for name, answers in QUESTIONS.items()}
        )

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """What each stage makes of pictures (batch, 3, height, width) in [0, 1]."""
        found, x = [], 2 * pictures - 1
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (batch, answers) for each question, of pictures (batch, 3, SIDE, SIDE) in [0,
        1]."""
        tokens = self.features(pictures)[-1].flatten(2).transpose(1, 2) + self.places
        asked = self.questions.expand(len(tokens), -1, -1)
        tokens = torch.cat([asked.to(tokens.dtype), tokens], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        states = self.norm(tokens[:, : len(QUESTIONS)])
        return {name: head(states[:, i]) for i, (name, head) in enumerate(self.heads.items())}


def what_is_shown(scene: Scene) -> dict[str, object]:
    """The right answers to `QUESTIONS` about a drawn scene; those that have none are left out."""
    if isinstance(scene, ComposedScene):
        found = [(thing.x, thing.y, THINGS[thing.thing].name) for thing in scene.things]
        shown: dict[str, object] = {"style": scene.style, "ground": scene.ground.kind}
        colours = scene.ground.colours
    elif isinstance(scene, RelatedScene):
        found = [(*thing.centre, thing.shape) for thing in scene.objects]
        shown, colours = {"ground": "plain"}, (scene.background,)
    elif isinstance(scene, SimpleScene):
        found = [(*place, scene.shape) for place in scene.positions]
        shown, colours = {"ground": "shade" if scene.shade else "plain"}, (scene.background,)
    else:
        raise TypeError(f"cannot tell what a {type(scene).__name__} shows")
    across, down = np.ptp([place[:2] for place in found], axis=0)
    arrangement = "row" if across > down else "column"
    if min(across, down) > 0.2:
        arrangement = "grid"
    along = sorted(found, key=lambda each: each[0 if across > down else 1])
    shown |= {"first": along[0][2], "count": len(found), "arrangement": arrangement}
    if len(found) > 1:
        shown["last"] = along[-1][2]
    else:
        shown["arrangement"] = "alone"
    return shown | ({"colours": frozenset(colours)} if colours else {})


@functools.cache
def load_reader(path: Path = WEIGHTS) -> Reader:
    """The trained reader, in single precision on the processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = Reader()
    reader.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return reader.eval().requires_grad_(False)


def reduced(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures, uint8 (size, size, 3) each, as (batch, 3, SIDE, SIDE) in [0, 1]."""
    values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(values, (SIDE, SIDE), mode="area")


@torch.no_grad()
def read(pictures: Sequence[np.ndarray], reader: Reader | None = None) -> dict[str, np.ndarray]:
    """Logits (pictures, answers) for each of `QUESTIONS`, of pictures uint8 (size, size, 3)."""
    answers = (reader or load_reader())(reduced(pictures))
    return {name: values.numpy() for name, values in answers.items()}


@torch.no_grad()
def distance(picture: np.ndarray, other: np.ndarray) -> float:
    """How different two pictures, uint8 (height, width, 3), look: 0 for the same.

    The mean over the reader's stages of the mean squared difference of their features, each place's
    scaled to length 1. The pictures aren't reduced: fine detail counts.
    """
    both = torch.from_numpy(np.stack([picture, other])).permute(0, 3, 1, 2).float() / 255
    total = 0.0
    stages = load_reader().features(both)
    for stage in stages:
        ours, theirs = F.normalize(stage, dim=1)
        total += (ours - theirs).square().sum(0).mean().item()
    return total / len(stages)
