"""What is measured: no patch, the rivals and ours, each with the cost that is counted for it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import slothful
from benchmarks.pictures.sampling import Picture
from benchmarks.rivals import RIVALS, EasyCache, Rival
from benchmarks.rivals import tgate as tgate_kinds
from slothful import Settings, UnetShape, grid_of, plan_site
from slothful.planning.forecast import LOOKS_AT
from slothful.settings.methods import ASLEEP, NEAR_SIGHTED, NO_METHOD, SELF_ATTENTION, SLEEPS
from slothful.unet.foreign import OwnHook
from slothful.unet.memory import Entry
from slothful_webui.presets import SHIPPED, PresetFolders

NONE = "no patch"
PRESETS = ("asleep gentle", "asleep half", "asleep deep")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a picture: calls of a `kind` do the same work, but for its amount. `cost`: its
    arithmetic relative to a call without a patch. `keeps`: it is computed, and what it gives is
    kept where later calls want it.
    """

    kind: str
    cost: float
    keeps: bool = False


@dataclasses.dataclass(frozen=True)
class Play:
    """A variant at work on a U-Net: `prepare` is told the number of the call before each; `kept`
    gives the tensors that are kept for later calls.
    """

    prepare: Callable[[int], None]
    kept: Callable[[], Any]


class Variant:
    """No patch. `history`: how many calls that keep something a call looks back at."""

    history = 0
    program: object = NONE
    """Variants of one program do the same in calls of a kind, and differ in when these come."""

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """What each call of a picture is, by the plan."""
        return [Call("full", 1.0, keeps=True) for _ in picture.calls]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """Within, the U-Net's calls are those of a picture, as `prepare` tells."""
        yield Play(lambda call: None, lambda: ())


