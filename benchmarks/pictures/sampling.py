"""The calls of the U-Net that samplers make for one picture."""

from __future__ import annotations

import dataclasses
import functools
import types
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from slothful import Moment, PassClock, noise_level_time
from standalone.runner import find_host_modules
from standalone.samplers import SAMPLERS, Sampler


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of (width, height) pixels by `steps` steps of a sampler.

    `schedule`: the timestep at which each step begins; `calls`: that of each call of the U-Net.
    """

    sampler: str
    steps: int
    size: tuple[int, int]
    schedule: tuple[float, ...]
    calls: tuple[float, ...]

    @functools.cached_property
    def clock(self) -> PassClock:
        """What a host tells of the pass."""
        return PassClock(self.schedule)

    def moment(self, call: int, by_noise: bool = True) -> Moment:
        """When a call happens, on the axis of the noise level or that of the pass."""
        timestep = self.calls[call]
        time = noise_level_time if by_noise else self.clock.progress
        times = tuple(map(time, self.schedule))
        index = self.clock.index(timestep)
        return Moment(timestep, time(timestep), call, "base", self.size, times, index)


def picture(sampler: str, steps: int, size: tuple[int, int]) -> Picture:
    """The picture that a sampler of `standalone.samplers.SAMPLERS` makes."""
    return Picture(sampler, steps, size, *_calls(sampler, steps))


class _Recorder(nn.Module):
    """In place of a model: notes when it is called."""

    def __init__(self) -> None:
        super().__init__()
        # betas whose roots are evenly spaced, as Stable Diffusion's
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self.alphas_cumprod = (1 - betas).cumprod(0)
        self.timesteps: list[float] = []

    def apply_model(self, x: torch.Tensor, timesteps: torch.Tensor, **_: object) -> torch.Tensor:
        self.timesteps.append(float(timesteps[0]))
        return torch.zeros_like(x)


@functools.cache
def _calls(sampler: str, steps: int) -> tuple[Sequence[float], Sequence[float]]:
    """(the timesteps of the schedule, those of the calls), by running the sampler itself."""
    if sampler not in SAMPLERS:
        raise ValueError(f"no sampler {sampler!r}; there are {', '.join(SAMPLERS)}")
    find_host_modules()
    recorder = _Recorder()
    own = Sampler(sampler, recorder, lambda params: None)
    sigmas = own.get_sigmas(None, steps)
    noise, prompt = torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 1)
    request = types.SimpleNamespace(cfg_scale=7.0)
    with warnings.catch_warnings():  # torchsde's, about the last digits of its times
        warnings.simplefilter("ignore")
        own.run(request, noise, sigmas, [torch.Generator()], [0], prompt, prompt)
    schedule = own.model_wrap.sigma_to_t(sigmas[sigmas > 0]).tolist()
    return tuple(schedule), tuple(recorder.timesteps)
