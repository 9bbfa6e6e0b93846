"""SD1's U-Net under ldm's names, written to train fast; needs nothing but torch."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from standalone.model.layers import (
    Conv,
    GroupNorm,
    LayerNorm,
    Linear,
    join_heads,
    split_heads,
    zeroed,
)

CHANNELS, MULTIPLES, BLOCKS, HEADS = 96, (1, 1, 2, 2), 2, 8
ATTENTION_FACTORS = (1, 2, 4)
"""At which latents, reduced by that factor, there is attention."""
CONTEXT = 96
HEAD_WIDTHS = 8
"""Kernels of attention want heads a multiple of this wide, and otherwise pad their inputs."""


class ResBlock(nn.Module):
    """Two convolutions beside the identity, the timestep added between them."""

    def __init__(self, inputs: int, embedding: int, outputs: int):
        super().__init__()
        self.in_layers = nn.Sequential(
            GroupNorm(inputs, 1e-5), nn.SiLU(), Conv(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), Linear(embedding, outputs))
        last = zeroed(Conv(outputs, outputs, 3, padding=1))
        self.out_layers = nn.Sequential(GroupNorm(outputs, 1e-5), nn.SiLU(), nn.Identity(), last)
        same = inputs == outputs
        self.skip_connection = nn.Identity() if same else Conv(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """x (batch, channels, rows, columns), time (batch, embedding); the context is not used."""
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class CrossAttention(nn.Module):
    """Attention from x to the context, or to x itself."""

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = Linear(channels, channels, bias=False)
        self.to_k = Linear(context, channels, bias=False)
        self.to_v = Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(Linear(channels, channels), nn.Identity())

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """x (batch, queries, channels), context (batch, keys, channels); as x."""
        width = self.to_q.out_features // self.heads
        wide = -(-width // HEAD_WIDTHS) * HEAD_WIDTHS
        query, key, value = (
            split_heads(F.linear(of, self._wider(layer.weight.to(of.dtype), wide)), self.heads)
            for of, layer in ((x, self.to_q), (context, self.to_k), (context, self.to_v))
        )
        found = F.scaled_dot_product_attention(query, key, value, scale=width**-0.5)
        last = self.to_out[0]
        weight = self._wider(last.weight.to(x.dtype).T, wide).T
        return F.linear(join_heads(found), weight, last.bias.to(x.dtype))

    def _wider(self, weight: torch.Tensor, wide: int) -> torch.Tensor:
        """A weight (channels, inputs) with zeros after each head's rows: the results are the
        same."""
        rows = weight.unflatten(0, (self.heads, -1))
        return F.pad(rows, (0, 0, 0, wide - rows.shape[1])).flatten(0, 1)


class GEGLU(nn.Module):
    """A linear map whose one half opens the other (Shazeer, 2020)."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.proj = Linear(channels, inner * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, channels) to (batch, tokens, inner)."""
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """What each token thinks by itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            GEGLU(channels, channels * 4), nn.Identity(), Linear(channels * 4, channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, channels) to the same."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention to the image, to the text, and the feed forward."""

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.attn1 = CrossAttention(channels, channels, heads)
        self.ff = FeedForward(channels)
        self.attn2 = CrossAttention(channels, context, heads)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(channels) for _ in range(3))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """x (batch, tokens, channels), context (batch, keys, channels); as x."""
        normed = self.norm1(x)
        x = self.attn1(normed, normed) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class SpatialTransformer(nn.Module):
    """A transformer block on the places of an image, beside the identity."""

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.norm = GroupNorm(channels, 1e-6)
        self.proj_in = Conv(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context, heads)])
        self.proj_out = zeroed(Conv(channels, channels, 1))

    def forward(self, x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """As `ResBlock.forward`; here the time is not used."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        tokens = self.transformer_blocks[0](tokens, context)
        return self.proj_out(tokens.transpose(1, 2).reshape(x.shape)) + x


class Resampled(nn.Module):
    """Half or twice as many rows and columns."""

    def __init__(self, channels: int, down: bool):
        super().__init__()
        layer = Conv(channels, channels, 3, stride=2 if down else 1, padding=1)
        self.down = down
        self.add_module("op" if down else "conv", layer)

    def forward(self, x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """As `ResBlock.forward`; neither time nor context is used."""
        return self.op(x) if self.down else self.conv(F.interpolate(x, scale_factor=2.0))


class FirstConv(Conv):
    """The U-Net's first layer, called like the others."""

    def forward(self, x: torch.Tensor, *_: Any) -> torch.Tensor:
        """As `ResBlock.forward`."""
        return super().forward(x)


class Sequence(nn.Sequential):
    """Layers that all get time and context."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """As `ResBlock.forward`."""
        for layer in self:
            x = layer(x, time, context)
        return x


class UNet(nn.Module):
    """The small model's U-Net, as small.yaml has it."""

    def __init__(self) -> None:
        super().__init__()
        embedding = 4 * CHANNELS
        steps = [Linear(CHANNELS, embedding), nn.SiLU(), Linear(embedding, embedding)]
        self.time_embed = nn.Sequential(*steps)
        self.input_blocks = nn.ModuleList([Sequence(FirstConv(4, CHANNELS, 3, padding=1))])
        sizes, channels, factor, last = [CHANNELS], CHANNELS, 1, len(MULTIPLES) - 1

        def layers(inputs: int, outputs: int) -> list[nn.Module]:
            found: list[nn.Module] = [ResBlock(inputs, embedding, outputs)]
            if factor in ATTENTION_FACTORS:
                found.append(SpatialTransformer(outputs, CONTEXT, HEADS))
            return found

        for level, multiple in enumerate(MULTIPLES):
            for _ in range(BLOCKS):
                self.input_blocks.append(Sequence(*layers(channels, multiple * CHANNELS)))
                channels = multiple * CHANNELS
                sizes.append(channels)
            if level != last:
                self.input_blocks.append(Sequence(Resampled(channels, down=True)))
                sizes.append(channels)
                factor *= 2
        self.middle_block = Sequence(
            ResBlock(channels, embedding, channels),
            SpatialTransformer(channels, CONTEXT, HEADS),
            ResBlock(channels, embedding, channels),
        )
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(MULTIPLES))):
            for block in range(BLOCKS + 1):
                parts = layers(channels + sizes.pop(), multiple * CHANNELS)
                channels = multiple * CHANNELS
                if level and block == BLOCKS:
                    parts.append(Resampled(channels, down=False))
                    factor //= 2
                self.output_blocks.append(Sequence(*parts))
        end = zeroed(Conv(CHANNELS, 4, 3, padding=1))
        self.out = nn.Sequential(GroupNorm(channels, 1e-5), nn.SiLU(), end)
        half = CHANNELS // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """The noise in latents x (batch, 4, rows, columns) at timesteps (batch,), told by text
        states (batch, tokens, CONTEXT); as x.
        """
        angles = timesteps.float()[:, None] * self.frequencies
        time = torch.cat([angles.cos(), angles.sin()], -1).to(x.dtype)
        time = self.time_embed(time)
        kept = []
        for block in self.input_blocks:
            x = block(x, time, context)
            kept.append(x)
        x = self.middle_block(x, time, context)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], 1), time, context)
        return self.out(x)
