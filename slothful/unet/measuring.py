"""Times the parts of a U-Net that is loaded, on its device and in its precision."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..planning.plan import SitePlan
from ..planning.seconds import (
    MachineCosts,
    Timed,
    fit,
    kind_of,
    timed,
)
from ..planning.site import LATENT_FACTOR, Grid, grid_of
from ..settings.methods import SUBSAMPLING
from ..settings.settings import Settings
from .anatomy import Block, anatomy_of
from .application import Application
from .calls import Args, Dialect, Kwargs
from .foreign import OwnHook
from .looked import Looked, attentions_of, blocks_of, grown, parts_of
from .rows import call_of_rows
from .shape import shape_of
from .sites import SiteModules, find_sites
from .stopwatch import Clock, Stopwatch

SIZES = (256, 384, 512, 768, 1024, 1280)
"""Sides of the square images that are tried, in pixels, as long as time allows."""

USUAL = 1024
"""The side that is tried first of those for which there is little time."""

BUDGET = 24.0
"""Seconds that all of it shall take, as far as calls of one size tell about the next."""

ROUNDS = 5
"""How often each thing is timed, where that takes no longer than `PATIENCE`; the median counts."""

PATIENCE = 2.5
"""Seconds."""

WHOLE = "whole", 0

Progress = Callable[[float], None]


class _Layer(NamedTuple):
    """A layer as it was called last."""

    module: nn.Module
    args: Args
    kwargs: Kwargs


@torch.no_grad()
def measure(
    unet: nn.Module,
    args: Args,
    kwargs: Kwargs,
    progress: Progress = lambda share: None,
    *,
    sizes: Sequence[int] | None = None,
    budget: float = BUDGET,
    clock: Clock = time.perf_counter,
) -> MachineCosts:
    """The costs of a U-Net, called as with `args` and `kwargs`, but for images of several sizes.

    `progress` is told the share that is done, in 0..1, and may raise to end it. Leaves no hook. On
    a CPU one row is timed, for there two take twice as long. Raises `UnsupportedModelError` as
    `shape_of` does.
    """
    sizes = sizes or SIZES
    found, shape = find_sites(unet), shape_of(unet)
    dialect = found[0].dialect
    latent = dialect.latent_of(args, kwargs)
    if latent.device.type == "cpu" and len(latent) > 1:
        args, kwargs = call_of_rows(dialect, args, kwargs, [0])
    caller = _Caller(unet, found, dialect, args, kwargs, Stopwatch(latent.device, clock))
    begin, spent = clock(), 0.0
    looked: dict[int, Looked] = {}
    caller.call(caller.latent(sizes[0]))  # the warm-up
    for size, following in zip(sizes, (*sizes[1:], None)):
        try:
            looked[size] = caller.look(size)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            sizes = tuple(looked)
            break
        spent = clock() - begin
        progress(min(0.7 * spent / budget, 0.7))
        last = looked[size].whole
        if following is None:
            break
        # one size alone does not tell what a call takes however small it is
        if len(looked) > 1 and spent + 1.3 * last * (following / size) ** 2 > 0.6 * budget:
            break
    samples, seen, reached = attentions_of(shape, looked, caller.rows), max(looked), 0
    sides = list(looked)[-2:]
    # of sizes for which a call takes too long, layers alone: they take a fraction
    beyond = [each for each in sizes if each > seen]
    try:
        for size in sorted(beyond, key=lambda each: abs(each - USUAL)):
            alone = caller.alone(size)
            samples += alone
            reached = max(size, reached)
            spent = clock() - begin
            progress(0.7)
            if spent + 6 * sum(each.seconds for each in alone) > 0.9 * budget:
                break
        if reached:
            growth = caller.growth(seen, reached, progress)
            looked[reached] = grown(shape, looked[seen], growth, (reached / seen) ** 2)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
    progress(0.8)
    for number, side in enumerate(sides, 1):
        samples += caller.planned(side)
        progress(0.8 + 0.2 * number / len(sides))
    attention, hook, search, value = fit(samples)
    return MachineCosts(
        blocks_of(shape, looked, caller.rows), parts_of(shape, looked, caller.rows),
        attention, hook, search, value,
    )  # fmt: skip


@dataclasses.dataclass
class _Caller:
    """Calls a U-Net with images of any size, and times it."""

    unet: nn.Module
    found: Sequence[SiteModules]
    dialect: Dialect
    args: Args
    kwargs: Kwargs
    watch: Stopwatch
    dtype: torch.dtype | None = None  # of the tokens, seen in a call
    # one of each part and level, besides self-attention
    layers: dict[tuple[str, int], _Layer] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.dialect.latent_of(self.args, self.kwargs))

    def latent(self, side: int) -> torch.Tensor:
        """Of an image of this side: (rows, channels, height, width)."""
        latent = self.dialect.latent_of(self.args, self.kwargs)
        shape = *latent.shape[:2], side // LATENT_FACTOR, side // LATENT_FACTOR
        return _noise(shape, latent)

    def call(self, latent: torch.Tensor) -> None:
        if self.args:
            self.unet(latent, *self.args[1:], **self.kwargs)
            return
        name = self.dialect.latent if self.dialect.latent in self.kwargs else self.dialect.tokens
        self.unet(**{**self.kwargs, name: latent})

    def look(self, side: int) -> Looked:
        """A call of a size, part by part. What watches the parts takes a GPU's host time, so they
        are brought to the time of calls that nobody watches.
        """
        rounds: list[dict[tuple[str, int], float]] = []
        latent, begin = self.latent(side), time.perf_counter()
        while len(rounds) < ROUNDS and (not rounds or time.perf_counter() - begin < PATIENCE):
            rounds.append(self._parts_of_call(latent))
        parts = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        whole = parts.pop(WHOLE)
        if self.watch.on_gpu:
            alone = self._median(functools.partial(self.call, latent))
            parts = {key: seconds * alone / whole for key, seconds in parts.items()}
            whole = alone
        return Looked(whole, parts)

    def _parts_of_call(self, latent: torch.Tensor) -> dict[tuple[str, int], float]:
        with self._watched() as marks:
            begin = self.watch.mark()
            self.call(latent)
            marks.append((WHOLE, (begin, self.watch.mark())))
            self.watch.wait()
        parts: dict[tuple[str, int], float] = defaultdict(float)
        for key, (one, other) in marks:
            parts[key] += self.watch.between(one, other)
        return dict(parts)

    def planned(self, side: int) -> list[Timed]:
        """The attentions of one site of each kind on the two finest levels, with each method that
        keeps tokens.
        """
        samples = []
        chosen = {each.site.depth: each for each in self.found if each.site.side != "middle"}
        for modules in (chosen[depth] for depth in sorted(chosen)[:2]):
            site = modules.site
            grid = grid_of(side, side, site.level)
            for method in SUBSAMPLING:
                settings = Settings(method=method, time_decay=0.0)
                with at_work(settings, self.unet) as application:
                    prepare = functools.partial(application.plan_at, site.name, grid, 500.0)
                    plan: SitePlan | None = prepare()
                    if plan is None:
                        continue
                    run = functools.partial(_attend, modules, self._tokens(modules, grid))
                    # the first call of a pass takes a way of its own
                    seconds = self._median(run, prepare)
                samples.append(timed(plan, site, grid, self.rows, seconds))
        return samples

    def alone(self, side: int) -> list[Timed]:
        """One attention of each kind and level as it is, as in an image of this side."""
        samples = []
        chosen = {(kind_of(each.site), each.site.level): each for each in self.found}
        for modules in chosen.values():
            grid = grid_of(side, side, modules.site.level)
            tokens = self._tokens(modules, grid)
            seconds = self._median(functools.partial(_attend, modules, tokens, 1))
            site = dataclasses.replace(modules.site, layers=1)
            samples.append(timed(None, site, grid, self.rows, seconds))
        return samples

    def growth(self, seen: int, side: int, progress: Progress) -> dict[tuple[str, int], float]:
        """How many times as long one layer of each part and level takes in an image of this side,
        by ("block", level), ("mlp", level) and ("cross", level), as in one of the side that was
        `seen` last.
        """
        found = {}
        for key, layer in self.layers.items():
            larger, same = (
                self._median(functools.partial(_call_layer, layer, _enlarged(layer, factor)))
                for factor in (side / seen, 1.0)
            )
            found[key] = larger / same
            progress(0.7)
        return found

    def _tokens(self, modules: SiteModules, grid: Grid) -> torch.Tensor:
        latent = self.dialect.latent_of(self.args, self.kwargs)
        shape = self.rows, grid[0] * grid[1], modules.site.channels
        return _noise(shape, latent, self.dtype)

    def _median(
        self, run: Callable[[], None], after_first: Callable[[], object] = lambda: None
    ) -> float:
        """Seconds of a run, after one that warms up; of several where they are short."""
        run()
        after_first()
        times: list[float] = []
        begun = time.perf_counter()
        while len(times) < ROUNDS and (not times or time.perf_counter() - begun < PATIENCE / 2):
            self.watch.wait()
            begin = self.watch.mark()
            run()
            end = self.watch.mark()
            self.watch.wait()
            times.append(self.watch.between(begin, end))
        return statistics.median(times)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[list[tuple[tuple[str, int], tuple[Any, Any]]]]:
        """Within, each part of a call adds its key and the marks at its begin and its end."""
        marks: list[tuple[tuple[str, int], tuple[Any, Any]]] = []
        handles = []
        for key, module in self._parts():
            begun: list[Any] = []

            def before(*_: Any, begun: list[Any] = begun) -> None:
                begun.append(self.watch.mark())

            def after(*_: Any, key: Any = key, begun: list[Any] = begun) -> None:
                marks.append((key, (begun.pop(), self.watch.mark())))

            handles.append(module.register_forward_pre_hook(OwnHook(before)))
            handles.append(module.register_forward_hook(OwnHook(after)))
        self.layers.clear()
        for key, module in self._samples():
            see = OwnHook(functools.partial(self._see_layer, key))
            handles.append(module.register_forward_pre_hook(see, with_kwargs=True))
        first: Any = self.found[0].attentions[0]
        handles.append(first.to_q.register_forward_pre_hook(OwnHook(self._see)))
        try:
            yield marks
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, module: nn.Module, args: Args) -> None:
        self.dtype = args[0].dtype

    def _see_layer(
        self, key: tuple[str, int], module: nn.Module, args: Args, kwargs: Kwargs
    ) -> None:
        if args:  # else it is not known which of the arguments grows
            self.layers.setdefault(key, _Layer(module, args, kwargs))

    def _samples(self) -> Iterator[tuple[tuple[str, int], nn.Module]]:
        """Layers to be called alone, by part and level: those of several convolutions, feed-forward
        layers and cross-attentions.
        """
        transformers = {id(modules.transformer) for modules in self.found}
        for block in anatomy_of(self.unet).blocks:
            for layer in _layers_of(block):
                convolutions = sum(isinstance(each, nn.Conv2d) for each in layer.modules())
                if convolutions > 1 and id(layer) not in transformers:
                    yield ("block", block.level), layer
        for modules in self.found:
            layers_of_site: Any = modules.layers
            yield ("mlp", modules.site.level), layers_of_site[0].ff
            if layers_of_site[0].attn2 is not None:
                yield ("cross", modules.site.level), layers_of_site[0].attn2

    def _parts(self) -> Iterator[tuple[tuple[str, int], nn.Module]]:
        anatomy = anatomy_of(self.unet)
        for block in anatomy.blocks:
            for layer in _layers_of(block):
                yield ("block", anatomy.inside[block.name]), layer
        for number, modules in enumerate(self.found):
            inside = modules.site.inside
            yield ("transformer", inside), modules.transformer
            layers_of_site: Any = modules.layers
            for layer in layers_of_site:
                yield ("attention", number), layer.attn1
                yield ("mlp", inside), layer.ff
                if layer.attn2 is not None:
                    yield ("cross", inside), layer.attn2


def _layers_of(block: Block) -> Iterator[nn.Module]:
    """A block's layers: some hosts call them one by one, and never the block."""
    for part in block.modules:
        yield from part.children() if isinstance(part, nn.Sequential) else (part,)


def _attend(modules: SiteModules, tokens: torch.Tensor, layers: int | None = None) -> None:
    for attention in modules.attentions[:layers]:
        attention(tokens)


def _enlarged(layer: _Layer, factor: float) -> torch.Tensor:
    """The map, or the tokens, that a layer gets of an image with so many times as long sides."""
    given: torch.Tensor = layer.args[0]
    if given.ndim == 4:
        shape = *given.shape[:2], *(round(factor * side) for side in given.shape[2:])
    else:
        shape = len(given), round(factor**2 * given.shape[1]), given.shape[2]
    return _noise(shape, given)


def _call_layer(layer: _Layer, given: torch.Tensor) -> None:
    layer.module(given, *layer.args[1:], **layer.kwargs)


@contextlib.contextmanager
def at_work(settings: Settings, unet: nn.Module) -> Iterator[Application]:
    """Within, settings are at work on a U-Net of which parts are called alone."""
    application = Application(settings)
    try:
        application.follow(unet)
        yield application
    finally:
        application.release()


def _noise(
    shape: Sequence[int], like: torch.Tensor, dtype: torch.dtype | None = None
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(like.device, dtype or like.dtype)
