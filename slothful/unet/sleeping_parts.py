"""What can sleep in a U-Net, part by part, and what each part gives meanwhile."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..planning.counts import tokens_of
from ..planning.forecast import LOOKS_AT, forecast_weights
from ..planning.site import LATENT_FACTOR, Site, grid_of
from ..planning.sleep import check_awake_blocks
from ..settings.methods import ATTENTION, AWAKE, DEEP, SELF_ATTENTION, TRANSFORMERS, WHOLE
from ..settings.parameter import SettingsError
from ..settings.settings import Settings
from .anatomy import Anatomy, anatomy_of
from .asleep import Asleep
from .calls import Args, tensor_in, wrapping_of
from .foreign import OwnHook
from .memory import CallKey, Entry, Memory
from .obstacles import MERGED, REPEATED
from .prediction import Prediction
from .replaced_forward import Forward, ReplacedForward
from .sites import SiteModules


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of the U-Net, as far as parts look at it: the `latent` that it got, (batch, channels,
    height, width), at a timestep in 0..1000, in a `step` of the pass.
    """

    key: CallKey
    step: int
    timestep: float
    latent: torch.Tensor


Note = Callable[[str, str], None]
"""Called with the name of a site and why it was not what it should have been."""


@dataclasses.dataclass(frozen=True)
class Making:
    """What parts are made of."""

    settings: Settings
    unet: Any
    found: Sequence[SiteModules]
    prediction: Callable[[], Prediction]
    memory: Memory
    note: Note

    @property
    def is_flat(self) -> bool:
        """Whether it has no blocks around others."""
        return bool(anatomy_of(self.unet).patch)

    @property
    def anatomy(self) -> Anatomy:
        """How the U-Net is built. Raises `SettingsError` where it is none."""
        anatomy = anatomy_of(self.unet)
        if anatomy.patch:
            raise SettingsError(
                f"sleep must be of attentions or transformers for {type(self.unet).__name__}, "
                f"which is no U-Net; got {self.settings.sleep}"
            )
        return anatomy


class Part:
    """A part of the U-Net that sleeps and wakes as one, and with it the self-attention of `sites`.

    What it gives is kept under `names`, one for each module whose answer is given again.
    """

    def __init__(self, sites: Sequence[Site], names: Sequence[str], making: Making):
        self.sites = sites
        self._names = names
        self._memory, self._kind = making.memory, making.settings.sleep_forecast
        self._note = making.note
        self._call: Call | None = None  # while it is awake and what it gives is wanted
        self._answered: set[str] = set()  # of `names`, in this call
        self._replaced: list[ReplacedForward] = []

    def register(self) -> list[RemovableHandle]:
        """Hooks that keep what the part gives while it is awake; the handles remove them."""
        raise NotImplementedError

    def _forwards(self, call: Call) -> Iterable[tuple[nn.Module, Forward]]:
        """The modules that sleep, and what each does instead in a call."""
        raise NotImplementedError

    def wake(self, call: Call, wanted: bool) -> None:
        """This call computes the part; `wanted`: and what it gives has to be kept."""
        self._call = call if wanted else None
        self._answered.clear()

    def sleep(self, call: Call, since: int) -> bool:
        """This call does not compute the part. False, and nothing done, where what it gave in step
        `since` or later is not known for such a call: then it has to be awake.
        """
        if not all(self._memory.found(call.key, name, since) for name in self._names):
            return False
        self._call = None
        self._replaced = [ReplacedForward(*pair) for pair in self._forwards(call)]
        return True

    def end(self) -> None:
        """The call is over, or failed: every module is what it was."""
        for replaced in reversed(self._replaced):
            replaced.remove()
        self._replaced, self._call = [], None

    def _keep(self, name: str, value: torch.Tensor) -> None:
        """Keep what a module gave, unless it was asked more than once in this call, as by
        ControlNet's reference mode: nobody knows which of its answers a later call will ask for.
        """
        if self._call is None:
            return
        if name in self._answered:
            self._spoil(name, REPEATED)
            return
        self._answered.add(name)
        most = LOOKS_AT[self._kind]
        self._memory.keep(self._call.key, name, self._call.step, value, most)

    def _spoil(self, name: str, reason: str) -> None:
        """What a module gives in this call is not fit to be given again."""
        if self._call is None:
            return
        self._answered.add(name)
        self._memory.discard(self._call.key, name, self._call.step)
        for site in self.sites:
            self._note(site.name, reason)

    def _given(self, name: str, call: Call) -> torch.Tensor:
        """What it gave last, or a forecast from what it gave the last times."""
        entries = self._memory.found(call.key, name)
        return combined(entries[-LOOKS_AT[self._kind] :], self._kind, call.step)


