"""Generation as the webui does it: the same calls of the script, in the same order."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from standalone.attention import sdpa_attention
from standalone.checkpoint import StableDiffusion
from standalone.odd_sizes import resized_skips
from standalone.runner import ScriptRunner
from standalone.samplers import SAMPLERS, Sampler, randn

DEFAULT_PROMPT = "a cactus in a desert at sunset"
"""What the small model draws where nothing else is asked for."""


class InputError(ValueError):
    """A value of a request is out of range; one line that names it, the value and the range."""


@dataclasses.dataclass(eq=False)
class Processing:
    """A request, under the webui's names. Sizes in pixels, multiples of 8.

    With `init_images` it is img2img. `enable_hr` adds a hires pass. After each step `preview` gets
    the latents that it would end with, and `progress` the pass, the step and their number. Raises
    `InputError`.
    """

    sd_model: StableDiffusion
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    steps: int = 20
    cfg_scale: float = 5.0
    width: int = 256
    height: int = 256
    sampler_name: str = "Euler"
    batch_size: int = 1
    n_iter: int = 1
    denoising_strength: float = 0.7
    init_images: list[Image.Image] = dataclasses.field(default_factory=list)
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_second_pass_steps: int = 0
    model_name: str = "small"
    progress: Callable[[str, int, int], None] | None = None
    preview: Callable[[torch.Tensor], None] | None = None

    def __post_init__(self) -> None:
        self.extra_generation_params: dict[str, Any] = {}
        self.comments: list[str] = []
        self.is_hr_pass = False
        self.sampler: Sampler | None = None
        self.unet_seconds = 0.0
        for name, low, high in (
            ("seed", 0, 2**32 - 1), ("steps", 1, 150), ("cfg_scale", 1, 30), ("width", 64, 2048),
            ("height", 64, 2048), ("batch_size", 1, 16), ("n_iter", 1, 100),
            ("denoising_strength", 0.0, 1.0), ("hr_scale", 1.0, 4.0),
            ("hr_second_pass_steps", 0, 150),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    f"{name} must be between {low} and {high}, got {getattr(self, name)}"
                )
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                raise InputError(f"{name} must be a multiple of 8, got {getattr(self, name)}")
        if self.sampler_name not in SAMPLERS:
            names = ", ".join(SAMPLERS)
            raise InputError(f"sampler must be one of {names}, got {self.sampler_name!r}")

    def comment(self, text: str) -> None:
        """A line for the page, shown once under the image."""
        if text not in self.comments:
            self.comments.append(text)

    @property
    def hr_upscale_to_x(self) -> int:
        """Width of the hires pass in pixels."""
        return 8 * round(self.width // 8 * self.hr_scale)

    @property
    def hr_upscale_to_y(self) -> int:
        """Height of the hires pass in pixels."""
        return 8 * round(self.height // 8 * self.hr_scale)

    def close(self) -> None:
        """Forget what is needed only while the request runs."""
        self.sampler = None

    def sample(
        self, conditioning: torch.Tensor, unconditional_conditioning: torch.Tensor, seeds: list[int]
    ) -> torch.Tensor:
        """All passes of one batch: latents (batch, 4, height / 8, width / 8)."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        texts = conditioning, unconditional_conditioning
        noise = randn(generators, (4, self.height // 8, self.width // 8))
        init = self._init_latent() if self.init_images else None
        latent = self._pass(noise, init, generators, seeds, texts)
        if self.enable_hr and init is None:
            self.is_hr_pass = True
            size = self.hr_upscale_to_y // 8, self.hr_upscale_to_x // 8
            larger = F.interpolate(latent, size, mode="bilinear")
            noise = randn(generators, larger.shape[1:])
            self._runner.call("before_hr", self)
            latent = self._pass(noise, larger, generators, seeds, texts)
            self.is_hr_pass = False
        return latent

    def _pass(self, noise, init, generators, seeds, texts) -> torch.Tensor:
        from modules import script_callbacks
        from modules.sd_samplers_common import setup_img2img_steps

        self.sampler = Sampler(
            self.sampler_name, self.sd_model, script_callbacks.cfg_denoiser_callback
        )
        steps, last = self.steps, None
        if init is not None:
            wanted = (self.hr_second_pass_steps or self.steps) if self.is_hr_pass else None
            steps, last = setup_img2img_steps(self, wanted)
        tensors = dict(x=noise if init is None else init, noise=noise, c=texts[0], uc=texts[1])
        self._runner.call("process_before_every_sampling", self, **tensors)
        sigmas = self.sampler.get_sigmas(self, steps)
        sigmas = sigmas if last is None else sigmas[steps - last - 1 :]
        name = "hires" if self.is_hr_pass else "base"

        def report(state: dict[str, Any]) -> None:
            if self.preview is not None:
                self.preview(state["denoised"])
            if self.progress is not None:
                self.progress(name, state["i"] + 1, len(sigmas) - 1)

        try:
            return self.sampler.run(
                self, noise, sigmas, generators, seeds, *texts, init_latent=init, progress=report
            )
        finally:
            self.unet_seconds += self.sampler.model_wrap_cfg.unet_seconds

    def _init_latent(self) -> torch.Tensor:
        pictures = []
        for index in range(self.batch_size):
            image = self.init_images[index % len(self.init_images)].convert("RGB")
            resized = image.resize((self.width, self.height), Image.LANCZOS)
            pictures.append(np.asarray(resized, np.float32) / 127.5 - 1)
        return self.sd_model.encode_first_stage(
            torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        )


@dataclasses.dataclass(frozen=True)
class Processed:
    """What a request gave: pictures, the infotext of each, comments, time in the U-Net (s)."""

    images: list[Image.Image]
    infotexts: list[str]
    comments: list[str]
    unet_seconds: float


@torch.no_grad()
def process_images(p: Processing, runner: ScriptRunner) -> Processed:
    """Run a request through the script's callbacks and the sampler, batch by batch."""
    with contextlib.closing(p):
        return _process_images(p, runner)


def _process_images(p: Processing, runner: ScriptRunner) -> Processed:
    from modules import shared

    shared.sd_model = p.sd_model
    p._runner = runner
    images, infotexts = [], []
    with sdpa_attention(), resized_skips():
        runner.call("before_process", p)
        count = p.n_iter * p.batch_size
        p.all_prompts, p.all_negative_prompts = [p.prompt] * count, [p.negative_prompt] * count
        p.all_seeds = list(range(p.seed, p.seed + count))
        runner.call("process", p)
        for batch in range(p.n_iter):
            rows = slice(batch * p.batch_size, (batch + 1) * p.batch_size)
            p.prompts, p.negative_prompts = p.all_prompts[rows], p.all_negative_prompts[rows]
            p.seeds = seeds = p.all_seeds[rows]
            details = dict(batch_number=batch, prompts=p.prompts, seeds=seeds, subseeds=seeds)
            runner.call("before_process_batch", p, **details)
            if not p.prompts:
                break
            runner.call("process_batch", p, **details)
            cond = p.sd_model.get_learned_conditioning(p.prompts)
            uncond = p.sd_model.get_learned_conditioning(p.negative_prompts)
            latents = p.sample(conditioning=cond, unconditional_conditioning=uncond, seeds=seeds)
            decoded = p.sd_model.decode_first_stage(latents)
            runner.call("postprocess_batch", p, images=decoded, batch_number=batch)
            images += to_images(decoded)
            infotexts += map(functools.partial(create_infotext, p), seeds, p.prompts)
        processed = Processed(images, infotexts, p.comments, p.unet_seconds)
        runner.call("postprocess", p, processed)
    return processed


def create_infotext(p: Processing, seed: int, prompt: str) -> str:
    """The generation parameters as the webui writes them into a PNG's `parameters` chunk."""
    parameters = {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "CFG scale": f"{p.cfg_scale:g}",
        "Seed": seed,
        "Size": f"{p.width}x{p.height}",
        "Model": p.model_name,
    }
    if p.init_images or p.enable_hr:
        parameters["Denoising strength"] = f"{p.denoising_strength:g}"
    if p.enable_hr:
        parameters["Hires upscale"] = f"{p.hr_scale:g}"
        parameters["Hires steps"] = p.hr_second_pass_steps or None
    parameters |= p.extra_generation_params
    line = ", ".join(f"{key}: {value}" for key, value in parameters.items() if value is not None)
    negative = f"\nNegative prompt: {p.negative_prompt}" if p.negative_prompt else ""
    return f"{prompt}{negative}\n{line}"


def to_images(decoded: torch.Tensor) -> list[Image.Image]:
    """Pictures (batch, 3, height, width) in [-1, 1] as images of 8 bits a channel."""
    values = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in values]
