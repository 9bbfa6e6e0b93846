"""The arithmetic that a variant leaves of the self-attention, counted while the U-Net runs."""

from __future__ import annotations

import contextlib
import functools

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import slothful
from benchmarks.effects.peers import PEERS
from benchmarks.effects.runs import Conditions
from benchmarks.effects.variants import Variant
from benchmarks.pictures.sampling import picture
from benchmarks.pictures.variants import Ours
from slothful import LATENT_FACTOR, Settings, UnetShape
from standalone.attention import attention_by
from standalone.runner import find_host_modules
from standalone.samplers import Sampler


def attention_left(model: nn.Module, variant: Variant, conditions: Conditions) -> float:
    """The part of the self-attention's arithmetic that is left, over the steps of one picture of
    txt2img.

    Counts the products of one row at every step, with PyTorch's FlopCounterMode. What a peer does
    outside of the self-attention (tomesd's matching) is counted against it.
    """
    find_host_modules()
    unet = model.model.diffusion_model
    own = Sampler(conditions.sampler, model, lambda params: None)
    sigmas = own.get_sigmas(None, conditions.steps)[:-1]
    timesteps = tuple(own.model_wrap.sigma_to_t(sigmas).tolist())
    size = variant.size, variant.size
    plain_total, plain_attention = _plain_count(unet, size, timesteps)
    total, _ = _count(unet, size, timesteps, _around(unet, variant))
    return 1 - (plain_total - total) / plain_attention


def unet_left(shape: UnetShape, conditions: Conditions, variant: Variant) -> float:
    """The part of the U-Net's arithmetic that settings leave, over the steps of one picture of
    txt2img.
    """
    made = picture(conditions.sampler, conditions.steps, (variant.size, variant.size))
    calls = Ours(**(variant.settings or {})).calls(shape, made)
    return sum(call.cost for call in calls) / len(calls)


@functools.lru_cache(maxsize=64)
def peer_left(unet: nn.Module, peer: str, size: tuple[int, int]) -> float:
    """The part of a U-Net's arithmetic that one of `PEERS`, which acts at every step alike, leaves
    of pictures of (width, height) pixels, counted in the same way.
    """
    any_time = (500.0,)
    total, _ = _count(unet, size, any_time, PEERS[peer](unet))
    return total / _plain_count(unet, size, any_time)[0]


@functools.lru_cache(maxsize=8)
def _plain_count(
    unet: nn.Module, size: tuple[int, int], timesteps: tuple[float, ...]
) -> tuple[int, int]:
    return _count(unet, size, timesteps, contextlib.nullcontext())


@torch.inference_mode()
def _count(
    unet: nn.Module,
    size: tuple[int, int],
    timesteps: tuple[float, ...],
    around: contextlib.AbstractContextManager,
) -> tuple[int, int]:
    """(operations of the U-Net, of them self-attention's) at these timesteps."""
    width, height = (length // LATENT_FACTOR for length in size)
    device = next(unet.parameters()).device
    latent = torch.zeros(1, 4, height, width, device=device)
    prompt_width = unet.input_blocks[1][1].transformer_blocks[0].attn2.to_k.in_features
    prompt = latent.new_zeros(1, 77, prompt_width)
    total = attention = 0
    with attention_by(matrix_products), around:
        for timestep in timesteps:
            with flop_counter() as counter:
                unet(latent, latent.new_tensor([timestep]), context=prompt)
            total += counter.get_total_flops()
            attention += sum(
                sum(counts.values())
                for name, counts in counter.get_flop_counts().items()
                if name.endswith("attn1")
            )
    return total, attention


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, which knows torch's own attention on a GPU alone, for a CPU as well."""
    attention = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)

    def count(query, key, value, *_, **__):
        return sdpa_flop_count(query, key, value)

    return FlopCounterMode(
        display=False, depth=None, custom_mapping={attention: count} if attention else None
    )


def _around(unet: nn.Module, variant: Variant) -> contextlib.AbstractContextManager:
    if variant.peer:
        return PEERS[variant.peer](unet)
    if variant.settings is None:
        return contextlib.nullcontext()
    return slothful.applied(unet, Settings.from_mapping(variant.settings))


def matrix_products(self, x, context=None, mask=None, **kwargs):
    """Attention in products that every version of the counter knows."""
    context = x if context is None else context
    heads = [
        t.unflatten(2, (self.heads, -1)).transpose(1, 2)
        for t in (self.to_q(x), self.to_k(context), self.to_v(context))
    ]
    scores = torch.softmax(heads[0] @ heads[1].transpose(2, 3) * self.scale, dim=-1)
    return self.to_out((scores @ heads[2]).transpose(1, 2).flatten(2))
