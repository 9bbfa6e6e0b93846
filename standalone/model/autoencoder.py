"""SD1's autoencoder under ldm's names, written to train fast; needs nothing but torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from standalone.model.layers import Conv, GroupNorm

CHANNELS, LEVELS, BLOCKS = 96, 4, 1
"""Every level has the same width."""


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(CHANNELS, 1e-6), Conv(CHANNELS, CHANNELS, 3, padding=1)
        self.norm2, self.conv2 = GroupNorm(CHANNELS, 1e-6), Conv(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to the same."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Attention of the whole image to itself with one head, beside the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = GroupNorm(CHANNELS, 1e-6)
        self.q, self.k, self.v, self.proj_out = (Conv(CHANNELS, CHANNELS, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to the same."""
        normed = self.norm(x)
        query, key, value = (
            layer(normed).flatten(2).transpose(1, 2)[:, None].contiguous()
            for layer in (self.q, self.k, self.v)
        )
        found = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return x + self.proj_out(found.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Half as many rows and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv(CHANNELS, CHANNELS, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to half of the last two."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice as many rows and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to twice the last two."""
        return self.conv(F.interpolate(x, scale_factor=2.0))


class Level(nn.Module):
    """Residual blocks, and what halves or doubles the image after them."""

    def __init__(self, blocks: int, **after: nn.Module):
        super().__init__()
        self.block = nn.ModuleList(Residual() for _ in range(blocks))
        for name, module in after.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to the next level's."""
        for module in (*self.block, *(m for n, m in self.named_children() if n != "block")):
            x = module(x)
        return x


class Middle(nn.Module):
    """The level with attention."""

    def __init__(self) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Residual(), Attention(), Residual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, CHANNELS, rows, columns) to the same."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """From pictures to the moments of their latents."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = Conv(3, CHANNELS, 3, padding=1)
        halved = [{"downsample": Downsample()} for _ in range(LEVELS - 1)]
        self.down = nn.ModuleList(Level(BLOCKS, **after) for after in (*halved, {}))
        self.mid = Middle()
        self.norm_out, self.conv_out = GroupNorm(CHANNELS, 1e-6), Conv(CHANNELS, 8, 3, padding=1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Before the last convolution."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return F.silu(self.norm_out(self.mid(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, 8, height / 8, width / 8)."""
        return self.conv_out(self.features(x))


class Decoder(nn.Module):
    """From latents to pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = Conv(4, CHANNELS, 3, padding=1)
        self.mid = Middle()
        doubled = [{"upsample": Upsample()} for _ in range(LEVELS - 1)]
        self.up = nn.ModuleList(Level(BLOCKS + 1, **after) for after in ({}, *doubled))
        self.norm_out, self.conv_out = GroupNorm(CHANNELS, 1e-6), Conv(CHANNELS, 3, 3, padding=1)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Before the last convolution."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return F.silu(self.norm_out(x))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(batch, 4, height / 8, width / 8) to (batch, 3, height, width)."""
        return self.conv_out(self.features(z))


class Autoencoder(nn.Module):
    """The small model's autoencoder. Scales are folded into the two convolutions around the
    latents, which are therefore computed in single precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.quant_conv, self.post_quant_conv = Conv(8, 8, 1), Conv(4, 4, 1)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The posterior's mode, (batch, 4, height / 8, width / 8), of pictures (batch, 3, height,
        width) in [-1, 1].
        """
        return self.quant_conv(self.encoder(x).float())[:, :4]

    def decode(self, z: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The pictures of latents, computed in that precision."""
        return self.decoder(self.post_quant_conv(z.float()).to(dtype))
