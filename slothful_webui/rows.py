"""Which rows the webui is about to call the U-Net with, read off its denoiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from slothful import Row

NGMS = "the webui itself leaves out the negative prompt in some steps (NGMS, Skip Early CFG)"
EDITS = "the model edits images, with three parts instead of two sides"


class NextRows(NamedTuple):
    """The arguments of `slothful.Application.expect_rows`."""

    rows: tuple[Row, ...] = ()
    texts: torch.Tensor | None = None
    reason: str = ""


def next_rows(params: Any) -> NextRows:
    """The rows of the calls that follow an `on_cfg_denoiser` with these parameters. They come in
    this order, however the webui splits them: the prompts of each image, then the negative prompts.

    None where that is not known, as in Forge, which marks the rows of each call itself. Of the
    webui's own ways to leave out the negative prompt and ours, the webui's goes first.
    """
    denoiser = getattr(params, "denoiser", None)
    positive, negative = _text(params.text_cond), _text(params.text_uncond)
    if _leaves_out(denoiser):
        return NextRows(reason=NGMS)
    if positive is None or negative is None or len(params.x) < len(positive) + len(negative):
        return NextRows()
    if len(params.x) > len(positive) + len(negative):
        return NextRows(reason=EDITS)
    counts = _prompt_counts(denoiser, len(positive), len(negative))
    rows = [Row(image, prompt=i) for image, count in enumerate(counts) for i in range(count)]
    if len(rows) != len(positive):
        return NextRows()
    rows += [Row(image, negative=True) for image in range(len(negative))]
    tokens = min(positive.shape[1], negative.shape[1])
    texts = torch.cat([positive[:, :tokens], negative[:, :tokens].to(positive)])
    return NextRows(tuple(rows), texts)


def _text(given: Any) -> torch.Tensor | None:
    """The prompts among what rows are conditioned on: (rows, tokens, channels)."""
    text = given.get("crossattn") if isinstance(given, dict) else given
    return text if isinstance(text, torch.Tensor) and text.ndim == 3 else None


def _prompt_counts(denoiser: Any, rows: int, images: int) -> list[int]:
    """How many prompts each image has; more than one where they are joined by AND."""
    if rows == images:  # each has at least one
        return [1] * images
    batch = getattr(_sampler_arguments(denoiser).get("cond"), "batch", ())
    return [len(prompts) for prompts in batch] if len(batch) == images else []


def _leaves_out(denoiser: Any) -> bool:
    """Whether the webui itself leaves out the negative prompt in some steps of this image."""
    from modules import shared

    own = _sampler_arguments(denoiser).get("s_min_uncond")
    return bool(own or getattr(shared.opts, "skip_early_cond", 0))


def _sampler_arguments(denoiser: Any) -> dict[str, Any]:
    return getattr(getattr(denoiser, "sampler", None), "sampler_extra_args", None) or {}
