"""The life of the hooks: exactly as long as `p.sample`, whatever happens inside it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import slothful
from slothful_webui.hypertile import hypertile_acts
from slothful_webui.infotext import write_infotext
from slothful_webui.timesteps import pass_clock
from slothful_webui.vae_scope import close_vae, follow_vae

TITLE = "Slothful Attention"

logger = logging.getLogger(__name__)


class SamplingScope:
    """Applies settings to whatever U-Net the webui samples with, while `p.sample` runs.

    `current_unet` returns the U-Net in use now, None when there is none that Python runs,
    `current_vae` the VAE.
    """

    # Innermost last. The webui serialises generations, but one may be nested in another.
    _open: list[SamplingScope] = []  # noqa: RUF012

    def __init__(
        self,
        p: Any,
        settings: slothful.Settings,
        current_unet: Callable[[], Any],
        current_vae: Callable[[], Any] = lambda: None,
    ):
        self._p = p
        self._settings = settings
        self._current_unet = current_unet
        self._current_vae = current_vae
        self._application: slothful.Application | None = None
        self._reported: set[str] = set()
        self._logged: dict[str, slothful.SitePlan | None] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hooks are on the U-Net only in here."""
        self._application = application = slothful.Application(self._settings, hypertile_acts)
        self._begun = False
        self._open.append(self)
        logger.info("%s: %s", TITLE, write_infotext(self._settings))
        try:
            self._follow()
            yield
            follow_vae(self._current_vae)
        except BaseException:
            close_vae()
            raise
        finally:
            self._log_plans()
            self._open.remove(self)
            application.release()
            self._application = None
            self._report_notes(application)

    @classmethod
    def before_denoiser(cls, params: Any) -> None:
        """`on_cfg_denoiser`: a refiner or a hires checkpoint may have replaced the U-Net, and a
        pass may have begun.
        """
        if cls._open:
            cls._open[-1]._before_denoiser(params)

    def _before_denoiser(self, params: Any) -> None:
        self._log_plans()
        self._follow()
        if not self._begun:
            self._begun = True
            base = "img2img" if getattr(self._p, "init_images", None) else "base"
            name = "hires" if getattr(self._p, "is_hr_pass", False) else base
            clock = None
            if self._settings.time_axis == "pass progress":
                clock = pass_clock(self._p)
            self._application.begin_pass(name, clock)

    @classmethod
    def before_hires(cls) -> None:
        """`before_hr`: the next call of the denoiser belongs to the hires pass."""
        if cls._open:
            cls._open[-1]._begun = False

    def _follow(self) -> None:
        follow_vae(self._current_vae)
        unet = self._current_unet()
        if unet is None:
            self._application.release()
            self._report("nothing was applied: the U-Net does not run in PyTorch (TensorRT?)")
            return
        try:
            self._application.follow(unet)
        except slothful.UnsupportedModelError as error:
            self._report(f"nothing was applied: {error}")

    def _log_plans(self) -> None:
        """What was done at each site in the latest call of the U-Net, if that is new."""
        plans = self._application.plans
        if plans == self._logged or not logger.isEnabledFor(logging.DEBUG):
            return
        self._logged = plans
        lines = [f"  {site}: {plan or 'left alone'}" for site, plan in plans.items()]
        moment = self._application.moment
        logger.debug("%s at timestep %.0f:\n%s", TITLE, moment.timestep, "\n".join(lines))

    def _report_notes(self, application: slothful.Application) -> None:
        """Which blocks something else kept for itself, and where the settings acted still."""
        reasons: dict[str, list[str]] = {}
        for site, reason in application.notes.items():
            reasons.setdefault(reason, []).append(site)
        acts = [s for s, plan in application.plans.items() if plan and s not in application.notes]
        for reason, sites in reasons.items():
            self._report(
                f"left {', '.join(sites)} alone: {reason}; "
                + (f"acted in {', '.join(acts)}" if acts else "acted nowhere else")
            )

    def _report(self, text: str) -> None:
        """Once on the page, under the picture, and once in the log."""
        if text in self._reported:
            return
        self._reported.add(text)
        logger.warning("%s: %s", TITLE, text)
        if hasattr(self._p, "comment"):
            self._p.comment(f"{TITLE}: {text}")


class _WrappedSample:
    """What stands in for `p.sample` for one batch, and then takes itself away.

    Other extensions may have replaced `p.sample` before or may wrap this one: it calls what it
    found, and once used it only passes through.
    """

    def __init__(self, p: Any, before: Callable[[], contextlib.AbstractContextManager]):
        self._p = p
        self._own = p.__dict__.get("sample")
        self._original = p.sample
        self._before: Callable | None = before

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before, self._before = self._before, None
        if before is None:
            return self._original(*args, **kwargs)
        self.remove()
        with before():
            return self._original(*args, **kwargs)

    def remove(self) -> None:
        """Put back what was there, unless somebody else has wrapped this in the meantime."""
        if self._p.__dict__.get("sample") is not self:
            return
        if self._own is None:
            del self._p.sample
        else:
            self._p.sample = self._own


def wrap_sample(p: Any, before: Callable[[], contextlib.AbstractContextManager]) -> None:
    """Run the next `p.sample(...)` inside the context `before()`; undone once it has run."""
    present = p.__dict__.get("sample")
    if isinstance(present, _WrappedSample):  # from a batch whose sampling never began
        present.remove()
    p.sample = _WrappedSample(p, before)
