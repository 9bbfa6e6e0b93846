"""Measures the machine in the background, one measurement at a time, and says how far it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import slothful
from slothful_webui.costs import CostsFile, Machine
from slothful_webui.sampling import TITLE
from slothful_webui.scope import NOT_PYTORCH

NO_MODEL = "no model is loaded yet"

Call = Callable[[Callable[[Any, Any, Any], None]], None]
"""Makes a small image and, before its first call of the U-Net, calls what it is given with (U-Net,
positional arguments, keyword arguments) of this call.
"""

logger = logging.getLogger(__name__)


class MeasuringError(RuntimeError):
    """The machine cannot be measured; the message says why."""


def measure_machine(
    within_a_call: Call,
    machine: Callable[[Any], Machine],
    costs_file: CostsFile,
    progress: Callable[[float], None] = lambda share: None,
) -> slothful.MachineCosts:
    """Measure the loaded U-Net and keep the costs. `machine` describes what computes it. Raises
    `MeasuringError`, and `OSError` where the disk refuses.
    """
    found: list[tuple[Machine, slothful.UnetShape, slothful.MachineCosts]] = []

    def act(unet: Any, args: Any, kwargs: Any) -> None:
        costs = slothful.measure(unet, args, kwargs, progress)
        found.append((machine(unet), slothful.shape_of(unet), costs))

    try:
        within_a_call(act)
    except slothful.UnsupportedModelError as error:
        raise MeasuringError(str(error)) from error
    if not found:
        raise MeasuringError(NOT_PYTORCH)
    costs_file.save(*found[0])
    return found[0][2]


class Measurement:
    """The one that runs, or the last."""

    def __init__(self, measure: Callable[[Callable[[float], None]], object]):
        """`measure` is told where to say which share is done; it may raise."""
        self._measure = measure
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"running": False, "share": 0.0, "error": None}

    def state(self) -> dict[str, Any]:
        """Its "running", the "share" that is done in 0..1, and "error": why the last one failed,
        None if it did not.
        """
        with self._lock:
            return dict(self._state)

    def start(self) -> dict[str, Any]:
        """Begin, unless one runs; the state."""
        with self._lock:
            if not self._state["running"]:
                self._state = {"running": True, "share": 0.0, "error": None}
                threading.Thread(target=self._run, daemon=True).start()
            return dict(self._state)

    def _run(self) -> None:
        begin, error = time.monotonic(), None
        try:
            self._measure(self._go_on)
            logger.info("%s: measured in %.0f s", TITLE, time.monotonic() - begin)
        except Exception as failure:
            error = str(failure) or type(failure).__name__
            logger.warning("%s: this machine could not be measured: %s", TITLE, error)
        with self._lock:
            self._state = {"running": False, "share": 1.0, "error": error}

    def _go_on(self, share: float) -> None:
        with self._lock:
            self._state["share"] = share
