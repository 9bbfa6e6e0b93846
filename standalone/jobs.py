"""Generation in the background, one job at a time, with its progress."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator

import torch
from PIL import Image

from standalone.processing import Processed, Processing, process_images, to_images
from standalone.runner import ScriptRunner

_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a job is: the pass, its step of `steps`, and what the picture looks like by now."""

    name: str
    step: int
    steps: int
    preview: Image.Image | None = None


def run_job(p: Processing, runner: ScriptRunner) -> Iterator[Progress | Processed]:
    """The job's progress, step by step, and at last what it gave. Raises what it raises."""
    from modules import shared

    events: queue.Queue[Progress | Processed | BaseException] = queue.Queue()
    sketch = _Sketch(p)
    p.preview = sketch.draw
    p.progress = lambda name, step, steps: events.put(Progress(name, step, steps, sketch.take()))

    def work() -> None:
        with _ONE_AT_A_TIME:  # here, as a page may be left while its job goes on
            shared.state.interrupted = False
            try:
                events.put(process_images(p, runner))
            except BaseException as error:
                events.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        event = events.get()
        if isinstance(event, BaseException):
            raise event
        yield event
        if isinstance(event, Processed):
            return


def interrupt_job() -> None:
    """Let the job that runs end after its present step."""
    from modules import shared

    shared.state.interrupted = True


def end_jobs() -> None:
    """Interrupt the job that runs, and those that wait for it, and wait for their end."""
    from modules import shared

    while not _ONE_AT_A_TIME.acquire(timeout=0.1):
        interrupt_job()  # again, as a job that waited begins without
    shared.state.interrupted = False  # what is made without a job looks at it too
    _ONE_AT_A_TIME.release()


class _Sketch:
    """Pictures of unfinished latents, so seldom that they take a tenth of the time at most."""

    def __init__(self, p: Processing):
        self._p = p
        self._not_before = 0.0
        self._picture: Image.Image | None = None

    def draw(self, latents: torch.Tensor) -> None:
        """Decode the first of the latents (batch, 4, height / 8, width / 8), if it is time."""
        begin = time.monotonic()
        if begin >= self._not_before:
            self._picture = to_images(self._p.sd_model.decode_first_stage(latents[:1]))[0]
            end = time.monotonic()
            self._not_before = end + 9 * (end - begin)

    def take(self) -> Image.Image | None:
        """The picture since the last call, None if there is no new one."""
        picture, self._picture = self._picture, None
        return picture
