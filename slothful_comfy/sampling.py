"""Settings on a model, and at work exactly as long as a sampler runs.

They travel in a wrapper on the model's clone, which ComfyUI calls around each sampling. Only in
there are hooks on the U-Net, which all clones share: a sampler that gets another clone is not
touched, and nothing is left after an error or an interruption.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from server import PromptServer

from .. import slothful
from .noise import clock_of, has_usual_timesteps, prediction_of

KEY = "slothful_attention"
"""Of our wrappers among those of a model."""

logger = logging.getLogger(__name__)


def with_settings(
    model: Any, settings: slothful.Settings | str, node: str | None, negative: Any = None
) -> Any:
    """A clone of a model with these settings, or a wish of `slothful.LEVELS`, in place of any that
    it has; `node` is the id of the one that shows what was applied. `negative`: a conditioning for
    the negative prompt in the attention, which stays where another node follows that has none.
    """
    before, clone = around_sampling(model), model.clone()
    if negative is None and before is not None:
        negative = before.negative
    clone.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    around = AroundSampling(settings, node, negative)
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, around)
    return clone


def around_sampling(model: Any) -> AroundSampling | None:
    """What a model has of ours."""
    wrappers = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return wrappers[-1] if wrappers else None


def settings_on(model: Any) -> slothful.Settings | None:
    """The settings that a model has; none where it has a wish."""
    settings = getattr(around_sampling(model), "settings", None)
    return settings if isinstance(settings, slothful.Settings) else None


@dataclasses.dataclass(frozen=True)
class AroundSampling:
    """What ComfyUI calls around each sampling with a model that has settings."""

    settings: slothful.Settings | str
    node: str | None = None
    negative: Any = None

    def __call__(self, executor: Any, noise: Any, latent: Any, sampler: Any, sigmas: Any,
                 *rest: Any, **more: Any) -> Any:  # fmt: skip
        """Run the sampler, `executor`, with what it is given: `noise` (batch, channels, height,
        width), `sigmas` (steps + 1,).
        """
        guider = executor.class_obj
        unet = getattr(guider.model_patcher.model, "diffusion_model", None)
        try:
            slothful.find_sites(unet)
        except slothful.UnsupportedModelError as error:
            self._tell((slothful.NOTHING, {"reason": str(error)}))
            return executor(noise, latent, sampler, sigmas, *rest, **more)
        sampling = guider.model_patcher.get_model_object("model_sampling")
        clock = clock_of(sampling, sigmas)
        height, width = (side * slothful.LATENT_FACTOR for side in noise.shape[-2:])
        settings = self._chosen(unet, clock, (width, height))
        if not has_usual_timesteps(sampling):
            settings = settings.replace(time_axis="pass progress")  # the only time that it has
        application = slothful.Application(settings)
        try:
            application.follow(unet, functools.partial(prediction_of, sampling))
            application.begin_pass("base", clock, (width, height))
            _tell_steps(guider, application, self.negative)
            samples = executor(noise, latent, sampler, sigmas, *rest, **more)
            self._tell(*_what_was_done(application))
        finally:
            application.release()
        return samples

    def _chosen(
        self, unet: Any, clock: slothful.PassClock | None, size: tuple[int, int]
    ) -> slothful.Settings:
        """The settings, those of a wish for a pass of this (width, height)."""
        if isinstance(self.settings, slothful.Settings):
            return self.settings
        timesteps = () if clock is None else clock.timesteps
        moments = slothful.pass_moments(slothful.Settings(), timesteps, "base", size)
        passes = [("base", *size, moments)] if moments else ()
        return slothful.choose(self.settings, slothful.shape_of(unet), passes)

    def _tell(self, *parts: slothful.Part) -> None:
        """A line in the log and, where ComfyUI can, on the node."""
        line = "; ".join(text.format(**values) for text, values in parts)
        logger.info("Slothful Attention: %s", line)
        if self.node is not None and hasattr(PromptServer.instance, "send_progress_text"):
            PromptServer.instance.send_progress_text(line, self.node)


def _tell_steps(guider: Any, application: slothful.Application, negative: Any) -> None:
    """Let the application know of each step and of the negative prompt: the node's own, else the
    sampler's, which that does not run at a CFG of 1. The guider's options are a copy for this
    sampling.
    """

    def around_step(executor: Any, *args: Any, **kwargs: Any) -> Any:
        application.begin_step()
        if application.wants_rows:
            application.expect_rows(negatives=_negative_text(guider, negative))
        return executor(*args, **kwargs)

    options = guider.model_options
    add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, around_step, options, is_model_options=True)


def _negative_text(guider: Any, negative: Any) -> Any | None:
    """(1, tokens, channels), of the first of several parts; None where there is none."""
    if negative is not None:
        return negative[0][0].to(guider.model_patcher.load_device)
    parts = (getattr(guider, "conds", None) or {}).get("negative") or [{}]
    return getattr(parts[0].get("model_conds", {}).get("c_crossattn"), "cond", None)


def _what_was_done(application: slothful.Application) -> list[slothful.Part]:
    why = application.why_nothing()
    if why is not None and not application.notes:
        return [(slothful.NOTHING, {"reason": why})]
    parts = []
    if application.applied_sites or application.notes:
        parts = slothful.where_applied(application.applied_sites, application.notes)
    steps = application.asleep_steps, application.one_sided_steps, application.step_count
    cost = slothful.NO_COST
    if any(steps):
        shape = slothful.shape_of(application.unet)
        cost = slothful.cost_of(application.settings, shape, application.take_calls())
    notes = application.negative_notes, application.mix_notes
    return [*parts, *slothful.how_asleep(application.settings, steps, notes, cost)]
