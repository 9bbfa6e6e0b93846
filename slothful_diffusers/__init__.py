"""Slothful Attention in the pipelines of diffusers.

    with slothful_diffusers.applied(pipe, settings):
        image = pipe(prompt).images[0]

`slothful.applied(pipe.unet, settings)` does the same without a pipeline; it knows no schedule,
so that "pass progress" follows the timestep there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

import slothful

__all__ = ["Passes", "applied", "prediction_of", "rows_of"]

PREDICTIONS = {"epsilon": "noise", "v_prediction": "velocity", "sample": "image"}
"""What schedulers call what a model predicts, and what `slothful.Prediction` does."""


@contextlib.contextmanager
def applied(
    pipe: Any,
    settings: slothful.Settings,
    *,
    yields_to: Callable[[Any, tuple[int, int]], str | None] | None = None,
    negative_prompt_embeds: torch.Tensor | None = None,
) -> Iterator[slothful.Application]:
    """Change the self-attention of a pipeline's model (a U-Net, or PixArt's transformer) as
    `settings` say while the context lasts.

    Steps and passes are read from `pipe.scheduler` as the pipeline sets it. For guidance scales of
    1 and below, at which a pipeline does without, `negative_prompt_embeds` are the negative prompts
    in the attention: (images or 1, tokens, channels), as `pipe.encode_prompt` gives them. For
    `yields_to` and what is raised, see `slothful.applied`; `SettingsError` also where whole calls
    shall sleep and the scheduler does not tell what the denoised image is.
    """
    unet = getattr(pipe, "unet", None) or pipe.transformer
    application = slothful.Application(settings, yields_to)
    # before the application's own hook, which is to find the pass begun
    passes = Passes(pipe, application, negative_prompt_embeds)
    handle = unet.register_forward_pre_hook(passes, with_kwargs=True)
    try:
        application.follow(unet, functools.partial(prediction_of, pipe.scheduler))
        yield application
    finally:
        application.release()
        handle.remove()


class Passes:
    """A hook on a U-Net that tells an application when a pass begins: when `pipe.scheduler` has got
    other timesteps than before. And which rows each call has.

    A pass that begins inside them, as in image-to-image, is "img2img", any other "base".
    """

    def __init__(
        self,
        pipe: Any,
        application: slothful.Application,
        negatives: torch.Tensor | None = None,
    ):
        """`negatives`: negative prompts for calls that have no rows for them."""
        self._pipe, self._application, self._negatives = pipe, application, negatives
        self._timesteps: Any = None

    def __call__(self, unet: Any, args: tuple, kwargs: dict) -> None:
        rows = rows_of(self._pipe, args, kwargs)
        self._application.expect_rows(rows, negatives=self._negatives)
        timesteps = self._pipe.scheduler.timesteps
        if timesteps is self._timesteps:  # each pass sets new ones, even if they are equal
            return
        self._timesteps = timesteps
        now = kwargs["timestep"] if "timestep" in kwargs else args[1]
        now = float(torch.as_tensor(now).reshape(-1)[0]) + slothful.SAME_TIME
        steps = sorted(set(map(float, timesteps)), reverse=True)  # of two halves of one, too
        left = [step for step in steps if step <= now] or steps
        name = "base" if len(left) == len(steps) else "img2img"
        self._application.begin_pass(name, slothful.PassClock(left))


def rows_of(pipe: Any, args: tuple, kwargs: dict) -> tuple[slothful.Row, ...]:
    """The rows of a call of a pipeline's U-Net; none where the pipeline does not tell whether it
    guides by a negative prompt, or guides by more than that.

    Source: the order of diffusers' pipelines, all negative rows first.
    """
    guides = getattr(pipe, "do_classifier_free_guidance", None)
    more = ("do_perturbed_attention_guidance", "image_guidance_scale")
    if guides is None or any(hasattr(pipe, name) for name in more):
        return ()
    latent = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
    count = len(latent)
    if not guides:
        return tuple(slothful.Row(image) for image in range(count))
    if count % 2:
        return ()
    images = range(count // 2)
    negative = [slothful.Row(image, negative=True) for image in images]
    return (*negative, *(slothful.Row(image) for image in images))


def prediction_of(scheduler: Any) -> slothful.Prediction:
    """What the model of a scheduler predicts. Raises `SettingsError` where that cannot be told, as
    of flows and of EDM's schedules.
    """
    kind = getattr(scheduler.config, "prediction_type", None)
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if kind not in PREDICTIONS or alphas is None:
        raise slothful.SettingsError(
            f"sleep of whole calls does not work with {type(scheduler).__name__}, "
            f"prediction_type {kind!r}"
        )
    return slothful.Prediction(PREDICTIONS[kind], tuple(map(float, alphas)))
