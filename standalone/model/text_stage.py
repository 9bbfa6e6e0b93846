"""Trains the text model alone to tell the parts of a caption apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from standalone.checkpoint import StableDiffusion
from standalone.model import loop
from standalone.model.scenes import Scene, random_scene
from standalone.model.scenes.canvas import COLOURS, SHAPES
from standalone.model.scenes.faces import MOODS
from standalone.model.scenes.gradients import COURSES
from standalone.model.scenes.lines import ARRANGEMENTS
from standalone.model.scenes.related import DIRECTIONS, LINES
from standalone.model.scenes.simple import TEXTURES
from standalone.model.scenes.textures import WEAVES
from standalone.model.scenes.wording import NUMBERS

QUESTIONS: dict[str, tuple] = {
    "colour": tuple(COLOURS),
    "second_colour": tuple(COLOURS),
    "third_colour": tuple(COLOURS),
    "background": tuple(COLOURS),
    "shape": SHAPES,
    "second_shape": SHAPES,
    "third_shape": SHAPES,
    "relation": (*DIRECTIONS, *LINES),
    "count": tuple(NUMBERS),
    "texture": TEXTURES,
    "mood": tuple(MOODS),
    "hair": (*COLOURS, "no"),
    "arrangement": tuple(ARRANGEMENTS),
    "weave": tuple(WEAVES),
    "course": tuple(COURSES),
}
"""What the heads read from a state, and the possible answers: the `parts` of scenes."""
NO_ANSWER = -100
"""For a question that a caption does not answer; cross entropy passes over it."""
REPORT_EVERY = 50


def train_text(model: StableDiffusion, work: Path, *, until: int, batch: int, rate: float) -> None:
    """Linear heads read a scene's parts from the states after the caption's end.

    The U-Net attends to these states, and then finds the answers ready to use; noise prediction
    alone is a weak teacher of grammar. The heads are thrown away; state in `work`/text.pt.
    """
    text_model = model.cond_stage_model.transformer
    width = text_model.config.hidden_size
    heads = {name: nn.Linear(width, len(answers)) for name, answers in QUESTIONS.items()}
    heads = nn.ModuleDict(heads).to(text_model.device)
    trained = nn.ModuleList([text_model, heads])
    optimizer = loop.make_optimizer(trained)
    modules = {"text_model": text_model, "heads": heads}
    start = loop.resume(work / "text.pt", optimizer, **modules)
    progress = loop.Progress("text", work)
    for step in loop.steps(start, until, optimizer, rate):
        generator = np.random.default_rng(step)
        scenes = [random_scene(generator) for _ in range(batch)]
        states = model.get_learned_conditioning([scene.caption for scene in scenes])
        # captions end before the 25th token; every later state has seen all of them
        read = states[torch.arange(batch), torch.from_numpy(generator.integers(25, 77, batch))]
        answers = {name: head(read) for name, head in heads.items()}
        wanted = {name: _wanted(name, scenes).to(read.device) for name in QUESTIONS}
        losses = [_loss(answers[name], wanted[name]) for name in QUESTIONS]
        loss = torch.stack(losses).sum() / batch
        loop.descend(loss, optimizer, trained)
        progress.add(loss)
        if step % REPORT_EVERY == 0 or step == until:
            asked = {name: wanted[name] != NO_ANSWER for name in QUESTIONS}
            right = [answers[n].argmax(1)[asked[n]] == wanted[n][asked[n]] for n in QUESTIONS]
            progress.report(step, f", {100 * torch.cat(right).float().mean():.1f} % right")
            loop.save(work / "text.pt", step, optimizer, **modules)


def _loss(answers: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(answers, wanted, ignore_index=NO_ANSWER, reduction="sum")


def _wanted(name: str, scenes: list[Scene]) -> torch.Tensor:
    """The index of each scene's answer, (scenes,)."""
    said = [scene.parts.get(name) for scene in scenes]
    return torch.tensor([NO_ANSWER if s is None else QUESTIONS[name].index(s) for s in said])
