"""What ComfyUI's `model_sampling` of a model knows: it turns sigmas (of any shape) into timesteps
by `timestep(sigma)`, and back by `sigma(timestep)`.
"""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_sampling import EPS, V_PREDICTION

from .. import slothful


def clock_of(sampling: Any, sigmas: torch.Tensor) -> slothful.PassClock | None:
    """The clock of a pass, exact for every sampler; None where it has no step. `sigmas`:
    (steps + 1,), the last one 0 if all noise is removed.
    """
    timesteps = sampling.timestep(sigmas[sigmas > 0]).tolist()
    return slothful.PassClock(tuple(timesteps)) if timesteps else None


def has_usual_timesteps(sampling: Any) -> bool:
    """Whether timesteps run from 0 to 1000; those of EDM are logarithms."""
    return float(sampling.timestep(sampling.sigma_max)) > slothful.TRAIN_STEPS / 2


def prediction_of(sampling: Any) -> slothful.Prediction:
    """What the model predicts, for whole calls that sleep. Raises `UnsupportedModelError`."""
    kinds = {"velocity": V_PREDICTION, "noise": EPS}
    known = (name for name, each in kinds.items() if isinstance(sampling, each))
    kind = next(known, None) if has_usual_timesteps(sampling) else None
    if kind is None:
        raise slothful.UnsupportedModelError(
            "whole calls cannot sleep with this model: it does not predict noise or velocity at "
            "timesteps from 0 to 1000"
        )
    sigmas = sampling.sigma(torch.arange(float(slothful.TRAIN_STEPS)))
    return slothful.Prediction(kind, tuple((1.0 / (sigmas**2 + 1.0)).tolist()))
