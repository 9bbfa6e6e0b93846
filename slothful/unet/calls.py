"""How a host calls the modules that hooks meet: names and places of their arguments."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ..tokens.devices import kept_tensors, to_device

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The names of arguments, and the place of those that may come by position.

    `tokens` is the first argument of every module; that of the U-Net may be called `latent`. The
    second of an attention is its `context`, of the U-Net its `timesteps`. `value` are tokens for
    values alone, `mask` hides keys, `labels` are what else the U-Net's rows are conditioned on,
    `frames` tell that there are tokens of other frames. `regions` are an attention's arguments
    that only cross-attention looks at, position by position.

    Where hosts let an object compute attention, `processors` are the classes that do nothing else
    and take keys and values from any context; what the layers named in `refines` do to queries,
    keys or answers, they do besides, and they divide the answer by the number named `divisor`.
    `rows_from_context`: they count an attention's rows by its context. The U-Net's timesteps are
    its argument number `timesteps_at`, from 0.

    `only_attend` are the hosts' own modules with an attention's `forward`, or a processor, that
    does nothing but project, attend and project again, hypernetworks aside: read in their sources.
    """

    tokens: str
    context: str
    value: str
    mask: str
    timesteps: str
    latent: str = ""
    labels: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    refines: tuple[str, ...] = ()
    divisor: str = ""
    only_attend: tuple[str, ...] = ()
    rows_from_context: bool = False
    timesteps_at: int = 1

    def tokens_of(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """The tokens or the feature map that a module is called with."""
        tokens: torch.Tensor = args[0] if args else kwargs[self.tokens]
        return tokens

    def latent_of(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """The latent that the model is called with: (rows, channels, height, width)."""
        name = self.latent if self.latent in kwargs else self.tokens
        latent: torch.Tensor = args[0] if args else kwargs[name]
        return latent

    def timesteps_of(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """The timesteps that the U-Net is called with, one a row or one for all: (rows or 1,)."""
        place = self.timesteps_at
        timesteps = args[place] if len(args) > place else kwargs[self.timesteps]
        return torch.as_tensor(timesteps).reshape(-1)

    def conditioning_of(self, args: Args, kwargs: Kwargs) -> list[torch.Tensor]:
        """What the rows of a call of the U-Net are conditioned on, each (rows, ...)."""
        by_name = [kwargs[name] for name in (self.context, *self.labels) if name in kwargs]
        own = (0, self.timesteps_at)
        # dictionaries without a name are options
        others = (
            each
            for index, each in enumerate(args)
            if index not in own and not isinstance(each, Mapping)
        )
        return [each for each in _tensors([*others, *by_name]) if each.ndim]

    def context_of(self, args: Args, kwargs: Kwargs) -> Any:
        """What an attention gets its keys from; None for its own tokens."""
        return args[1] if len(args) > 1 else kwargs.get(self.context)

    def has_frames(self, kwargs: Kwargs) -> bool:
        """Whether an attention is called with tokens of other frames."""
        given = (kwargs.get(name) for name in self.frames)
        return any(isinstance(each, torch.Tensor) or bool(each) for each in given)

    def others_of(self, kwargs: Kwargs) -> Iterator[Any]:
        """The arguments by name besides tokens, context and value that self-attention looks at."""
        own = (self.tokens, self.context, self.value, *self.regions)
        return (each for name, each in kwargs.items() if name not in own)

    def has_regions(self, kwargs: Kwargs) -> bool:
        """Whether cross-attention is called with what belongs to tokens in full number."""
        return any(kwargs.get(name) is not None for name in self.regions)

    def is_plain(self, attention: Any) -> bool:
        """Whether an attention is computed by its projections and nothing besides."""
        if any(getattr(attention, name, None) for name in self.refines):
            return False
        processor = getattr(attention, "processor", None)
        return not self.processors or type(processor).__name__ in self.processors

    def answers_as_is(self, attention: Any) -> bool:
        """Whether an attention gives back the numbers of its last projection."""
        return not self.divisor or getattr(attention, self.divisor, 1) == 1

    def with_tokens(self, tokens: torch.Tensor, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """The arguments of a module with other tokens."""
        if args:
            return (tokens, *args[1:]), kwargs
        return args, {**kwargs, self.tokens: tokens}

    def with_queries(
        self, queries: torch.Tensor, context: torch.Tensor, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs]:
        """The arguments of a self-attention with queries and context in the place of its tokens."""
        tokens = self.tokens_of(args, kwargs)
        # values come from the context, unless they are given as well (Forge, ComfyUI)
        rest = {n: each for n, each in kwargs.items() if n not in (self.tokens, self.value)}
        if len(args) > 1:
            return (queries, context, *(None if a is tokens else a for a in args[2:])), rest
        # tokens by position and context by name is what every known replacement accepts
        return (queries,), {**rest, self.context: context}


LDM = Dialect(
    tokens="x",
    context="context",
    value="value",
    mask="mask",
    timesteps="timesteps",
    labels=("y",),
    frames=("additional_tokens", "n_times_crossframe_attn_in_self"),
    only_attend=(
        *("ldm.modules.attention", "sgm.modules.attention", "modules.sd_hijack_optimizations"),
        *("backend.nn.unet", "ldm_patched.ldm.modules.attention", "comfy.ldm.modules.attention"),
        "standalone.attention",
    ),
)
"""ldm, sgm, Forge and ComfyUI."""

DIFFUSERS = Dialect(
    tokens="hidden_states",
    context="encoder_hidden_states",
    value="",
    mask="attention_mask",
    timesteps="timestep",
    latent="sample",
    labels=("class_labels", "timestep_cond", "added_cond_kwargs"),
    regions=("ip_adapter_masks",),
    processors=(
        "AttnProcessor",
        "AttnProcessor2_0",
        "AttnProcessorNPU",
        "SlicedAttnProcessor",
        "XFormersAttnProcessor",
    ),
    refines=("norm_q", "norm_k", "norm_cross", "group_norm", "spatial_norm", "residual_connection"),
    divisor="rescale_output_factor",
    only_attend=("diffusers.models.attention_processor",),
    rows_from_context=True,
)
"""diffusers."""

DIFFUSERS_FLAT = dataclasses.replace(DIFFUSERS, timesteps_at=2)
"""Its transformers without a U-Net."""


def _tensors(given: Any) -> Iterator[torch.Tensor]:
    """The tensors in lists, tuples and dictionaries, in their order."""
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, Mapping):
        yield from _tensors(list(given.values()))
    elif isinstance(given, (list, tuple)):
        for each in given:
            yield from _tensors(each)


def wrapping_of(output: Any) -> Callable[[torch.Tensor], Any]:
    """What makes of a tensor such an output of a module as this one: the tensor itself, a tuple
    with it, or an object whose first field it is.
    """
    if isinstance(output, torch.Tensor):
        return _itself
    return _in_tuple if isinstance(output, tuple) else type(output)


def tensor_in(output: Any) -> torch.Tensor:
    """The tensor in such an output."""
    tensor: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return tensor


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _in_tuple(tensor: torch.Tensor) -> tuple[torch.Tensor]:
    return (tensor,)


def rounding(dtype: torch.dtype) -> float:
    """By which part of itself a number may change as it becomes this dtype: a host that computes in
    half precision may hand over its timesteps so.
    """
    return torch.finfo(dtype).eps / 2 if dtype.is_floating_point else 0.0


def read_together(*groups: Sequence[torch.Tensor]) -> list[tuple[float, ...]]:
    """The numbers in each group of tensors, all (numbers,) and on one device, with which it is
    synchronised once.
    """
    read = iter(torch.cat([each for group in groups for each in group]).tolist())
    return [tuple(itertools.islice(read, sum(map(len, group)))) for group in groups]


def fingerprint(tensor: torch.Tensor) -> torch.Tensor:
    """A number for each row of (rows, ...) that tells whether two rows hold the same: (rows,)."""
    rows = tensor.reshape(len(tensor), -1).float()
    return (rows * _weights(rows.shape[1], rows.device)).sum(dim=1)


@kept_tensors(16)
def _weights(count: int, device: torch.device) -> torch.Tensor:
    """Numbers in [0.5, 1.5) that repeat no pattern: (count,)."""
    steps = torch.arange(1, count + 1, dtype=torch.float64) * 0.6180339887498949
    return to_device((0.5 + steps % 1).float(), device)
