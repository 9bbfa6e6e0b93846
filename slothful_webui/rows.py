"""Which rows the webui is about to call the U-Net with, read off its denoiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from slothful import Prompt, Row

NGMS = "the webui itself leaves out the negative prompt in some steps (NGMS, Skip Early CFG)"
EDITS = "the model edits images, with three parts instead of two sides"


class NextRows(NamedTuple):
    """The arguments of `slothful.Application.expect_rows`."""

    rows: tuple[Row, ...] = ()
    texts: torch.Tensor | None = None
    reason: str = ""
    negatives: torch.Tensor | None = None
    prompts: tuple[Prompt, ...] = ()


def next_rows(params: Any, schedule: Any = None) -> NextRows:
    """The rows of the calls that follow an `on_cfg_denoiser` with these parameters. They come in
    this order, however the webui splits them: the prompts of each image, then the negative prompts.

    None where that is not known, as in Forge, which marks the rows of each call itself. Of the
    webui's own ways to leave out the negative prompt and ours, the webui's goes first. `schedule`:
    that of negative prompts which the webui does without, see `negative_schedule`.
    """
    denoiser = getattr(params, "denoiser", None)
    positive, negative = _text(params.text_cond), _text(params.text_uncond)
    if _leaves_out(denoiser):
        return NextRows(reason=NGMS)
    if negative is None and schedule is not None:
        return NextRows(negatives=_scheduled(schedule, params))
    if positive is None or negative is None or len(params.x) < len(positive) + len(negative):
        return NextRows(negatives=negative, prompts=_marked_prompts(denoiser, positive, params.x))
    if len(params.x) > len(positive) + len(negative):
        return NextRows(reason=EDITS)
    weights = _prompt_weights(denoiser, len(positive), len(negative))
    rows = [
        Row(image, prompt=number, weight=weight)
        for image, own in enumerate(weights)
        for number, weight in enumerate(own)
    ]
    if len(rows) != len(positive):
        return NextRows()
    rows += [Row(image, negative=True) for image in range(len(negative))]
    tokens = min(positive.shape[1], negative.shape[1])
    texts = torch.cat([positive[:, :tokens], negative[:, :tokens].to(positive)])
    return NextRows(tuple(rows), texts, negatives=negative)


def _marked_prompts(
    denoiser: Any, positive: torch.Tensor | None, latents: torch.Tensor
) -> tuple[Prompt, ...]:
    """The prompts where they weigh differently, in the order in which Forge and reForge compute
    them, the last first; they get as many latents as there are images, and mark rows by sides.
    """
    if positive is None:
        return ()
    weights = _prompt_weights(denoiser, len(positive), len(latents))
    if all(len({*own}) == 1 for own in weights):
        return ()
    begins = [sum(map(len, weights[:image])) for image in range(len(weights))]
    count = min(map(len, weights))
    # of the images of a batch, these hosts take the last one's weights
    return tuple(
        Prompt(weights[-1][number], positive[[begin + number for begin in begins]])
        for number in reversed(range(count))
    )


def _scheduled(schedule: Any, params: Any) -> torch.Tensor | None:
    from modules import prompt_parser

    text = _text(prompt_parser.reconstruct_cond_batch(schedule, params.denoiser.step))
    return None if text is None else text.to(params.x)


def _text(given: Any) -> torch.Tensor | None:
    """The prompts among what rows are conditioned on: (rows, tokens, channels)."""
    text = given.get("crossattn") if isinstance(given, dict) else given
    return text if isinstance(text, torch.Tensor) and text.ndim == 3 else None


def _prompt_weights(denoiser: Any, rows: int, images: int) -> list[list[float]]:
    """The weights of each image's prompts; more than one where they are joined by AND."""
    if rows == images:  # each has at least one
        return [[1.0]] * images
    batch = getattr(_sampler_arguments(denoiser).get("cond"), "batch", ())
    if len(batch) != images:
        return []
    return [[getattr(prompt, "weight", 1.0) for prompt in prompts] for prompts in batch]


def _leaves_out(denoiser: Any) -> bool:
    """Whether the webui itself leaves out the negative prompt in some steps of this image."""
    from modules import shared

    own = _sampler_arguments(denoiser).get("s_min_uncond")
    return bool(own or getattr(shared.opts, "skip_early_cond", 0))


def _sampler_arguments(denoiser: Any) -> dict[str, Any]:
    return getattr(getattr(denoiser, "sampler", None), "sampler_extra_args", None) or {}
