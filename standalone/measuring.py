"""Measures this machine from the command line, as the page's button does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from standalone.processing import InputError
from standalone.runner import find_host_modules


def measure(model: Any, presets: Path | None = None) -> Path:
    """Time the parts of a model's U-Net and keep them beside the presets in a folder, by default
    the page's own; the file. Raises `InputError` where that is not possible, and `OSError`.
    """
    find_host_modules()
    from modules import paths, shared

    from slothful_webui import engine
    from slothful_webui.costs import CostsFile
    from slothful_webui.measuring import MeasuringError, measure_machine

    shared.sd_model = model
    costs_file = CostsFile(presets or Path(paths.data_path) / "slothful-presets")
    begin = time.monotonic()
    try:
        measure_machine(engine.within_a_call, engine.machine_of, costs_file, _show)
    except MeasuringError as error:
        raise InputError(f"this machine cannot be measured: {error}") from error
    machine = engine.machine_of(engine.unet_of(model))
    print(
        f"{machine.device}, torch {machine.torch}, {machine.precision}: measured in "
        f"{time.monotonic() - begin:.0f} s\n{costs_file.path}"
    )
    return costs_file.path


def _show(share: float) -> None:
    if sys.stderr.isatty():
        end = "\n" if share >= 1 else ""
        print(f"\rmeasuring: {share:.0%}", end=end, file=sys.stderr, flush=True)
