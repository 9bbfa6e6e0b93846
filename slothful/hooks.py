"""Hooks: the only place that touches a model, and only inside `with applied(...)`.

PyTorch's own removable forward hooks, never a replaced `forward`: the attention itself is computed
by whatever optimization is active, and hypernetworks, LoRA and other extensions compose with it in
any order. A U-Net is what it was before once the context is left, however it is left.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator

import torch
from torch import nn

from slothful.arithmetic import plan_where_it_pays
from slothful.cost import grid_of
from slothful.foreign import OwnHook
from slothful.layer_hooks import LayerHooks, ReducingHooks, SiteState
from slothful.merging_hooks import MergingHooks
from slothful.methods import TOKEN_MERGING
from slothful.nothing import (
    KEPT,
    NEVER_CALLED,
    NO_SITES,
    NOT_RUN,
    nearest,
    reason_of_pass,
    reason_of_site,
)
from slothful.obstacles import Obstacles, YieldsTo
from slothful.plan import SitePlan, may_act
from slothful.schedule import Moment, PassClock, noise_level_time
from slothful.settings import Settings
from slothful.sites import LATENT_FACTOR, Site, UnsupportedModelError, find_sites

# the applications on a U-Net, in the order in which they came; the last acts
_OWNERS: weakref.WeakKeyDictionary[nn.Module, list[Application]] = weakref.WeakKeyDictionary()


class Application:
    """Settings at work on a U-Net. Made by `applied`; follows the U-Net through calls and passes.

    `plans` holds, for the latest call of the U-Net, the plan of each site by name (None: left
    alone). `notes` collects, by site, why something else than planned happened. What was done over
    all calls, `applied_sites` and `why_nothing` tell.
    """

    def __init__(self, settings: Settings, yields_to: YieldsTo | None):
        self.settings = settings
        self.plans: dict[str, SitePlan | None] = {}
        self.notes: dict[str, str] = {}
        self.moment: Moment | None = None
        self.unet: nn.Module | None = None
        self._yields_to = yields_to or (lambda attention, grid: None)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._clock: PassClock | None = None
        self._pass = "base"
        self._size: tuple[int, int] | None = None
        self._acts = False
        merges = settings.method == TOKEN_MERGING
        self._hooks: type[LayerHooks] = MergingHooks if merges else ReducingHooks
        self._layers: dict[str, list[LayerHooks]] = {}
        self._names: list[str] = []
        self._idle_sites: list[Site] = []
        self._met: set[str] = {NEVER_CALLED}  # why nothing was applied, until something is
        self._applied: set[str] = set()
        self._known_names: dict[str, None] = {}  # of all U-Nets, in the order of their sites

    # -- what the host calls

    def begin_pass(
        self, name: str, clock: PassClock | None = None, size: tuple[int, int] | None = None
    ) -> None:
        """Say that a pass begins: `name` is "base", "img2img" or "hires", `clock` its schedule,
        `size` the (width, height) of its image in pixels.

        Without a clock, "pass progress" runs from the first timestep of the pass down to 0. Without
        a size, the smallest side, width and height are compared with the latent of each call, which
        may be a tile of the image.
        """
        self._pass, self._clock, self._size, self.moment = name, clock, size, None

    @property
    def applied_sites(self) -> tuple[str, ...]:
        """The sites at which something was applied in any call so far, in their order."""
        return tuple(name for name in self._known_names if name in self._applied)

    def why_nothing(self) -> str | None:
        """Why nothing was applied in any call so far, None if something was: one of
        `slothful.nothing.REASONS`, or that other extensions keep the sites.
        """
        if self._applied:
            return None
        if self.notes:
            return KEPT.format(reasons="; ".join(dict.fromkeys(self.notes.values())))
        return nearest(self._met)

    def follow(self, unet: nn.Module) -> None:
        """Move to another U-Net (a refiner, a hires checkpoint); no-op on the present one.

        Raises `UnsupportedModelError`; nothing is applied to any U-Net then.
        """
        if unet is self.unet:
            return
        self.release()
        try:
            sites = find_sites(unet)
        except UnsupportedModelError:
            self._met.add(NO_SITES)
            raise
        self.unet = unet
        _OWNERS.setdefault(unet, []).append(self)
        before_unet = OwnHook(self._before_unet)
        self._handles.append(unet.register_forward_pre_hook(before_unet, with_kwargs=True))
        for site in sites:
            self._names.append(site.name)
            self._known_names[site.name] = None
            if may_act(self.settings, site):  # every hook takes time
                self._hook_site(site)
            else:
                self._idle_sites.append(site)

    def _hook_site(self, site: Site) -> None:
        before_site = OwnHook(functools.partial(self._before_site, site))
        handle = site.transformer.register_forward_pre_hook(before_site, with_kwargs=True)
        self._handles.append(handle)
        self._layers[site.name], state = [], SiteState(len(site.layers))
        applied = functools.partial(self._applied.add, site.name)
        for index, layer in enumerate(site.layers):
            plan_for = functools.partial(
                self._plan_for, site, Obstacles(layer, self._yields_to).reason
            )
            hooks = self._hooks(layer, index, plan_for, state, applied)
            self._handles += hooks.register()
            self._layers[site.name].append(hooks)

    def release(self) -> None:
        """Remove every hook from the U-Net."""
        for handle in self._handles:
            handle.remove()
        for layers in self._layers.values():
            for hooks in layers:
                hooks.release()
        self._handles.clear()
        self._layers.clear()
        self._names.clear()
        self._idle_sites.clear()
        if self.unet is not None:
            _OWNERS[self.unet].remove(self)
        self.unet = None

    # -- what the hooks do

    def _before_unet(self, unet: nn.Module, args: tuple, kwargs: dict) -> None:
        """Read the moment and the latent's size, once a call. Called as unet(x, timesteps, ...)."""
        latent = args[0] if args else kwargs["x"]
        timesteps = args[1] if len(args) > 1 else kwargs["timesteps"]
        # one synchronisation with the device a call; rows of a batch share their timestep
        timestep = float(timesteps.reshape(-1)[0])
        self.moment = self._next_moment(timestep)
        self.plans = dict.fromkeys(self._names)
        self._acts = _OWNERS[unet][-1] is self
        if not self._acts:
            return
        rows, columns = (length * LATENT_FACTOR for length in latent.shape[-2:])
        reason = reason_of_pass(self.settings, self._pass, *(self._size or (columns, rows)))
        self._acts = reason is None
        if reason is not None:
            self._met.add(reason)
            return
        if not self._applied:
            for site in self._idle_sites:
                grid = grid_of(columns, rows, site.level)
                self._met.add(reason_of_site(self.settings, self.moment, site, grid) or NOT_RUN)

    def _next_moment(self, timestep: float) -> Moment:
        before = self.moment
        step = 0 if before is None else before.step + (timestep != before.timestep)
        if self.settings.time_axis == "noise level":
            return Moment(timestep, noise_level_time(timestep), step, self._pass)
        if self._clock is None:
            self._clock = PassClock((timestep, 0.0))
        return Moment(timestep, self._clock.progress(timestep), step, self._pass)

    def _before_site(self, site: Site, transformer: nn.Module, args: tuple, kwargs: dict) -> None:
        """Plan the site from its exact grid, which is right for odd sizes and resized maps too."""
        if self.moment is None:
            return
        feature_map = args[0] if args else kwargs["x"]
        grid = tuple(feature_map.shape[-2:])
        plan = plan_where_it_pays(self.settings, self.moment, site, grid) if self._acts else None
        self.plans[site.name] = plan
        if self._acts and not self._applied:
            # while it lasts, "planned but not run" is the reason
            self._met.add(reason_of_site(self.settings, self.moment, site, grid) or NOT_RUN)
        for hooks in self._layers[site.name]:
            hooks.prepare(plan)

    def _plan_for(
        self,
        site: Site,
        obstacle: Callable[[SitePlan, torch.Tensor, tuple, dict], str | None],
        tokens: torch.Tensor,
        args: tuple,
        kwargs: dict,
    ) -> SitePlan | None:
        """The plan for one call of an attn1, None if it has to be left alone."""
        plan = self.plans.get(site.name)
        if plan is None:
            return None
        reason = obstacle(plan, tokens, args, kwargs)
        if reason:
            self.notes.setdefault(site.name, reason)
            return None
        return plan


@contextlib.contextmanager
def applied(
    unet: nn.Module,
    settings: Settings,
    *,
    yields_to: YieldsTo | None = None,
) -> Iterator[Application]:
    """Change the self-attention of a U-Net as `settings` say while the context lasts.

        with applied(unet, settings) as application:
            samples = sampler(...)

    `unet` is a U-Net of Stable Diffusion 1, 2 (ldm) or XL (sgm), called as
    `unet(x, timesteps, ...)` with x (batch, channels, height, width) and timesteps in 0..1000.
    `yields_to(attn1, grid)` is asked at each attn1, with the (height, width) of its tokens, and
    answers with a reason where another extension acts there already; the site is then left
    alone. In nested use on one U-Net the innermost acts.
    Raises `UnsupportedModelError` when the model has no sites.

    Method: Slothful Attention and Near-sighted Attention by MitoshiroPJ (ComfyUI).
    """
    application = Application(settings, yields_to)
    try:
        application.follow(unet)
        yield application
    finally:
        application.release()
