"""What the training stages share: their budget and rate, resumable states, averages, losses."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

WARM_UP = 100
"""Steps in which the rate rises."""
LEAST_RATE = 0.02
"""Of the peak, at the end."""
AVERAGE = 0.998
"""How much of the averaged weights a step keeps."""
REPORT_SECONDS, SAVE_SECONDS = 10.0, 60.0


class Budget:
    """A number of steps, or seconds of training, whichever ends first.

    `step` and `spent` are what has been used, of which the latter goes on while the clock runs.
    """

    def __init__(self, steps: float = math.inf, seconds: float = math.inf):
        self.steps, self.seconds = steps, seconds
        self.step, self._spent_before, self._since = 0, 0.0, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds."""
        return self._spent_before + time.monotonic() - self._since

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return min(max(self.step / self.steps, self.spent / self.seconds), 1.0)

    def resume(self, step: int, spent: float) -> None:
        """Go on after so much, the clock beginning now."""
        self.step, self._spent_before, self._since = step, spent, time.monotonic()

    def __iter__(self) -> Iterator[int]:
        """The steps that are left: 1 and so on, at least one."""
        while self.progress < 1 or not self.step:
            self.step += 1
            yield self.step


def set_rate(
    optimizer: torch.optim.Optimizer, peak: float, step: int, progress: float, hold: float
) -> None:
    """The learning rate: it rises for `WARM_UP` steps, holds for that part of the budget, and
    falls.

    Groups with a "share" get that part of it.
    """
    past = max(progress - hold, 0.0) / (1 - hold)
    falling = 0.5 * (1 + math.cos(math.pi * past))
    rate = peak * min(1.0, step / WARM_UP) * (LEAST_RATE + (1 - LEAST_RATE) * falling)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def make_optimizer(trained: Any, device: torch.device) -> torch.optim.Optimizer:
    """AdamW with a shorter memory of squares than usual, for short training."""
    fused = device.type == "cuda"
    return torch.optim.AdamW(trained, betas=(0.9, 0.99), weight_decay=0.01, fused=fused)


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step down the gradient, whose norm is kept at 1 or less."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


class Average:
    """The exponential average of a module's weights, which is what a stage results in."""

    def __init__(self, trained: nn.Module):
        self.module = copy.deepcopy(trained).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, trained: nn.Module, step: int, begun: bool) -> None:
        """Add a step's weights; unless training has `begun` from good ones, the first count
        more."""
        keep = AVERAGE if begun else min(AVERAGE, (1 + step) / (10 + step))
        weights = [p for p in trained.parameters()]
        torch._foreach_lerp_([p for p in self.module.parameters()], weights, 1 - keep)


class Progress:
    """Prints the mean of the losses since the last line, and the pace.

    The losses are kept in losses.csv of the working folder as well, a line each: stage, step, loss.
    """

    def __init__(self, stage: str, work: Path):
        self.stage = stage
        self._history = work / "losses.csv"
        self._losses: list[torch.Tensor] = []
        self._since = time.monotonic()

    def add(self, loss: torch.Tensor) -> None:
        """Count one step with this loss (a scalar)."""
        self._losses.append(loss.detach())

    def report(self, step: int, more: str = "") -> None:
        """Print one line and begin anew."""
        if not self._losses:
            return
        pace = (time.monotonic() - self._since) / len(self._losses)
        loss = float(torch.stack(self._losses).mean())
        print(f"{self.stage} {step}: loss {loss:.4f}, {pace:.3f} s a step{more}", flush=True)
        with self._history.open("a", encoding="utf-8") as history:
            history.write(f"{self.stage},{step},{loss:.5f}\n")
        self._losses, self._since = [], time.monotonic()

    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.monotonic() - self._since > REPORT_SECONDS


class State:
    """What a stage goes on from: modules, optimizer and budget, in one file.

    `chunks` counts the scenes' chunks that have been used.
    """

    def __init__(
        self, path: Path, budget: Budget, optimizer: torch.optim.Optimizer, **modules: nn.Module
    ):
        self.path, self._budget, self._optimizer, self._modules = path, budget, optimizer, modules
        self.chunks = 0
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Take up the state that was saved, if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path, map_location="cpu")
        self._optimizer.load_state_dict(state["optimizer"])
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        self._budget.resume(state["step"], state["spent"])
        self.chunks = state["chunks"]
        print(f"{self.path.name}: resumed at step {state['step']}", flush=True)

    def save(self) -> None:
        """Write it: whole or not at all, also when stopped while writing."""
        state = {name: module.state_dict() for name, module in self._modules.items()}
        state |= {"step": self._budget.step, "spent": self._budget.spent, "chunks": self.chunks}
        torch.save(state | {"optimizer": self._optimizer.state_dict()}, self.part)
        self.part.replace(self.path)
        self._saved = time.monotonic()

    @property
    def part(self) -> Path:
        """Where it is written first."""
        return self.path.with_suffix(".part")

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved > SAVE_SECONDS


def half_of(device: torch.device) -> torch.dtype:
    """What networks compute in while they are trained there."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def seed_of(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
