"""The kernels that a GPU ran, as a profile has them."""

from __future__ import annotations

import torch
from torch.profiler import profile


def kernels_of(profiled: profile) -> tuple[float, int]:
    """How long a GPU's kernels took (s), and how many there were."""
    kind = torch.autograd.DeviceType.CUDA
    took = [e.time_range.elapsed_us() for e in profiled.events() if e.device_type == kind]
    return sum(took) / 1e6, len(took)
