"""Settings at work on a U-Net, and only inside `with applied(...)`.

PyTorch's own removable forward hooks: the attention itself is computed by whatever optimization is
active, and hypernetworks, LoRA and other extensions compose with it in any order. A `forward` is
replaced for what sleeps in a call, and where an attention is known to do nothing but attend, and
keys have weights. A U-Net is what it was before once the context is left, however it is left.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.cost import MadeCall
from ..planning.limits import within_limits
from ..planning.moment import Moment, PassClock
from ..planning.nothing import KEPT, NO_SITES
from ..planning.plan import AwakePlan, SitePlan
from ..planning.planner import may_apply, plan_awake, plan_site
from ..planning.site import LATENT_FACTOR, Grid, Site, grid_of
from ..settings.settings import Settings
from .anatomy import UnsupportedModelError
from .calls import LDM, Args, Kwargs, fingerprint, read_together, rounding, tensor_in, wrapping_of
from .foreign import OwnHook
from .known_rows import KnownRows
from .memory import CallKey, Memory
from .mixing import Mixing
from .negative import NegativeSide
from .obstacles import YieldsTo
from .pass_time import PassTime
from .prediction import Prediction
from .reasons import Reasons
from .rows import Prompt, Row, ToldRows, rows_of
from .site_hooks import SiteHooks
from .sites import SiteModules, find_sites
from .sleeping import Sleeper
from .sleeping_parts import Call, Making

# the applications on a U-Net, in the order in which they came; the last is at work
_OWNERS: weakref.WeakKeyDictionary[nn.Module, list[Application]] = weakref.WeakKeyDictionary()


class Application:
    """Settings at work on a U-Net. Made by `applied`; follows the U-Net through calls and passes.

    `plans` holds, for the latest call of the U-Net, the plan of each site by name (None: skipped).
    `notes` collects, by site, why something else than planned happened. What was done over all
    calls, `applied_sites` and `why_nothing` tell.
    """

    def __init__(self, settings: Settings, yields_to: YieldsTo | None = None):
        self.settings = settings
        self.plans: dict[str, SitePlan | None] = {}
        self.notes: dict[str, str] = {}
        self.moment: Moment | None = None
        self.unet: nn.Module | None = None
        self._yields_to = yields_to or (lambda attention, grid: None)
        self._dialect = LDM
        self._handles: list[RemovableHandle] = []
        self._site_hooks: dict[str, list[SiteHooks]] = {}
        self._names: list[str] = []
        self._idle_sites: list[Site] = []
        # of sites in this call, by their place, for two may have one name
        self._awake: dict[int, tuple[Grid, AwakePlan | None]] = {}
        self._sleeper = Sleeper(settings, self._note)
        self._known = KnownRows()
        self._negative = NegativeSide(settings, self._known)
        self._mixing = Mixing(settings, self._known, self._yields_to, self._applied_at, self._note)
        idle = self._sleeper.is_idle, self._negative.is_idle, self._mixing.is_idle
        self._looks_ahead = not all(idle)
        self._passes = 0
        self._calls: list[MadeCall] = []
        self._steps: set[tuple[int, int]] = set()  # of all passes
        self._slept: set[tuple[int, int]] = set()
        self._one_sided: set[tuple[int, int]] = set()
        self._time = PassTime(settings)
        self._at_work = False  # in this call
        self._asleep: set[str] = set()  # the sites that sleep in it
        self._reasons = Reasons(settings, sleeps=not self._sleeper.is_idle)
        self._applied: set[str] = set()
        self._known_names: dict[str, None] = {}  # of all U-Nets, in the order of their sites

    # -- what the host calls

    def begin_pass(
        self, name: str, clock: PassClock | None = None, size: tuple[int, int] | None = None
    ) -> None:
        """Say that a pass begins: `name` is "base", "img2img" or "hires", `clock` its schedule,
        `size` the (width, height) of its image in pixels.

        Without a clock, "pass progress" runs from the first timestep of the pass down to 0. Without
        a size, the minimum sides are compared with the latent of each call, which may be a tile of
        the image.
        """
        self._time.begin_pass(name, clock, size)
        self.moment = None
        self._passes += 1
        self._sleeper.forget()
        self._negative.forget()
        for hooks in self._all_hooks():
            hooks.forget_forwards()

    def begin_step(self) -> None:
        """Say that a step of the sampler begins, which may call the U-Net once or several times.

        Without it, calls at one timestep are taken for those of one step.
        """
        self._time.begin_step()
        self.expect_rows()

    def expect_rows(
        self,
        rows: Sequence[Row] = (),
        texts: torch.Tensor | None = None,
        reason: str = "",
        negatives: torch.Tensor | None = None,
        prompts: Sequence[Prompt] = (),
    ) -> None:
        """Say which rows come in the next calls of the U-Net, one after the other, until this is
        said again or a step begins. Both sides are computed where that is not known.

        `texts`: the beginning of what each row is conditioned on, (rows, tokens, channels), by
        which calls are recognised. `reason`: why there are no rows, or why nothing may be done with
        them. `negatives`: the negative prompts in full, one for each image or one for all,
        (prompts, tokens, channels); needed where no rows stand for them. `prompts`: of hosts that
        mark the rows of each call, the prompts in the order in which they come, for their weights.
        """
        self._known.tell(ToldRows(rows, texts, reason, negatives, prompts))
        self._negative.begin_step()

    @property
    def wants_rows(self) -> bool:
        """Whether the settings do anything by which rows have to be known."""
        return not (self._negative.is_idle and self._mixing.is_idle)

    @property
    def applied_sites(self) -> tuple[str, ...]:
        """The sites at which something was applied in any call so far, in their order."""
        return tuple(name for name in self._known_names if name in self._applied)

    @property
    def step_count(self) -> int:
        """The steps of all passes so far, where the settings let something sleep."""
        return len(self._steps)

    @property
    def asleep_steps(self) -> int:
        """In how many of these something slept."""
        return len(self._slept)

    @property
    def one_sided_steps(self) -> int:
        """In how many of these the negative side slept."""
        return len(self._one_sided)

    @property
    def negative_notes(self) -> tuple[str, ...]:
        """Why the negative side was computed in steps in which it should have slept."""
        return tuple(self._negative.reasons)

    @property
    def mix_notes(self) -> tuple[str, ...]:
        """Why keys were not mixed in calls in which they should have been."""
        return tuple(self._mixing.reasons)

    def take_calls(self) -> list[MadeCall]:
        """The calls that were made since this was last asked, where the settings let something
        sleep.
        """
        calls, self._calls = self._calls, []
        return calls

    def why_nothing(self) -> str | None:
        """Why nothing was applied in any call so far, None if something was: one of
        `slothful.planning.nothing.REASONS`, or that other extensions keep the sites.
        """
        if self._applied or self._one_sided:
            return None
        reasons = {**self._negative.reasons, **self._mixing.reasons}
        if reasons and not self.notes:
            return next(iter(reasons))
        if self.notes:
            return KEPT.format(reasons="; ".join(dict.fromkeys(self.notes.values())))
        return self._reasons.nearest()

    def plan_at(self, name: str, grid: Grid, timestep: float) -> SitePlan | None:
        """Plan a site as a call of the U-Net would, at a timestep, for a (height, width) grid, so
        that its attentions can be called alone. The plan; None if the site is skipped.
        """
        height, width = grid
        self._begin_call(timestep, (width * LATENT_FACTOR, height * LATENT_FACTOR))
        for hooks in self._site_hooks.get(name, []):
            hooks.prepare(grid)
        return self.plans.get(name)

    def follow(self, unet: nn.Module, prediction: Callable[[], Prediction] = Prediction) -> None:
        """Move to another U-Net (a refiner, a hires checkpoint); no-op on the present one.

        `prediction` is asked what it predicts, where whole calls sleep; by default the noise on
        Stable Diffusion's schedule. Raises `UnsupportedModelError`, `SettingsError` where the
        settings do not suit the model, and what `prediction` raises; nothing is applied then.
        """
        if unet is self.unet:
            return
        self.release()
        try:
            found = find_sites(unet)
        except UnsupportedModelError:
            self._reasons.add(NO_SITES)
            raise
        self._dialect = found[0].dialect
        # before the hooks at each attn1, which then are the first to see its answers
        self._handles += self._sleeper.follow(unet, found, prediction)
        self.unet = unet
        _OWNERS.setdefault(unet, []).append(self)
        before, after = OwnHook(self._before_unet), OwnHook(self._after_unet)
        self._handles.append(unet.register_forward_pre_hook(before, with_kwargs=True))
        if self._looks_ahead:
            # before others look at what may lack some rows
            self._handles.append(unet.register_forward_hook(after, prepend=True))
            making = Making(self.settings, unet, found, prediction, Memory(), self._note)
            self._negative.follow(making, (before, after))
        for modules in found:
            name = modules.site.name
            self._names.append(name)
            self._known_names[name] = None
            if may_apply(self.settings, modules.site):  # every hook takes time
                self._hook(modules)
            else:
                self._idle_sites.append(modules.site)
        self._mixing.follow(found, self._site_hooks)

    def _hook(self, modules: SiteModules) -> None:
        site = modules.site
        hooks = SiteHooks(
            modules,
            functools.partial(self._plan, site),
            self._yields_to,
            functools.partial(self._applied_at, site.name),
            functools.partial(self._note, site.name),
            self._sleeper.dictionaries,
        )
        self._handles += hooks.register()
        self._site_hooks.setdefault(site.name, []).append(hooks)

    def _all_hooks(self) -> Iterator[SiteHooks]:
        return itertools.chain.from_iterable(self._site_hooks.values())

    def _applied_at(self, name: str) -> None:
        self._applied.add(name)

    def _note(self, name: str, reason: str) -> None:
        self.notes.setdefault(name, reason)

    def release(self) -> None:
        """Remove every hook from the U-Net."""
        for handle in self._handles:
            handle.remove()
        self._sleeper.leave()
        self._negative.leave()
        self._mixing.leave()
        for hooks in self._all_hooks():
            hooks.release()
        self._handles.clear()
        self._site_hooks.clear()
        self._names.clear()
        self._idle_sites.clear()
        if self.unet is not None:
            _OWNERS[self.unet].remove(self)
        self.unet = None

    # -- what the hooks do

    def _before_unet(
        self, unet: nn.Module, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs] | None:
        """Read the moment, the latent's size and what sleep asks for, once a call."""
        latent = self._dialect.latent_of(args, kwargs)
        rows, columns = (n * LATENT_FACTOR for n in latent.shape[-2:])
        timesteps = self._dialect.timesteps_of(args, kwargs)[:1]
        self._time.rounding = rounding(timesteps.dtype)
        if not self._looks_ahead:
            # one synchronisation with the device a call; rows of a batch share their timestep
            self._begin_call(float(timesteps[0]), (columns, rows))
            self._plan_ahead((columns, rows))
            return None
        # what the rows are conditioned on is read along with it
        conditions = self._dialect.conditioning_of(args, kwargs)
        size, doubts = self._time.size, []
        if self.wants_rows:
            doubts = self._known.look(latent, conditions, kwargs, size)
        told = [each.to(latent.device) for each in self._negative.prints()]
        changes = self._sleeper.measure(*self._negative.latents(latent))
        prints = [fingerprint(each).to(latent.device) for each in conditions]
        now = timesteps.to(latent.device).float()
        (timestep,), doubted, told_prints, measured, *conditioning = read_together(
            [now], doubts, told, changes, *([each] for each in prints)
        )
        self._known.check(doubted)
        self._begin_call(timestep, (columns, rows))
        assert self.moment is not None
        kind = latent.shape, latent.dtype, latent.device
        key = CallKey(self._time.call_number, *kind, tuple(conditioning))
        at_work = self._at_work and within_limits(self.settings, self.moment)
        place = self._passes, self.moment.index
        self._steps.add(place)
        given = self._dialect, args, kwargs
        half = self._negative.begin_call(self.moment, key, latent, given, at_work, told_prints)
        self._mixing.begin_call(self.moment, at_work and half is None)
        if half is not None:
            self._one_sided.add(place)
            at_work = bool(half.rows)
            key, latent = key.of_rows(half.rows), rows_of(latent, half.rows)
        call = Call(key, self.moment.index, timestep, latent)
        for site in self._sleeper.begin_call(self.moment, call, at_work, measured):
            self._slept.add(place)
            grid = grid_of(columns, rows, site.level)
            self.plans[site.name] = plan_site(self.settings, self.moment, site, grid)
            self._asleep.add(site.name)
            self._applied.add(site.name)
        self._plan_ahead((columns, rows))
        return None if half is None else (half.args, half.kwargs)

    def _after_unet(self, unet: nn.Module, args: Args, answer: Any) -> Any:
        output = tensor_in(answer)
        self._sleeper.end_call(output)
        asleep, attends = self._negative.asleep_rows, self._negative.attends
        doubled, whole = frozenset(self._mixing.doubled), self._negative.end_call(output)
        self._mixing.end_call()
        rows, _, height, width = (output if whole is None else whole).shape
        size = width * LATENT_FACTOR, height * LATENT_FACTOR
        made = MadeCall(size, rows, dict(self.plans), asleep, attends, doubled)
        self._calls.append(made)
        return None if whole is None else wrapping_of(answer)(whole)

    def _begin_call(self, timestep: float, size: tuple[int, int]) -> None:
        """`size`: the (width, height) in pixels of what the U-Net gets."""
        assert self.unet is not None
        self.moment = moment = self._time.next_moment(timestep, size, self._looks_ahead)
        self.plans = dict.fromkeys(self._names)
        self._asleep.clear()
        self._awake.clear()
        self._at_work = _OWNERS[self.unet][-1] is self
        if self._at_work and not self._applied:
            idle = ((site, grid_of(*size, site.level)) for site in self._idle_sites)
            self._reasons.begin_call(moment, idle)

    def _plan_ahead(self, size: tuple[int, int]) -> None:
        """Plan the sites of a call, which one after the other takes a third of the time that it
        takes between their work. `size`: as in `_begin_call`.
        """
        if self.moment is None or not self._at_work:
            return
        for hooks in self._all_hooks():
            site = hooks.modules.site
            if site.name not in self._asleep:
                grid = grid_of(*size, site.level)
                self._awake[site.index] = grid, plan_awake(self.settings, self.moment, site, grid)

    def _plan(self, site: Site, grid: Grid) -> SitePlan | None:
        """What happens at a site in this call."""
        if self.moment is None or not self._at_work or site.name in self._asleep:
            return None
        known, awake = self._awake.get(site.index, (None, None))
        if known != grid:  # a map of another size than the latent's
            awake = plan_awake(self.settings, self.moment, site, grid)
        plan = self._sleeper.dictionaries.settled(awake, site)
        self.plans[site.name] = plan
        if not self._applied:
            self._reasons.look(self.moment, site, grid)
        return plan
