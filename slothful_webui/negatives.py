"""Negative prompts that the host does not condition on, as Forge at a CFG scale of 1."""

from __future__ import annotations

from typing import Any


def negative_schedule(p: Any) -> Any | None:
    """What the negative prompts of the present pass of `p` condition on, step by step, for
    `prompt_parser.reconstruct_cond_batch`; None where the host has it itself.

    Encodes the prompts, so it has to be asked for before sampling begins.
    """
    hires = getattr(p, "is_hr_pass", False)
    own = getattr(p, "hr_uc" if hires else "uc", None)
    if own is not None or not hasattr(p, "get_conds_with_caching"):
        return None
    from modules import prompt_parser

    sides = ("hr_upscale_to_x", "hr_upscale_to_y") if hires else ("width", "height")
    texts = p.hr_negative_prompts if hires else p.negative_prompts
    width, height = (getattr(p, side) for side in sides)
    prompts = prompt_parser.SdConditioning(
        texts, width=width, height=height, is_negative_prompt=True
    )
    networks = p.hr_extra_network_data if hires else p.extra_network_data
    learn, cache = prompt_parser.get_learned_conditioning, [None, None]
    return p.get_conds_with_caching(learn, prompts, p.firstpass_steps, [cache], networks)
