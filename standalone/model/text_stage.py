"""Trains the text model alone to tell the parts of a caption apart."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from standalone.model import loop
from standalone.model.captioned import NO_ANSWER, QUESTIONS, captioned_chunk
from standalone.model.streams import Stream
from standalone.model.text_model import WIDTH, TextModel
from standalone.model.words import LENGTH


def train_text(
    text: TextModel,
    work: Path,
    budget: loop.Budget,
    *,
    rate: float,
    seed: int,
    workers: int,
    device: torch.device,
    batch: int = 256,
) -> None:
    """Linear heads read a scene's parts from the states after the caption's end.

    The U-Net attends to these states, and then finds the answers ready to use; noise prediction
    alone is a weak teacher of grammar. The heads are thrown away; state in `work`/text.pt.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(a)) for name, a in QUESTIONS.items()})
    text, heads = text.to(device), heads.to(device)
    optimizer = loop.make_optimizer([*text.parameters(), *heads.parameters()], device)
    state = loop.State(work / "text.pt", budget, optimizer, text=text, heads=heads)
    state.resume()
    make = functools.partial(captioned_chunk, batch)
    stream = Stream(make, seed, workers, state.chunks)
    progress, right = loop.Progress("text", work), torch.zeros(2, device=device)
    try:
        for step in budget:
            chunk = stream.next()
            state.chunks += 1
            loop.set_rate(optimizer, rate, step, budget.progress, hold=0.0)
            states = text(torch.from_numpy(chunk.tokens).to(device))
            generator = torch.Generator().manual_seed(loop.seed_of(seed, step))
            first = torch.from_numpy(chunk.lengths) - 1  # from here on a state has seen everything
            part = torch.rand(len(first), generator=generator)
            at = first + (part * (LENGTH - first)).long()
            read = states[torch.arange(len(first), device=device), at.to(device)]
            wanted = torch.from_numpy(chunk.answers).to(device)
            loss = torch.stack(
                [_loss(heads[name](read), wanted[:, i], right) for i, name in enumerate(QUESTIONS)]
            ).mean()
            loop.descend(loss, optimizer)
            progress.add(loss)
            if progress.due() or state.due() or budget.progress >= 1:
                share = float(right[0] / right[1].clamp(min=1))
                progress.report(step, f", {100 * share:.1f} % right")
                right.zero_()
                state.save()
    finally:
        stream.close()


def _loss(logits: torch.Tensor, wanted: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The mean over the captions that answer; adds to the numbers of right and of all answers."""
    asked = wanted != NO_ANSWER
    right += torch.stack([((logits.argmax(1) == wanted) & asked).sum(), asked.sum()])
    loss = F.cross_entropy(logits, wanted, ignore_index=NO_ANSWER, reduction="sum")
    return loss / asked.sum().clamp(min=1)
