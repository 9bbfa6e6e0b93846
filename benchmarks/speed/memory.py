"""The most memory that a call needs besides what is in use before it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch


def watch_memory(device: torch.device) -> Callable[[], int | None]:
    """Begin to watch; the answer, when called, is the peak since then, in bytes above the start.

    On CUDA what torch has allocated; on Linux the resident memory of the process, after what is
    free has been given back to the system; None elsewhere.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return lambda: torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is resident now
        before = _resident("VmRSS")
    except (OSError, AttributeError, StopIteration):
        return lambda: None
    return lambda: max(_resident("VmHWM") - before, 0)


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])
