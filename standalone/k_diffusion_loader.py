"""Imports k-diffusion's samplers without the rest of its package.

`import k_diffusion` loads training tools that want torchvision, wandb and more; the samplers need
none of them. The names that they import and never use get a stand-in while they load.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from types import ModuleType

_UNUSED = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


def load_k_diffusion() -> tuple[ModuleType, ModuleType]:
    """k-diffusion's modules `sampling` and `external` (the denoiser wrappers).

    Raises `ModuleNotFoundError` when k-diffusion is not installed.
    """
    if "k_diffusion" not in sys.modules:
        spec = importlib.util.find_spec("k_diffusion")
        if spec is None:
            raise ModuleNotFoundError("the package k-diffusion is not installed")
        # with its spec, which diffusers looks for to see whether it is installed
        sys.modules["k_diffusion"] = importlib.util.module_from_spec(spec)
    stand_ins = [name for name in _UNUSED if name not in sys.modules]
    try:
        for name in stand_ins:
            sys.modules[name] = types.ModuleType(name)
            parent, _, child = name.rpartition(".")
            if parent in stand_ins:
                setattr(sys.modules[parent], child, sys.modules[name])
        sampling = importlib.import_module("k_diffusion.sampling")
        external = importlib.import_module("k_diffusion.external")
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return sampling, external
