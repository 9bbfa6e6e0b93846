"""Sampling: k-diffusion around a denoiser that composes its batches as the webui does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from standalone.k_diffusion_loader import load_k_diffusion

sampling, external = load_k_diffusion()


@dataclasses.dataclass(frozen=True)
class SamplerKind:
    """A sampler by its webui name: k-diffusion's function, its noise, its schedule.

    `noise` is "", "steps" (a normal draw a step) or "brownian" (a Brownian path over sigma).
    """

    function: str
    noise: str = ""
    schedule: str = "timesteps"


SAMPLERS = {
    "Euler": SamplerKind("sample_euler"),
    "Euler a": SamplerKind("sample_euler_ancestral", noise="steps"),
    "Heun": SamplerKind("sample_heun"),
    "DPM++ 2M": SamplerKind("sample_dpmpp_2m", schedule="karras"),
    "DPM++ SDE": SamplerKind("sample_dpmpp_sde", noise="brownian", schedule="karras"),
    # DDIM without noise is Euler's method in sigma (Karras et al., 2022), on DDIM's timesteps
    "DDIM": SamplerKind("sample_euler", schedule="ddim"),
}


class Interrupted(BaseException):
    """The user stopped the sampling; not an error, so not an `Exception`."""


class CFGDenoiser(nn.Module):
    """Classifier-free guidance around a k-diffusion denoiser.

    Rows of a batch: all positive ones, then all negative ones. `unet_seconds` adds up the time
    spent in the model.
    """

    def __init__(self, sampler: Sampler, callback: Callable[[Any], None]):
        super().__init__()
        self.sampler = sampler
        self.inner_model = sampler.model_wrap
        self.init_latent: torch.Tensor | None = None
        self.last_latent: torch.Tensor | None = None
        self.step = 0
        self.steps = self.total_steps = 0
        self.p: Any = None
        self.unet_seconds = 0.0
        self._callback = callback

    def forward(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        uncond: torch.Tensor,
        cond: torch.Tensor,
        cond_scale: float,
    ) -> torch.Tensor:
        """Denoised latents for latents x (batch, 4, height, width) at levels sigma (batch,)."""
        from modules import script_callbacks, shared

        self.last_latent = x
        if shared.state.interrupted:
            raise Interrupted
        twice, sigmas = torch.cat([x, x]), torch.cat([sigma, sigma])
        params = script_callbacks.CFGDenoiserParams(
            twice, None, sigmas, self.step, self.steps, cond, uncond, self
        )
        self._callback(params)
        begin = time.perf_counter()
        context = torch.cat([params.text_cond, params.text_uncond])
        denoised = self.inner_model(params.x, params.sigma, cond=context)
        self.unet_seconds += time.perf_counter() - begin
        self.step += 1
        positive, negative = denoised.chunk(2)
        return negative + (positive - negative) * cond_scale


class Sampler:
    """One sampling run: built for a pass, with the attributes that the webui's samplers have."""

    def __init__(self, name: str, model: nn.Module, callback: Callable[[Any], None]):
        self.kind = SAMPLERS[name]
        self.func = getattr(sampling, self.kind.function)
        self.model_wrap = external.CompVisDenoiser(model)
        self.model_wrap_cfg = CFGDenoiser(self, callback)

    def get_sigmas(self, p: Any, steps: int) -> torch.Tensor:
        """Noise levels of a whole schedule, (steps + 1,), descending to 0."""
        sigmas = self.model_wrap.sigmas
        if self.kind.schedule == "karras":
            return sampling.get_sigmas_karras(steps, sigmas[0].item(), sigmas[-1].item())
        if self.kind.schedule == "ddim":
            timesteps = torch.arange(0, len(sigmas), len(sigmas) // steps)[:steps].flip(0) + 1
            timesteps = timesteps.clamp(max=len(sigmas) - 1).float()
            return sampling.append_zero(self.model_wrap.t_to_sigma(timesteps))
        return self.model_wrap.get_sigmas(steps)

    def run(
        self,
        p: Any,
        noise: torch.Tensor,
        sigmas: torch.Tensor,
        generators: Sequence[torch.Generator],
        seeds: Sequence[int],
        conditioning: torch.Tensor,
        unconditional_conditioning: torch.Tensor,
        init_latent: torch.Tensor | None = None,
        progress: Callable[[dict], None] | None = None,
    ) -> torch.Tensor:
        """Latents (batch, 4, height, width) sampled along `sigmas`.

        `noise` is scaled to the first sigma and added to `init_latent`, or starts alone. All
        later noise comes from `generators` or `seeds`, one a picture. Interrupted, it returns
        what it has, as the webui does.
        """
        denoiser = self.model_wrap_cfg
        denoiser.p, denoiser.init_latent = p, init_latent
        denoiser.steps = denoiser.total_steps = len(sigmas) - 1
        x = noise * sigmas[0] + (0 if init_latent is None else init_latent)
        options: dict[str, Any] = {}
        if self.kind.noise == "steps":
            options["noise_sampler"] = lambda *_: randn(generators, x.shape[1:]).to(x.device)
        elif self.kind.noise == "brownian":
            low, high = sigmas[sigmas > 0].min(), sigmas.max()
            tree = sampling.BrownianTreeNoiseSampler
            options["noise_sampler"] = tree(x, low, high, seed=list(seeds))
        guidance = {
            "cond": conditioning,
            "uncond": unconditional_conditioning,
            "cond_scale": p.cfg_scale,
        }
        try:
            # Euler and Heun draw noise from the global generator even where they do not use it
            with torch.random.fork_rng(devices=[]):
                return self.func(
                    denoiser,
                    x,
                    sigmas,
                    extra_args=guidance,
                    callback=progress,
                    disable=True,
                    **options,
                )
        except Interrupted:
            return denoiser.last_latent


def randn(generators: Sequence[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
    """Normal noise (batch, *shape), each picture from its own generator on the CPU, so that a
    picture does not depend on its batch or on the device.
    """
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])
