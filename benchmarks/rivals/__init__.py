"""What others do not compute again from step to step, in textbook form, around a U-Net.

    with RIVALS["DeepCache 3"](unet) as rival:
        rival.begin_pass(20)  # calls of the U-Net in the picture
        samples = sampler(...)

Written for comparison from the methods' papers and descriptions: one U-Net of ldm, rows of a batch
as the webui has them (positive ones, then as many negative ones in one call), nothing else at work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from benchmarks.rivals.deepcache import DeepCache
from benchmarks.rivals.easycache import EasyCache
from benchmarks.rivals.rival import Rival
from benchmarks.rivals.spectrum import Spectrum
from benchmarks.rivals.tgate import TGate

RIVALS: dict[str, Callable[[nn.Module], Rival]] = {
    "DeepCache 3": DeepCache,
    "DeepCache 4": functools.partial(DeepCache, interval=4),
    "DeepCache 5": functools.partial(DeepCache, interval=5),
    "DeepCache 3, branch 1": functools.partial(DeepCache, branch=1),
    "T-GATE": TGate,
    "EasyCache": EasyCache,
    "Spectrum": Spectrum,
}
"""By name, with the values that their authors start from."""

__all__ = ["RIVALS", "DeepCache", "EasyCache", "Rival", "Spectrum", "TGate"]
