"""The schedules of passes, read off the webui's samplers."""

from __future__ import annotations

import logging
from typing import Any

import torch

from slothful import PassClock
from slothful_webui.engine import timesteps_at

logger = logging.getLogger(__name__)


def pass_clock(p: Any) -> PassClock | None:
    """The clock of the pass that is being sampled.

    None, with a line in the log, for samplers of other extensions whose schedule cannot be read:
    the clock then starts at the first timestep that the U-Net sees and ends at 0.
    """
    try:
        return PassClock(pass_timesteps(p))
    except (AttributeError, TypeError) as error:
        logger.warning("the sampler's schedule is not known (%s); pass progress ends at 0", error)
        return None


def pass_timesteps(p: Any) -> tuple[float, ...]:
    """The timesteps at which the present pass of `p` calls the model, one a step, from the largest
    down.

    k-diffusion's samplers have `get_sigmas`, from the largest down, the others `get_timesteps`,
    from the smallest up; both are pure. An img2img or hires pass uses the tail of a longer
    schedule. Raises `AttributeError` or `TypeError` for a sampler that has neither.
    """
    sampler = p.sampler
    steps, last = p.steps, None
    # asked of the request: the sampler learns of its latent only when it begins
    if p.is_hr_pass or getattr(p, "init_images", None):
        from modules.sd_samplers_common import setup_img2img_steps

        hires_steps = (p.hr_second_pass_steps or p.steps) if p.is_hr_pass else None
        steps, last = setup_img2img_steps(p, hires_steps)
    if hasattr(sampler, "get_sigmas"):
        sigmas = sampler.get_sigmas(p, steps)
        sigmas = sigmas if last is None else sigmas[steps - last - 1 :]
        timesteps = timesteps_at(sampler, sigmas[sigmas > 0].to(torch.float32))
    else:
        timesteps = sampler.get_timesteps(p, steps)
        timesteps = timesteps if last is None else timesteps[:last]
    return tuple(sorted((float(timestep) for timestep in timesteps), reverse=True))
