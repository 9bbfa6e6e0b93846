"""Trains the text model alone to tell the parts of a caption apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from standalone.checkpoint import StableDiffusion
from standalone.model import loop
from standalone.model.scenes import COLOURS, COUNTS, SHAPES, TEXTURES, Scene, random_scene

QUESTIONS: dict[str, tuple] = {
    "colour": tuple(COLOURS),
    "background": tuple(COLOURS),
    "shape": SHAPES,
    "count": tuple(COUNTS),
    "texture": TEXTURES,
}
"""What the heads read from a state, and the possible answers: fields of `Scene`."""
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
    progress = loop.Progress("text")
    for step in loop.steps(start, until, optimizer, rate):
        generator = np.random.default_rng(step)
        scenes = [random_scene(generator) for _ in range(batch)]
        states = model.get_learned_conditioning([scene.caption for scene in scenes])
        # captions end before the 25th token; every later state has seen all of them
        read = states[torch.arange(batch), torch.from_numpy(generator.integers(25, 77, batch))]
        answers = {name: head(read) for name, head in heads.items()}
        wanted = {name: _wanted(name, scenes).to(read.device) for name in QUESTIONS}
        loss = sum(F.cross_entropy(answers[name], wanted[name]) for name in QUESTIONS)
        loop.descend(loss, optimizer, trained)
        progress.add(loss)
        if step % REPORT_EVERY == 0 or step == until:
            right = [(answers[n].argmax(1) == wanted[n]).float().mean().item() for n in QUESTIONS]
            progress.report(step, f", {100 * np.mean(right):.1f} % right")
            loop.save(work / "text.pt", step, optimizer, **modules)


def _wanted(name: str, scenes: list[Scene]) -> torch.Tensor:
    return torch.tensor([QUESTIONS[name].index(getattr(scene, name)) for scene in scenes])
