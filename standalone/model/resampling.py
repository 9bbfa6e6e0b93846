"""First weights with which the autoencoder averages patches and enlarges them again.

A GroupNorm's statistics are over a group's channels and the whole picture: of a flat colour hardly
more than the sign comes out, and training spends its time on finding a way around that. Here each
group of three channels begins with a value, its negative and a constant. The constant rules the
group's spread and the pair cancels in its mean, so that flat colours pass almost linearly; the
residual branches begin at zero. Training then has only edges and textures left to learn, and only
the branches learn: small steps of the path itself, summed over the constants, would drown colours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from ldm.modules.diffusionmodules.model import AttnBlock, Downsample, ResnetBlock, Upsample
from torch import nn

from standalone.model.latent_code import MEAN_COLOUR, WHITENING

CONSTANT = 4.0
"""Of each group's third channel; large against colours, which are in [-1, 1]."""
MEAN_SQUARE = 0.45
"""Of the colours of the training pictures, about."""
SPREAD = (2 * CONSTANT**2 / 9 + 2 * MEAN_SQUARE / 3) ** 0.5
"""Standard deviation of a group (c, -c, CONSTANT), by which its norm divides."""


@torch.no_grad()
def start_as_resampling(autoencoder: nn.Module) -> None:
    """Set the weights, in place, of an AutoencoderKL with three channels a group and one width.

    The convolutions that carry the colours are exempt from training: the constants make what
    comes after them sensitive to their smallest change. The residual branches do the rest.
    """
    for module in autoencoder.modules():
        if isinstance(module, ResnetBlock):
            _make_zero(module.conv2)
            _hide_constants(module.norm1)
        elif isinstance(module, AttnBlock):
            _make_zero(module.proj_out)
        elif isinstance(module, Upsample):
            _mix(module.conv, 1.0, [(1, 1)])
            module.conv.requires_grad_(False)
        elif isinstance(module, Downsample):
            # it pads on the right and below, so that these four taps are one 2x2 block
            _mix(module.conv, 0.25, [(0, 0), (0, 1), (1, 0), (1, 1)])
            module.conv.requires_grad_(False)
    whitening, mean = torch.tensor(WHITENING), torch.tensor(MEAN_COLOUR)
    _fill_groups(autoencoder.encoder.conv_in, torch.eye(3), torch.zeros(3))
    _fill_groups(autoencoder.decoder.conv_in, torch.linalg.inv(whitening), mean)
    _read_groups(autoencoder.encoder)
    _read_groups(autoencoder.decoder)
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    _make_zero(before)
    before.weight[3, 3, 0, 0] = 1
    before.weight[:3, :3, 0, 0] = whitening.T
    before.bias[:3] = -(mean @ whitening)
    _mix(after, 1.0, [(0, 0)])
    # the contrast inside a patch is left to the branches, which find the constants free to write on
    last = autoencoder.encoder.conv_out
    last.weight[3, 2::3, 1, 1] = 0.1
    usual = F.silu(torch.tensor(CONSTANT / SPREAD))  # the constants behind the last activation
    last.bias[3] = -0.1 * usual * (last.in_channels // 3)


def residual_branches(autoencoder: nn.Module) -> nn.ModuleList:
    """What is left to train."""
    return nn.ModuleList(m for m in autoencoder.modules() if isinstance(m, ResnetBlock | AttnBlock))


def _fill_groups(convolution: nn.Conv2d, matrix: torch.Tensor, offset: torch.Tensor) -> None:
    """Group g gets colour g modulo 3 of inputs @ matrix + offset, its negative and the constant."""
    _make_zero(convolution)
    for group in range(convolution.out_channels // 3):
        colour = group % 3
        for channel, sign in ((3 * group, 1), (3 * group + 1, -1)):
            convolution.weight[channel, : len(matrix), 1, 1] = sign * matrix[:, colour]
            convolution.bias[channel] = sign * offset[colour]
        convolution.bias[3 * group + 2] = CONSTANT
    convolution.requires_grad_(False)


def _hide_constants(norm: nn.GroupNorm) -> None:
    """Give a branch the pairs around 0 and nothing of the constants, which it would mostly see."""
    norm.weight[2::3] = 0
    norm.bias.fill_(CONSTANT / 3 / SPREAD)
    norm.bias[2::3] = 0


def _read_groups(half: nn.Module) -> None:
    """The colours back from the groups, behind the half's last norm and activation."""
    half.norm_out.weight.fill_(1)
    # undoes the mean of the group, so that the pair lies around 0: x sigmoid(x) of x less that of
    # -x is x, whatever x is, and the activation costs nothing
    half.norm_out.bias.fill_(CONSTANT / 3 / SPREAD)
    _make_zero(half.conv_out)
    groups = half.conv_out.in_channels // 3
    gain = SPREAD / (groups / 3)
    for group in range(groups):
        half.conv_out.weight[group % 3, 3 * group, 1, 1] = gain
        half.conv_out.weight[group % 3, 3 * group + 1, 1, 1] = -gain


def _make_zero(convolution: nn.Conv2d) -> None:
    convolution.weight.zero_()
    convolution.bias.zero_()


def _mix(convolution: nn.Conv2d, weight: float, taps: list[tuple[int, int]]) -> None:
    """Every channel from itself alone, at these taps."""
    _make_zero(convolution)
    for channel in range(convolution.out_channels):
        for y, x in taps:
            convolution.weight[channel, channel, y, x] = weight
