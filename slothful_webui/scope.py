"""The life of the hooks: exactly as long as `p.sample`, whatever happens inside it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import slothful
from slothful_webui import vae_scope
from slothful_webui.axes import OVERRIDES
from slothful_webui.engine import running_checkpoint, running_prediction
from slothful_webui.hypertile import hypertile_acts
from slothful_webui.infotext import KEY, Claim, write_infotext
from slothful_webui.language import report, take_back
from slothful_webui.made import KnownCosts, Made
from slothful_webui.negatives import negative_schedule
from slothful_webui.rows import next_rows
from slothful_webui.sampling import TITLE, refuse, unwrap_sample, wrap_sample
from slothful_webui.shapes import known_shape
from slothful_webui.timesteps import pass_clock

_BATCH = "slothful_batch"
"""The attribute of `p` that keeps the scope of its present batch."""

_DONE = "slothful_done"
"""The attribute of `p` that keeps the line of what was done in its last batch."""

NOT_PYTORCH = "the U-Net is not run by PyTorch (perhaps by TensorRT, or it is compiled)"
VAE_ONLY = "applied to the VAE only: {reason}"
VAE_SKIPPED = "skipped the VAE ({reason})"
NOT_EVERYWHERE = "not applied to every model of this image: {reason}"

logger = logging.getLogger(__name__)


class SamplingScope:
    """Applies settings to whatever U-Net the webui samples with, while `p.sample` runs.

    One for each batch, from `begin` to `end`. `current_unet` returns the U-Net in use now, None
    when there is none that Python runs, `current_vae` the VAE.
    """

    # Innermost last, None for one without effect. The webui serialises generations, but one may be
    # nested in another.
    _open: list[SamplingScope | None] = []  # noqa: RUF012

    def __init__(
        self,
        p: Any,
        settings: slothful.Settings,
        current_unet: Callable[[], Any],
        current_vae: Callable[[], Any] = lambda: None,
        known_costs: KnownCosts = lambda unet, shape: None,
    ):
        self._p = p
        self._settings = settings
        self._current_unet = current_unet
        self._current_vae = current_vae
        self._known_costs = known_costs
        self._application = slothful.Application(settings, hypertile_acts)
        self._times = slothful.CallTimes(self._application)
        self._checkpoint: Any = None
        self._obstacle: str | None = None
        self._negatives: Any = None
        self._read_for: str | None = None
        self._pass: str | None = None
        self._timed = False
        self._shape: slothful.UnetShape | None = None
        self._costs: slothful.MachineCosts | None = None
        self._made = Made()
        self._logged: dict[str, slothful.SitePlan | None] = {}

    # -- what the script calls

    def begin(self) -> None:
        """`process_batch`: every `p.sample` of this batch will be in effect, and the infotext says
        so until more is known.
        """
        setattr(self._p, _BATCH, self)
        if self._settings.vae_tiles or self._has_sites():
            self._p.extra_generation_params[KEY] = Claim(self._settings, self._may_claim)
        # again: another request may have run inside this one and closed it
        vae_scope.open_vae(self._p, self._settings, self._current_vae)
        wrap_sample(self._p, self.opened)

    @staticmethod
    def end(p: Any) -> None:
        """`postprocess_batch`: the images are decoded, their infotexts not yet written."""
        unwrap_sample(p)
        scope = p.__dict__.pop(_BATCH, None)
        if scope is not None:
            scope._tell()
        vae_scope.close_vae()

    @classmethod
    def begin_without_effect(cls, p: Any) -> None:
        """`process_batch` of a request that is switched off: inside another's sampling too."""
        if cls._open:
            wrap_sample(p, cls._paused)

    @classmethod
    def before_denoiser(cls, params: Any) -> None:
        """`on_cfg_denoiser`: a refiner or a hires checkpoint may have replaced the U-Net, and a
        pass may have begun.
        """
        scope = cls._innermost()
        if scope is None:
            return
        try:
            scope._before_denoiser(params)
        except Exception as error:
            refuse(scope._p, error)

    @classmethod
    def before_sampling(cls) -> None:
        """`before_hr`, `process_before_every_sampling`: a pass begins."""
        scope = cls._innermost()
        if scope is not None:
            scope._follow()
            scope._read_negatives()
            scope._begin_pass()

    @classmethod
    def _innermost(cls) -> SamplingScope | None:
        return cls._open[-1] if cls._open else None

    # -- what happens in `p.sample`

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hooks are on the U-Net only in here."""
        self._open.append(self)
        logger.info("%s: %s", TITLE, write_infotext(self._settings))
        try:
            self._follow()
            self._read_negatives()
            self._begin_pass(timed=False)  # the sampler, and its schedule, may be made later
            yield
            vae_scope.resume_vae(self._p, self._current_vae)
        except BaseException:
            vae_scope.close_vae()
            raise
        finally:
            self._log_plans()
            self._open.remove(self)
            self._release()

    @classmethod
    @contextlib.contextmanager
    def _paused(cls) -> Iterator[None]:
        outer = cls._innermost()
        cls._open.append(None)
        if outer is not None:
            outer._release()
        try:
            yield
        finally:
            cls._open.pop()
            if outer is not None:
                outer._follow()

    def _before_denoiser(self, params: Any) -> None:
        self._log_plans()
        vae_scope.resume_vae(self._p, self._current_vae)
        self._follow()
        if not self._timed or self._pass != _present_pass(self._p)[0]:
            self._begin_pass()
        self._application.begin_step()
        if self._application.wants_rows:
            self._application.expect_rows(*next_rows(params, self._negatives))

    def _begin_pass(self, timed: bool = True) -> None:
        """Tell the core of the request's present pass, of its schedule if it is `timed`."""
        self._pass, size = _present_pass(self._p)
        self._timed = timed and getattr(self._p, "sampler", None) is not None
        needs_clock = self._settings.time_axis == "pass progress" or self._sleeps
        clock = pass_clock(self._p) if self._timed and needs_clock else None
        self._application.begin_pass(self._pass, clock, size)

    def _read_negatives(self) -> None:
        """Negative prompts that the webui does without, once a pass."""
        name = _present_pass(self._p)[0]
        if self._settings.negative == "in the attention" and name != self._read_for:
            self._read_for, self._negatives = name, negative_schedule(self._p)

    def _follow(self) -> None:
        vae_scope.follow_vae(self._current_vae)
        unet = self._current_unet()
        if unet is None:
            self._release()
            self._obstacle = NOT_PYTORCH
            return
        try:
            checkpoint = running_checkpoint()
            # of one configuration, all are loaded into the same U-Net
            if unet is not self._application.unet or checkpoint != self._checkpoint:
                self._release()
                self._checkpoint = checkpoint
                self._application.follow(unet, running_prediction)
                self._times.follow(unet)
                # now, for reForge takes apart the model that another one replaces
                self._shape = known_shape(unet)
                self._costs = self._shape and self._known_costs(unet, self._shape)
        except slothful.UnsupportedModelError as error:
            self._obstacle = str(error)

    def _release(self) -> None:
        self._made.add(self._settings, self._shape, self._times, self._costs)
        self._times.release()
        self._application.release()

    @property
    def _sleeps(self) -> bool:
        return (self._settings.sleep, self._settings.negative) != ("nothing", "computed")

    def _has_sites(self) -> bool:
        try:
            return bool(slothful.find_sites(self._current_unet()))
        except slothful.UnsupportedModelError:
            return False

    # -- what is told

    def _may_claim(self) -> bool:
        """Whether an infotext that is written now, as for a copy before the hires pass, may say
        that the settings were applied: so it is until the U-Net has been called without them.
        """
        application = self._application
        is_applied = application.applied_sites or application.one_sided_steps
        return not application.plans or bool(is_applied) or vae_scope.was_tiled(self._p)

    def _log_plans(self) -> None:
        """What was done at each site in the latest call of the U-Net, if that is new."""
        plans = self._application.plans
        if plans == self._logged or not logger.isEnabledFor(logging.DEBUG):
            return
        self._logged = plans
        lines = [f"  {site}: {plan or 'skipped'}" for site, plan in plans.items()]
        moment = self._application.moment
        logger.debug("%s at timestep %.0f:\n%s", TITLE, moment.timestep, "\n".join(lines))

    def _tell(self) -> None:
        """What the batch became, on the page and in the infotext, which claims nothing that was
        not applied.
        """
        why, tiled = self._application.why_nothing(), vae_scope.was_tiled(self._p)
        if why is None or tiled:
            self._p.extra_generation_params[KEY] = write_infotext(self._settings)
        else:
            self._p.extra_generation_params.pop(KEY, None)
        for reason in vae_scope.why_skipped(self._p):
            report(self._p, (VAE_SKIPPED, {"reason": reason}))
        if why is None:
            self._tell_of_skipped_sites()
            self._tell_what_was_done()
            if self._obstacle is not None:
                report(self._p, (NOT_EVERYWHERE, {"reason": self._obstacle}))
            return
        if self._application.notes and self._obstacle is None:
            self._tell_of_skipped_sites()
        else:
            reason = {"reason": self._obstacle or why}
            report(self._p, (VAE_ONLY if tiled else slothful.NOTHING, reason))

    def _tell_what_was_done(self) -> None:
        """The line of the present batch, in the place of that of the last one."""
        parts = self._made.told(self._application, self._settings)
        take_back(self._p, self._p.__dict__.pop(_DONE, None))
        # the cells of a plot would write a line each
        if parts and not hasattr(self._p, OVERRIDES):
            told = self._application
            unusual = (
                told.asleep_steps or told.one_sided_steps or told.negative_notes or told.mix_notes
            )
            level = logging.WARNING if unusual else logging.INFO
            setattr(self._p, _DONE, report(self._p, *parts, level=level))

    def _tell_of_skipped_sites(self) -> None:
        """Which blocks something else kept for itself, and where the settings were applied."""
        notes = self._application.notes
        if notes:
            report(self._p, *slothful.where_applied(self._application.applied_sites, notes))


def _present_pass(p: Any) -> tuple[str, tuple[int, int] | None]:
    """The name of the pass that a request is in, and the (width, height) of its image in pixels,
    None where the host does not say. The U-Net may be called on parts of it.
    """
    if getattr(p, "is_hr_pass", False):
        name, sides = "hires", ("hr_upscale_to_x", "hr_upscale_to_y")
    else:
        name = "img2img" if getattr(p, "init_images", None) else "base"
        sides = ("width", "height")
    width, height = (getattr(p, side, None) for side in sides)
    return name, (width, height) if width and height else None
