"""The most memory that a call needs besides what is in use before it."""

from __future__ import annotations

from collections.abc import Callable

import torch


def peak_memory(device: torch.device, call: Callable[[], object]) -> int | None:
    """Run `call`; the most memory that its tensors took at a time, in bytes above the start.

    On CUDA what torch has allocated. On a CPU torch's own MemTracker adds up the tensors that live
    at a time, which is exact and the same every time, but does not see what an operation needs
    within itself, and refuses modules whose parameters cannot be trained. None where this torch
    has no tracker (before 2.6) or the device is another.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType
    except ImportError:
        MemTracker = None  # noqa: N806 (the name of a class)
    if device.type != "cpu" or MemTracker is None:
        call()
        return None
    tracker = MemTracker()
    with tracker:
        call()
    peak = tracker.get_tracker_snapshot("peak")[device]
    # it counts the weights of a module as well, once that has been called
    return peak["Total"] - peak[_MemRefType.PARAM] - peak[_MemRefType.BUFFER]
