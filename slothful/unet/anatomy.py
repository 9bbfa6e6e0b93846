"""How a model is built: its blocks in the order of its forward pass, and how they are called.

Found by walking the modules, never by a table of models: the families differ in levels, heads and
layers but share the names of their parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import nn

from .calls import DIFFUSERS, DIFFUSERS_FLAT, LDM, Dialect


class UnsupportedModelError(ValueError):
    """The model has no self-attention of the known shape, so nothing can be applied to it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """A block of a U-Net: `modules` that follow one another on a map at a `level`, its downsampling
    factor. `name` is the one that users of block weights know (IN01).
    """

    name: str
    level: int
    modules: tuple[nn.Module, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Anatomy:
    """The blocks of a U-Net, and how its modules are called.

    A downsampling layer is a block of its own, before the blocks of the next level; an upsampling
    layer closes the last block of its level. `embeddings` come before all blocks, `ends` after.

    A flat model is one transformer: each of its layers is an input block, and `patch` x `patch`
    positions of the latent are a token.
    """

    dialect: Dialect
    inputs: tuple[Block, ...]
    middle: tuple[Block, ...]
    outputs: tuple[Block, ...]
    embeddings: tuple[nn.Module, ...]
    ends: tuple[nn.Module, ...]
    patch: int = 0

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All of them, in the order of the forward pass."""
        return (*self.inputs, *self.middle, *self.outputs)

    @property
    def inside(self) -> dict[str, int]:
        """For each block, by its name, how many blocks come before it, or after it if it is an
        output block; for the middle block as many as there are on the longer side.
        """
        before = {block.name: index for index, block in enumerate(self.inputs)}
        after = {block.name: index for index, block in enumerate(reversed(self.outputs))}
        most = max(len(self.inputs), len(self.outputs))
        return {**before, **{block.name: most for block in self.middle}, **after}

    @property
    def most_awake(self) -> int:
        """How many blocks can stay awake on either side, so that some between them can sleep."""
        return min(len(self.inputs), len(self.outputs)) - 1

    @property
    def all_modules(self) -> list[nn.Module]:
        """The modules of all its blocks, and those before and after them."""
        return [*self.embeddings, *self.modules_inside(0), *self.ends]

    def modules_inside(self, awake: int) -> list[nn.Module]:
        """The modules of its blocks, but for the first and last `awake` ones."""
        outputs = self.outputs[: len(self.outputs) - awake]
        blocks = (*self.inputs[awake:], *self.middle, *outputs)
        return [module for block in blocks for module in block.modules]


def anatomy_of(unet: Any) -> Anatomy:
    """Raises `UnsupportedModelError` where the model is no U-Net of a known build."""
    if _is_compiled(unet):
        raise UnsupportedModelError(
            f"{type(unet).__name__} was compiled by torch.compile, and what is compiled runs no "
            "hooks: apply to a U-Net that is not compiled"
        )
    if hasattr(unet, "down_blocks") and hasattr(unet, "up_blocks"):
        return _of_down_and_up_blocks(unet)
    if _is_flat(unet):
        return _of_one_transformer(unet)
    missing = [n for n in ("input_blocks", "middle_block", "output_blocks") if not hasattr(unet, n)]
    if missing:
        raise UnsupportedModelError(
            f"{type(unet).__name__} is not a Stable Diffusion 1, 2 or XL U-Net: "
            f"it has no {', '.join(missing)}"
        )
    return _of_input_and_output_blocks(unet)


def _is_flat(unet: Any) -> bool:
    """Whether it is one transformer whose layers have self-attention of their own, as PixArt."""
    layers = getattr(unet, "transformer_blocks", ())
    patch = getattr(getattr(unet, "config", None), "patch_size", None)
    return isinstance(patch, int) and any(hasattr(layer, "attn1") for layer in layers)


def _of_one_transformer(unet: Any) -> Anatomy:
    """As PixArt in diffusers."""
    patch: int = unet.config.patch_size
    layers = enumerate(unet.transformer_blocks)
    blocks = tuple(Block(f"B{index:02d}", patch, (layer,)) for index, layer in layers)
    return Anatomy(DIFFUSERS_FLAT, blocks, (), (), (), (), patch)


def _is_compiled(unet: Any) -> bool:
    """Whether a model, or a part of it, was given to torch.compile."""
    if not isinstance(unet, nn.Module):
        return False
    return any(
        getattr(module, "_compiled_call_impl", None) is not None
        or type(module).__name__ == "OptimizedModule"
        for module in unet.modules()
    )


def _of_input_and_output_blocks(unet: Any) -> Anatomy:
    """As in ldm and sgm: SD1 and SD2, SDXL, its refiner and pruned variants."""
    level = 1
    inputs, outputs = [], []
    for index, block in enumerate(unet.input_blocks):
        level *= 2 if _contains(block, "Downsample") else 1
        inputs.append(Block(f"IN{index:02d}", level, (block,)))
    middle = _middle(unet.middle_block, level)
    for index, block in enumerate(unet.output_blocks):
        outputs.append(Block(f"OUT{index:02d}", level, (block,)))
        level //= 2 if _contains(block, "Upsample") else 1
    embeddings = _present(unet, "time_embed", "label_emb")
    ends = _present(unet, "out")
    return Anatomy(LDM, tuple(inputs), middle, tuple(outputs), embeddings, ends)


def _contains(block: nn.Module, class_name: str) -> bool:
    return any(type(module).__name__ == class_name for module in block.modules())


def _middle(block: nn.Module | None, level: int) -> tuple[Block, ...]:
    """Some small models have none."""
    return () if block is None else (Block("M00", level, (block,)),)


def _present(unet: Any, *names: str) -> tuple[nn.Module, ...]:
    found = (getattr(unet, name, None) for name in names)
    return tuple(module for module in found if module is not None)


def _of_down_and_up_blocks(unet: Any) -> Anatomy:
    """As in diffusers, where a block of the model holds all blocks of a level in the sense here: a
    residual layer, and the transformer after it if it has one.
    """
    level = 1
    inputs = [(level, _present(unet, "conv_in"))]
    for block in unet.down_blocks:
        inputs += [(level, modules) for modules in _pairs(block)]
        if samplers := _samplers(block, "downsamplers"):
            level *= 2
            inputs.append((level, samplers))
    middle = _middle(unet.mid_block, level)
    outputs = []
    for block in unet.up_blocks:
        *pairs, last = _pairs(block)
        samplers = _samplers(block, "upsamplers")
        outputs += [(level, modules) for modules in (*pairs, (*last, *samplers))]
        level //= 2 if samplers else 1
    return Anatomy(
        DIFFUSERS,
        tuple(Block(f"IN{index:02d}", *each) for index, each in enumerate(inputs)),
        middle,
        tuple(Block(f"OUT{index:02d}", *each) for index, each in enumerate(outputs)),
        _present(unet, "time_embedding", "class_embedding", "add_embedding"),
        _present(unet, "conv_norm_out", "conv_out"),  # not conv_act, which others may share
    )


def _pairs(block: Any) -> Iterator[tuple[nn.Module, ...]]:
    """The residual layers of a block, each with the transformer that follows it."""
    known = ("resnets", "attentions", "downsamplers", "upsamplers")
    other = [name for name, _ in block.named_children() if name not in known]
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    if other or len(attentions) != len(block.resnets):
        raise UnsupportedModelError(
            f"{type(block).__name__} is not a block of a Stable Diffusion 1, 2 or XL U-Net"
            + (f": it has {', '.join(other)}" if other else "")
        )
    for pair in zip(block.resnets, attentions):
        yield tuple(module for module in pair if module is not None)


def _samplers(block: Any, name: str) -> tuple[nn.Module, ...]:
    return tuple(getattr(block, name, None) or ())
