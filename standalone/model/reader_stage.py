"""Trains the reader on drawn scenes, and says how often it is right about others.

    python -m standalone.model.reader_stage --seconds 80 --out outputs/reader
    python -m standalone.model.reader_stage --steps 4000 --from reader.safetensors --out FOLDER

The weights, reader.safetensors, and the figures, reader.json, are written to the folder; --from
goes on from such weights. A GPU is used when there is one. The scenes follow from the seed; how
many there are follows from the steps, or from the time.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from standalone.model.reader import QUESTIONS, SIDE, Reader, what_is_shown
from standalone.model.scenes import random_scene
from standalone.model.scenes.batch import Batch, batch_of
from standalone.model.scenes.drawing import draw_batch
from standalone.model.scenes.sprites import Sprites, load_sprites
from standalone.model.streams import Stream

Labels = dict[str, torch.Tensor]
NO_ANSWER = -100
"""For a question without an answer; cross entropy passes over it."""
HELD_OUT_SEED = 40_000_000
"""Of the scenes that figures are of; the streams of training have a pair of smaller numbers."""
HELD_OUT_SIZE = 256
"""In which these are drawn, to be reduced as samples are."""
RATES = {"cuda": 3e-3, "cpu": 1e-3}
"""The highest rate: of a GPU's large batches, and of a processor's small ones."""
REUSE = 8
"""How often a picture is seen on average; then the newest take the place of the oldest."""


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="FILE", help="weights to go on from"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after that time")
    parser.add_argument("--steps", type=int, default=10**9, help="end after that many steps")
    parser.add_argument("--batch", type=int, help="pictures a step (a GPU 2048, else 64)")
    parser.add_argument("--pool", type=int, help="pictures kept (a GPU 98304, else 8192)")
    parser.add_argument("--held-out", type=int, default=4096, help="scenes that figures are of")
    parser.add_argument("--workers", type=int, help="processes that make scenes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if math.isinf(args.seconds) and args.steps == 10**9:
        parser.error("give --seconds or --steps")
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    batch = args.batch or (2048 if cuda else 64)
    workers = (
        args.workers
        if args.workers is not None
        else (max(min(14, (os.cpu_count() or 2) - 2), 1) * cuda)
    )
    # a GPU's host launches as much for few pictures as for many
    make = functools.partial(labelled_chunk, 2048 if cuda else 64)
    stream = Stream(make, args.seed, workers)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        reader, figures = train_reader(
            stream, seconds=args.seconds, steps=args.steps, batch=batch, seed=args.seed,
            pool=args.pool or (98304 if cuda else 8192), device=device, start=args.start,
        )  # fmt: skip
    finally:
        stream.close()
    path = args.out / "reader.safetensors"
    weights = {name: weight.cpu() for name, weight in reader.state_dict().items()}
    save_file({n: w.half() if w.is_floating_point() else w for n, w in weights.items()}, path)
    figures |= {"held_out": args.held_out, "right": accuracy(reader, args.held_out, device)}
    (args.out / "reader.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))
    return 0


def labelled_chunk(count: int, seed: int, number: int) -> tuple[Batch, dict[str, np.ndarray]]:
    """That many scenes and the right answers about them."""
    generator = np.random.default_rng([seed, number])
    return labelled([random_scene(generator) for _ in range(count)])


def labelled(scenes: list) -> tuple[Batch, dict[str, np.ndarray]]:
    """The scenes as arrays, and for each question the answers' places (scenes,), of the colours
    instead their shares (scenes, colours).
    """
    answers = {name: np.full(len(scenes), NO_ANSWER) for name in QUESTIONS}
    answers["colours"] = np.zeros((len(scenes), len(QUESTIONS["colours"])), np.float32)
    for index, scene in enumerate(scenes):
        shown = what_is_shown(scene)
        for colour in shown.pop("colours", ()):
            answers["colours"][index, QUESTIONS["colours"].index(colour)] = 1
        for name, answer in shown.items():
            answers[name][index] = QUESTIONS[name].index(answer)
    shares = answers["colours"]
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    return batch_of(scenes), answers


class Pictures:
    """The newest pictures of a stream, uint8, with their answers."""

    def __init__(self, stream: Stream, capacity: int, sprites: Sprites, device: str):
        self._stream, self._sprites, self._device = stream, sprites, device
        self._values = torch.empty((capacity, 3, SIDE, SIDE), dtype=torch.uint8, device=device)
        self._answers: Labels = {}
        self.drawn = 0

    def add(self) -> None:
        """Draw one chunk more."""
        batch, answers = self._stream.next()
        place = self.drawn % len(self._values)
        here = slice(place, min(place + len(batch), len(self._values)))
        part = slice(0, here.stop - here.start)
        drawn = draw_batch(batch[part], SIDE, self._sprites, self._device)
        self._values[here] = (drawn * 255 + 0.5).to(torch.uint8)
        for name, values in answers.items():
            if name not in self._answers:
                shape = (len(self._values), *values.shape[1:])
                kind = torch.from_numpy(values).dtype
                self._answers[name] = torch.empty(shape, dtype=kind, device=self._device)
            self._answers[name][here] = torch.from_numpy(values[part]).to(self._device)
        self.drawn += len(drawn)

    def sample(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, Labels]:
        """Pictures (count, 3, SIDE, SIDE) in [0, 1], and their answers."""
        there = min(self.drawn, len(self._values))
        index = torch.randint(there, (count,), generator=generator, device=self._device)
        answers = {name: values[index] for name, values in self._answers.items()}
        return self._values[index].float() / 255, answers


def train_reader(
    stream: Stream, *, seconds: float, steps: int, batch: int, pool: int, device: str, seed: int,
    start: Path | None = None,
) -> tuple[Reader, dict[str, object]]:  # fmt: skip
    """A reader trained until that time or number of steps, ready to use, and what was done. With
    `start` from the weights in that file.
    """
    begin = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = Reader()
    if start:
        reader.load_state_dict(load_file(start))
    reader = reader.to(device, memory_format=torch.channels_last).train()
    cuda = device == "cuda"
    optimizer = torch.optim.AdamW(
        reader.parameters(), betas=(0.9, 0.99), weight_decay=0.02, fused=cuda
    )
    pictures = Pictures(stream, pool, load_sprites(device), device)
    generator = torch.Generator(device).manual_seed(seed)
    step, since, told, losses = 0, time.monotonic(), time.monotonic(), []
    left = max(seconds - (since - begin), 1)
    while (progress := max(step / steps, (time.monotonic() - since) / left)) < 1:
        while pictures.drawn < max(step * batch / REUSE, 4 * batch):
            pictures.add()
        clean, answers = pictures.sample(batch, generator)
        rising = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = (
                RATES[device] * rising * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
            )
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            said = reader(degraded(clean, generator).contiguous(memory_format=torch.channels_last))
        loss = loss_of(said, answers)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            losses.append(loss.item())  # also keeps the host from running far ahead
            if time.monotonic() - told > 10:
                told = time.monotonic()
                pace = step * batch / (told - since)
                print(f"step {step}: loss {np.mean(losses):.4f}, {pace:.0f} pictures/s, "
                      f"{pictures.drawn} drawn", flush=True)  # fmt: skip
                losses = []
    figures: dict[str, object] = {
        "steps": step, "batch": batch, "seen": step * batch, "drawn": pictures.drawn,
        "seconds": round(time.monotonic() - begin, 1), "seed": seed,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "parameters": sum(p.numel() for p in reader.parameters()),
    }  # fmt: skip
    return reader.to(memory_format=torch.contiguous_format).eval(), figures


def loss_of(said: dict[str, torch.Tensor], wanted: Labels) -> torch.Tensor:
    """Cross entropy, a mean for each question over the pictures that answer it, in all."""
    total = []
    for name, logits in said.items():
        if name == "colours":
            each = -(F.log_softmax(logits.float(), 1) * wanted[name]).sum(1)
            total.append(each.sum() / wanted[name].sum().clamp(min=1))
        else:
            found = F.cross_entropy(
                logits.float(), wanted[name], ignore_index=NO_ANSWER, reduction="sum"
            )
            total.append(found / (wanted[name] != NO_ANSWER).sum().clamp(min=1))
    return torch.stack(total).sum()


def degraded(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures as a model may make them: half of them less sharp, all with some noise and tint."""
    device, count = pictures.device, len(pictures)
    parts = list(pictures.chunk(8))
    for index, side in enumerate((112, 96, 80, 64)[: len(parts)]):
        less = F.interpolate(parts[index], (side, side), mode="area")
        parts[index] = F.interpolate(less, (SIDE, SIDE), mode="bilinear")
    pictures = torch.cat(parts)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator, device=device)

    noise = torch.randn(pictures.shape, generator=generator, device=device)
    gain, tint = 1 + 0.06 * (random(1, 1, 1) - 0.5), 0.04 * (random(3, 1, 1) - 0.5)
    return (pictures * gain + tint + 0.04 * random(1, 1, 1) * noise).clamp(0, 1)


@torch.no_grad()
def accuracy(reader: Reader, count: int, device: str = "cpu") -> dict[str, float]:
    """For each question, the percentage of right answers about that many scenes not trained on."""
    right: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for first in range(0, count, 256):
        seeds = range(HELD_OUT_SEED + first, HELD_OUT_SEED + min(first + 256, count))
        batch, answers = labelled([random_scene(np.random.default_rng(seed)) for seed in seeds])
        drawn = draw_batch(batch, HELD_OUT_SIZE, load_sprites(device), device)
        for name, logits in reader(F.interpolate(drawn, (SIDE, SIDE), mode="area")).items():
            right[name] += _right(name, logits.cpu().numpy(), answers[name])
    return {name: round(100 * float(np.mean(values)), 2) for name, values in right.items()}


def _right(name: str, logits: np.ndarray, wanted: np.ndarray) -> list[float]:
    if name != "colours":
        asked = wanted != NO_ANSWER
        return list((logits.argmax(1) == wanted)[asked])
    order = (-logits).argsort(1)
    found = []
    for places, shares in zip(order, wanted):
        named = set(np.nonzero(shares)[0])
        if named:
            found.append(float(set(places[: len(named)]) == named))
    return found


if __name__ == "__main__":
    sys.exit(main())