class Ours(Variant):
    """Our settings."""

    def __init__(self, **values: Any):
        self.settings = Settings(**{"method": NO_METHOD, **values})
        self.history = LOOKS_AT[self.settings.sleep_forecast]
        schedule = [each.name for each in Settings.parameters() if each.name.startswith("sleep_")]
        when = {*schedule} - {"sleep_awake_blocks", "sleep_forecast"}
        program = {k: v for k, v in self.settings.as_dict().items() if k not in when}
        self.program = repr(sorted(program.items()))

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """See `Variant`."""
        return [self._call(shape, picture, index) for index in range(len(picture.calls))]

    def _call(self, shape: UnetShape, picture: Picture, index: int) -> Call:
        moment = picture.moment(index, self.settings.time_axis == "noise level")
        cost = slothful.estimate(self.settings, shape, *picture.size, [moment])
        sites = (each.site for each in shape.sites)
        plans = [
            plan_site(self.settings, moment, s, grid_of(*picture.size, s.level)) for s in sites
        ]
        asleep = any(isinstance(plan, slothful.Sleep) for plan in plans)
        kind = "asleep" if asleep else "awake"
        if slothful.is_one_sided(self.settings, moment):
            return Call(f"{kind}, one side", cost.total_share)
        return Call(kind, cost.total_share, not asleep)

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        with slothful.applied(unet, self.settings) as application:
            application.begin_pass("base", picture.clock, picture.size)
            memory = application._sleeper._memory

            def tell_rows(unet: nn.Module, args: tuple) -> None:
                images = range(len(args[0]) // 2)
                sides = [[slothful.Row(i, negative) for i in images] for negative in (False, True)]
                application.expect_rows([*sides[0], *sides[1]])

            handle = unet.register_forward_pre_hook(OwnHook(tell_rows), prepend=True)
            try:
                yield Play(lambda call: application.begin_step(), lambda: vars(memory))
            finally:
                handle.remove()


class Theirs(Variant):
    """A rival. `costs`: of its kinds of calls that are not full."""

    def __init__(
        self,
        make: Callable[[nn.Module, Picture], Rival],
        costs: Callable[[UnetShape, Picture], dict[str, float]],
        history: int = 1,
    ):
        self._make, self._costs, self.history = make, costs, history
        self.program = self

    def calls(self, shape: UnetShape, picture: Picture) -> list[Call]:
        """See `Variant`."""
        costs = self._costs(shape, picture)
        kinds = self._make(nn.Module(), picture).kinds(len(picture.calls))
        return [Call(kind, costs.get(kind, 1.0), kind not in costs) for kind in kinds]

    @contextlib.contextmanager
    def playing(self, unet: nn.Module, picture: Picture) -> Iterator[Play]:
        """See `Variant`."""
        with self._make(unet, picture) as rival:
            rival.begin_pass(len(picture.calls))
            yield Play(functools.partial(setattr, rival, "index"), lambda: vars(rival))


def deep_cache(name: str) -> Theirs:
    """One of the rivals of this name."""

    def costs(shape: UnetShape, picture: Picture) -> dict[str, float]:
        awake = 2 if name.endswith("branch 1") else 1
        return {"shallow": min(call.cost for call in deep(2, awake).calls(shape, picture))}

    return Theirs(lambda unet, picture: RIVALS[name](unet), costs)


def _tgate() -> Theirs:
    def costs(shape: UnetShape, picture: Picture) -> dict[str, float]:
        reused = min(call.cost for call in asleep(SELF_ATTENTION, 2).calls(shape, picture))
        full = slothful.estimate(Settings(), shape, *picture.size, [picture.moment(0)]).full
        cross = sum(
            each.cross * grid[0] * grid[1] + each.prompt
            for each in shape.sites
            for grid in [grid_of(*picture.size, each.site.level)]
        )
        # of one half of the batch
        return {tgate_kinds.REUSED: reused, tgate_kinds.AFTER: (1 - cross / full) / 2}

    return Theirs(lambda unet, picture: RIVALS["T-GATE"](unet), costs)


def _easy_cache() -> Theirs:
    """With random weights its rule means nothing: every other call is skipped where it may skip,
    and what the rule needs is computed all the same.
    """

    def make(unet: nn.Module, picture: Picture) -> Rival:
        count = len(picture.calls)
        rival = EasyCache(unet)
        first, end = rival.start * count, min(rival.end * count, count - 1)
        inside = [index for index in range(count) if first <= index < end]
        return EasyCache(unet, fixed=set(inside[::2]))

    return Theirs(make, lambda shape, picture: {"skipped": 0.0}, history=2)


def asleep(part: str, every: float, **values: Any) -> Ours:
    """Sleep alone, with our defaults besides."""
    return Ours(sleep=part, sleep_every=every, **values)


def deep(every: float, awake: int, **values: Any) -> Ours:
    """Deep blocks asleep, but for so many first and last ones."""
    return asleep("deep blocks", every, sleep_awake_blocks=awake, **values)


def variants() -> dict[str, Variant]:
    """All of them, by name."""
    found: dict[str, Variant] = {NONE: Variant()}
    for name in ("DeepCache 3", "DeepCache 3, branch 1"):
        found[name] = deep_cache(name)
    found["T-GATE"] = _tgate()
    found["EasyCache, every other call"] = _easy_cache()
    found["Spectrum"] = Theirs(
        lambda unet, picture: RIVALS["Spectrum"](unet), lambda *_: {"forecast": 0.0}, history=2
    )
    for part in SLEEPS[1:4]:
        found[f"{part} n = 3"] = asleep(part, 3)
    for every in (3, 2):
        for awake in (3, 2, 1):
            found[f"deep blocks n = {every}, {awake} awake"] = deep(every, awake)
    found["deep blocks n = 3, 2 awake, ends as well"] = deep(3, 2, sleep_first=0, sleep_last=0)
    for awake in (3, 1):
        near = deep(3, awake, method=NEAR_SIGHTED)
        found[f"{NEAR_SIGHTED}, deep blocks n = 3, {awake} awake"] = near
    found["whole calls n = 2"] = asleep("whole calls", 2, sleep_forecast="linear")
    found["negative side n = 2"] = Ours(negative=ASLEEP)
    folders = PresetFolders([SHIPPED])
    for name in PRESETS:
        found[f"preset {name}"] = Ours(**folders.load(name).settings.changed())
    return found


def held_bytes(value: Any) -> int:
    """Of all tensors inside dictionaries, lists and our entries, each storage once; parameters
    are the model's.
    """
    storages: dict[int, int] = {}

    def look(value: Any) -> None:
        if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, dict):
            look(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for each in value:
                look(each)
        elif isinstance(value, Entry):
            look(value.value)

    look(value)
    return sum(storages.values())
