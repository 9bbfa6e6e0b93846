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
from slothful.layer_hooks import LayerHooks, ReducingHooks, SiteState
from slothful.merging_hooks import MergingHooks
from slothful.methods import TOKEN_MERGING
from slothful.plan import SitePlan, acts_in, may_act
from slothful.schedule import Moment, PassClock, noise_level_time
from slothful.settings import Settings
from slothful.sites import LATENT_FACTOR, Site, find_sites

YieldsTo = Callable[[nn.Module, "tuple[int, int]"], "str | None"]

# which application owns a U-Net at present: in nested use, the innermost
_OWNERS: weakref.WeakKeyDictionary[nn.Module, Application] = weakref.WeakKeyDictionary()


class Application:
    """Settings at work on a U-Net. Made by `applied`; follows the U-Net through calls and passes.

    `plans` holds, for the latest call of the U-Net, the plan of each site by name (None: left
    alone). `notes` collects, by site, why something else than planned happened.
    """

    def __init__(self, settings: Settings, yields_to: YieldsTo | None):
        self.settings = settings
        self.plans: dict[str, SitePlan | None] = {}
        self.notes: dict[str, str] = {}
        self.moment: Moment | None = None
        self.unet: nn.Module | None = None
        self._yields_to = yields_to or (lambda attention, grid: None)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._outer: Application | None = None
        self._clock: PassClock | None = None
        self._pass = "base"
        self._acts = False
        merges = settings.method == TOKEN_MERGING
        self._hooks: type[LayerHooks] = MergingHooks if merges else ReducingHooks
        self._layers: dict[str, list[LayerHooks]] = {}
        self._names: list[str] = []

    # -- what the host calls

    def begin_pass(self, name: str, clock: PassClock | None = None) -> None:
        """Say that a pass begins: `name` is "base", "img2img" or "hires", `clock` its schedule.

        Without a clock, "pass progress" runs from the first timestep of the pass down to 0.
        """
        self._pass, self._clock, self.moment = name, clock, None

    def follow(self, unet: nn.Module) -> None:
        """Move to another U-Net (a refiner, a hires checkpoint); no-op on the present one.

        Raises `UnsupportedModelError`; nothing is applied to any U-Net then.
        """
        if unet is self.unet:
            return
        self.release()
        sites = find_sites(unet)
        self.unet = unet
        self._outer = _OWNERS.get(unet)
        _OWNERS[unet] = self
        add = self._handles.append
        add(unet.register_forward_pre_hook(self._before_unet, with_kwargs=True))
        for site in sites:
            self._names.append(site.name)
            if not may_act(self.settings, site):  # every hook takes time
                continue
            before_site = functools.partial(self._before_site, site)
            add(site.transformer.register_forward_pre_hook(before_site, with_kwargs=True))
            self._layers[site.name], state = [], SiteState(len(site.layers))
            for index, layer in enumerate(site.layers):
                plan_for = functools.partial(self._plan_for, site, layer.attn1)
                hooks = self._hooks(layer, index, plan_for, state)
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
        if self.unet is not None and _OWNERS.get(self.unet) is self:
            del _OWNERS[self.unet]
            if self._outer is not None:
                _OWNERS[self.unet] = self._outer
        self.unet = self._outer = None

    # -- what the hooks do

    def _before_unet(self, unet: nn.Module, args: tuple, kwargs: dict) -> None:
        """Read the moment and the latent's size, once a call. Called as unet(x, timesteps, ...)."""
        latent = args[0] if args else kwargs["x"]
        timesteps = args[1] if len(args) > 1 else kwargs["timesteps"]
        # one synchronisation with the device a call; rows of a batch share their timestep
        timestep = float(timesteps.reshape(-1)[0])
        rows, columns = latent.shape[-2:]
        self._acts = acts_in(
            self.settings, self._pass, columns * LATENT_FACTOR, rows * LATENT_FACTOR
        )
        self.moment = self._next_moment(timestep)
        self.plans = dict.fromkeys(self._names)

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
        acts = _OWNERS.get(self.unet) is self and self._acts
        plan = plan_where_it_pays(self.settings, self.moment, site, grid) if acts else None
        self.plans[site.name] = plan
        for hooks in self._layers[site.name]:
            hooks.prepare(plan)

    def _plan_for(
        self, site: Site, attention: nn.Module, tokens: torch.Tensor, args: tuple, kwargs: dict
    ) -> SitePlan | None:
        """The plan for one call of an attn1, None if it has to be left alone."""
        plan = self.plans.get(site.name)
        if plan is None:
            return None
        obstacle = self._obstacle(attention, plan, tokens, args, kwargs)
        if obstacle:
            self.notes.setdefault(site.name, obstacle)
            return None
        return plan

    def _obstacle(
        self, attention: nn.Module, plan: SitePlan, tokens: torch.Tensor, args: tuple, kwargs: dict
    ) -> str | None:
        """Why this call must be left alone, None if nothing speaks against it."""
        context = args[1] if len(args) > 1 else kwargs.get("context")
        if context is not None and context is not tokens:
            return "another extension gave it keys of its own"
        if any(value is not None for value in args[2:]) or kwargs.get("mask") is not None:
            return "it was called with a mask"
        # sgm's video models pass tokens of other frames
        if kwargs.get("additional_tokens") is not None or kwargs.get(
            "n_times_crossframe_attn_in_self"
        ):
            return "it was called with tokens of other frames"
        if tokens.shape[1] != plan.grid[0] * plan.grid[1]:
            return "something else merges its tokens, as the webui's own token merging"
        return self._yields_to(attention, plan.grid)


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
