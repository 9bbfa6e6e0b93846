"""What the training stages share: learning rate, one descent, resumable states, averages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from standalone.model.scenes import Scene, draw

HOLD = 2 / 3
"""Part of a stage in which the learning rate stays before it falls."""


class Progress:
    """Prints the mean of the losses since the last line, and the pace.

    The losses are kept in losses.csv of the working folder as well, a line each: stage, step, loss.
    """

    def __init__(self, stage: str, work: Path):
        self.stage = stage
        self._history = work / "losses.csv"
        self._losses: list[float] = []
        self._since = time.monotonic()

    def add(self, loss: torch.Tensor) -> None:
        """Count one step with this loss (a scalar)."""
        self._losses.append(loss.item())

    def report(self, step: int, more: str = "") -> None:
        """Print one line and begin anew."""
        pace = (time.monotonic() - self._since) / max(len(self._losses), 1)
        loss = np.mean(self._losses)
        print(f"{self.stage} {step}: loss {loss:.4f}, {pace:.2f} s a step{more}", flush=True)
        with self._history.open("a", encoding="utf-8") as history:
            history.write(f"{self.stage},{step},{loss:.5f}\n")
        self._losses, self._since = [], time.monotonic()


def steps(
    start: int, end: int, optimizer: torch.optim.Optimizer, rate: float, hold: float = HOLD
) -> Iterator[int]:
    """Count from start + 1 to end; the rate rises for 50 steps and falls after `hold` of them all.

    `hold` lies in [0, 1); at 0 the rate falls from the start, for a stage that goes on from weights
    whose rate had fallen already.
    """
    for step in range(start + 1, end + 1):
        rising, falling = step / 50, (end - step) / end / (1 - hold)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, rising, 0.02 + 0.98 * falling)
        yield step


def make_optimizer(trained: nn.Module) -> torch.optim.Optimizer:
    """AdamW with a shorter memory of squares than usual, for short training."""
    return torch.optim.AdamW(trained.parameters(), betas=(0.9, 0.99), weight_decay=0.01)


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, trained: nn.Module) -> None:
    """One step down the gradient, whose norm is kept at 1 or less."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def update_average(average: nn.Module, trained: nn.Module, step: int) -> None:
    """Move the exponential average of the weights; it spans 200 steps, fewer at first."""
    decay = min(0.995, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), trained.parameters()):
        kept.lerp_(new, 1 - decay)


def autocast(device: torch.device) -> torch.autocast:
    """Half precision with bfloat16, which needs no loss scaling."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def pictures(scenes: list[Scene], size: int) -> torch.Tensor:
    """The scenes as a batch (scenes, 3, size, size) in [-1, 1]."""
    drawn = np.stack([draw(scene, size) for scene in scenes])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def save(path: Path, step: int, optimizer: torch.optim.Optimizer, **modules: nn.Module) -> None:
    """Write a state to resume from: whole or not at all, also when stopped while writing."""
    state = {name: module.state_dict() for name, module in modules.items()}
    torch.save(
        state | {"step": step, "optimizer": optimizer.state_dict()}, path.with_suffix(".part")
    )
    path.with_suffix(".part").replace(path)


def resume(path: Path, optimizer: torch.optim.Optimizer, **modules: nn.Module) -> int:
    """Take up a state that `save` wrote; the number of steps done, 0 without a state."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu")
    optimizer.load_state_dict(state["optimizer"])
    for name, module in modules.items():
        module.load_state_dict(state[name])
    print(f"{path.name}: resumed at step {state['step']}", flush=True)
    return state["step"]