def combined(entries: Sequence[Entry], kind: str, step: int) -> torch.Tensor:
    """The forecast of a step from entries, oldest first and all of one shape; see
    `forecast_weights`. Where that is the last entry itself, its tensor and no copy.
    """
    weights = forecast_weights(kind, tuple(entry.step for entry in entries), step)
    used = [(entry.value, weight) for entry, weight in zip(entries, weights) if weight]
    if len(used) == 1:
        return used[0][0]
    first, weight = used[0]
    result = first * weight
    for value, weight in used[1:]:
        result.add_(value, alpha=weight)
    return result


class AttentionPart(Part):
    """Attentions of a site: they give the answers that they gave."""

    def __init__(self, site: Site, attentions: Sequence[nn.Module], making: Making):
        names = [f"{site.index}.{index}" for index in range(len(attentions))]
        super().__init__([site], names, making)
        self._attentions = attentions
        self._dialect = making.found[0].dialect

    def register(self) -> list[RemovableHandle]:
        """See `Part`."""
        return [
            attention.register_forward_hook(
                OwnHook(functools.partial(self._after, name)), prepend=True
            )
            for name, attention in zip(self._names, self._attentions)
        ]

    def _after(self, name: str, attention: nn.Module, args: Args, answers: torch.Tensor) -> None:
        if self._call is None:
            return
        rows, _, height, width = self._call.key.shape
        grid = grid_of(width * LATENT_FACTOR, height * LATENT_FACTOR, self.sites[0].level)
        if len(answers) != rows:
            self._spoil(name, REPEATED)
        elif answers.shape[1] != tokens_of(grid):
            self._spoil(name, MERGED)  # by how alike they are, so differently in every step
        else:
            self._keep(name, answers)

    def _forwards(self, call: Call) -> Iterable[tuple[nn.Module, Forward]]:
        for name, attention in zip(self._names, self._attentions):
            yield attention, functools.partial(self._instead, name, call)

    def _instead(self, name: str, call: Call, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        given = self._given(name, call)
        # others may ask for some of the rows only, or for merged tokens
        fits = given.shape[:2] == self._dialect.tokens_of(args, kwargs).shape[:2]
        if not fits:
            return None
        # in inference mode torch counts no versions: who writes into it would not be noticed
        return given.clone() if given.is_inference() else given


class TransformerPart(Part):
    """A whole spatial transformer: it adds to its input what it added."""

    def __init__(self, site: Site, transformer: nn.Module, making: Making):
        super().__init__([site], [f"{site.index}"], making)
        self._transformer = transformer
        self._version: int | None = None
        self._wrapping: Callable[[torch.Tensor], Any] = wrapping_of(torch.empty(0))

    def register(self) -> list[RemovableHandle]:
        """See `Part`."""
        before, after = OwnHook(self._before), OwnHook(self._after)
        return [
            self._transformer.register_forward_pre_hook(before),
            self._transformer.register_forward_hook(after, prepend=True),
        ]

    def _before(self, transformer: nn.Module, args: Args) -> None:
        features = args[0]
        self._version = None if features.is_inference() else features._version

    def _after(self, transformer: nn.Module, args: Args, answer: Any) -> None:
        features, output = args[0], tensor_in(answer)
        self._wrapping = wrapping_of(answer)
        # its input may have become its output, as where the sum is made in place
        if self._call is not None and (
            features is not output
            and (features.is_inference() or features._version == self._version)
        ):
            self._keep(self._names[0], output - features)

    def _forwards(self, call: Call) -> Iterable[tuple[nn.Module, Forward]]:
        yield self._transformer, functools.partial(self._instead, call)

    def _instead(self, call: Call, features: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        given = self._given(self._names[0], call)
        return self._wrapping(features + given) if features.shape == given.shape else None


class DeepPart(Part):
    """Blocks that follow one another. The last gives what it gave; of the others only the shapes
    are wanted, for what is added to them on the way.

    Source: DeepCache (Ma et al., 2024), which keeps one tensor for all blocks inside.
    """

    def __init__(self, blocks: Sequence[nn.Module], sites: Sequence[Site], making: Making):
        super().__init__(sites, ["deep"], making)
        self._blocks = [layer for block in blocks for layer in _called(block)]
        self._shapes: dict[tuple[CallKey, int], tuple[torch.Size, torch.dtype]] = {}
        self._wrappings = [wrapping_of(torch.empty(0))] * len(self._blocks)

    def register(self) -> list[RemovableHandle]:
        """See `Part`."""
        return [
            block.register_forward_hook(
                OwnHook(functools.partial(self._after, index)), prepend=True
            )
            for index, block in enumerate(self._blocks)
        ]

    def _after(self, index: int, block: nn.Module, args: Args, answer: Any) -> None:
        if self._call is None:
            return
        output, self._wrappings[index] = tensor_in(answer), wrapping_of(answer)
        self._shapes[self._call.key, index] = output.shape, output.dtype
        if index == len(self._blocks) - 1:
            self._keep(self._names[0], self._kept_of(output, self._call))

    def _kept_of(self, output: torch.Tensor, call: Call) -> torch.Tensor:
        """What is kept of the last block's output: a copy, for the host may write into its own."""
        return output.clone()

    def _forwards(self, call: Call) -> Iterable[tuple[nn.Module, Forward]]:
        last = len(self._blocks) - 1
        for index, block in enumerate(self._blocks[:last]):
            shape, dtype = self._shape_of(index, call.key)
            make = functools.partial(Asleep, shape, dtype, call.latent.device)
            yield block, functools.partial(self._instead, index, make)
        yield (
            self._blocks[last],
            functools.partial(self._instead, last, functools.partial(self._last, call)),
        )

    def _shape_of(self, index: int, key: CallKey) -> tuple[torch.Size, torch.dtype]:
        """What a block gives in such a call; for some of its rows, by what it gave for all."""
        if (key, index) in self._shapes or key.whole is None:
            return self._shapes[key, index]
        shape, dtype = self._shapes[key.whole, index]
        all_rows = shape[0] == key.whole.shape[0]
        return torch.Size([len(key.rows), *shape[1:]]) if all_rows else shape, dtype

    def _instead(
        self, index: int, make: Callable[[], torch.Tensor], *args: Any, **kwargs: Any
    ) -> Any:
        return self._wrappings[index](make())

    def _last(self, call: Call) -> torch.Tensor:
        return self._given(self._names[0], call).clone()


def _called(block: nn.Module) -> Iterable[nn.Module]:
    """What every host calls of a block: some never the block itself, but its layers in turn."""
    return block if isinstance(block, nn.Sequential) else [block]


class WholePart(DeepPart):
    """All of the U-Net. What is kept and forecast is the denoised image, which the call's latent
    turns into an output again: samplers that add noise between the steps need that.

    Source: forecasts of outputs as in Spectrum (2026); of the denoised image, this project.
    """

    def __init__(self, making: Making):
        sites = [modules.site for modules in making.found]
        super().__init__(making.anatomy.all_modules, sites, making)
        self._prediction = making.prediction()

    def _kept_of(self, output: torch.Tensor, call: Call) -> torch.Tensor:
        return self._prediction.denoised(call.latent, output, call.timestep)

    def _last(self, call: Call) -> torch.Tensor:
        denoised = self._given(self._names[0], call)
        return self._prediction.output(call.latent, denoised, call.timestep)


def _self_attentions(making: Making) -> list[Part]:
    return [AttentionPart(m.site, m.attentions, making) for m in making.found]


def _attentions(making: Making) -> list[Part]:
    return [AttentionPart(m.site, _both(m), making) for m in making.found]


def _both(modules: SiteModules) -> list[nn.Module]:
    """Self- and cross-attentions of a site; some layers have no second one."""
    layers: Any = modules.layers
    pairs = ((layer.attn1, layer.attn2) for layer in layers)
    return [attention for pair in pairs for attention in pair if attention is not None]


def _transformers(making: Making) -> list[Part]:
    return [TransformerPart(m.site, m.outermost, making) for m in making.found]


def _deep(making: Making) -> list[Part]:
    awake, anatomy = making.settings.sleep_awake_blocks, making.anatomy
    check_awake_blocks(making.settings, anatomy.most_awake)
    sites = [modules.site for modules in making.found if modules.site.inside >= awake]
    return [DeepPart(anatomy.modules_inside(awake), sites, making)]


PARTS: dict[str, Callable[[Making], list[Part]]] = {
    AWAKE: lambda making: [],
    SELF_ATTENTION: _self_attentions,
    ATTENTION: _attentions,
    TRANSFORMERS: _transformers,
    DEEP: _deep,
    WHOLE: lambda making: [WholePart(making)],
}
"""What sleeps, by the setting `sleep`."""
