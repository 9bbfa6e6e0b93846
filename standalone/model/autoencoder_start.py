"""First weights with which the autoencoder averages pixels and enlarges latents again.

A GroupNorm's statistics are over a group's channels and the whole picture: of a flat colour hardly
more than the sign comes out, and training spends its time on finding a way around that. So every
third channel, one of each group, begins as a constant, which rules the group's spread. The residual
branches begin at zero and resampling as averaging and repeating; the last convolutions of both
halves begin as what fits pictures best, so that three channels of the latents are the colours,
whitened.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from standalone.model.autoencoder import Attention, Autoencoder, Downsample, Residual, Upsample
from standalone.model.layers import zeroed

CONSTANT = 1.5
"""Of every third channel, beside values of about 0.5."""
SPREAD = (2 * CONSTANT**2 / 9 + 0.2) ** 0.5
"""Standard deviation of a group."""
RIDGE = 0.02


@torch.no_grad()
def start_as_resampling(autoencoder: Autoencoder, pictures: torch.Tensor) -> None:
    """Set the weights, in place, by pictures (batch, 3, side, side) in [-1, 1]."""
    for module in autoencoder.modules():
        if isinstance(module, Residual):
            zeroed(module.conv2)
            _ignore_constants(module.norm1, module.norm1.weight[2::3])
        elif isinstance(module, Attention):
            zeroed(module.proj_out)
        elif isinstance(module, Downsample):
            # it pads on the right and below, so that these four taps are one 2x2 block
            _mix(module.conv, 0.25, [(0, 0), (0, 1), (1, 0), (1, 1)])
        elif isinstance(module, Upsample):
            _mix(module.conv, 1.0, [(1, 1)])
    for half in (autoencoder.encoder, autoencoder.decoder):
        half.conv_in.bias.zero_()
        half.conv_in.bias[2::3] = CONSTANT
        half.conv_in.weight *= 2
        half.conv_in.weight[2::3] *= 0.05
        _ignore_constants(half.norm_out, half.norm_out.weight[2::3])
    for quantiser in (autoencoder.quant_conv, autoencoder.post_quant_conv):
        quantiser.weight.copy_(torch.eye(quantiser.out_channels)[:, :, None, None])
        quantiser.bias.zero_()
    found, last = autoencoder.encoder.features(pictures), autoencoder.encoder.conv_out
    _fit(last, found, whitened(F.avg_pool2d(pictures, 8)))
    fourth = last(found)[:, 3]
    last.weight[3] /= fourth.std()
    last.bias[3] = (last.bias[3] - fourth.mean()) / fourth.std()
    decoder = autoencoder.decoder
    _fit(decoder.conv_out, decoder.features(autoencoder.encode(pictures)), pictures)


def branches_and_path(autoencoder: Autoencoder) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The residual branches, and the path that they add to. The constants make what comes after the
    path's convolutions sensitive to their smallest change.
    """
    parts = (m for m in autoencoder.modules() if isinstance(m, Residual | Attention))
    branches = [parameter for part in parts for parameter in part.parameters()]
    known = {id(parameter) for parameter in branches}
    return branches, [p for p in autoencoder.parameters() if id(p) not in known]


def whitened(colours: torch.Tensor) -> torch.Tensor:
    """Colours (batch, 3, rows, columns) with mean 0 and the identity for their covariance."""
    flat = colours.permute(0, 2, 3, 1).reshape(-1, 3).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    whitening = vectors @ torch.diag(values.clamp(min=1e-4).rsqrt()) @ vectors.T
    shape = (len(colours), *colours.shape[2:], 3)
    return ((flat - flat.mean(0)) @ whitening).reshape(shape).permute(0, 3, 1, 2)


def _ignore_constants(norm: nn.GroupNorm, constants: torch.Tensor) -> None:
    norm.bias.fill_(CONSTANT / 3 / SPREAD)
    norm.bias[2::3] = 0
    constants.fill_(0.3)


def _mix(convolution: nn.Conv2d, weight: float, taps: list[tuple[int, int]]) -> None:
    """Every channel mostly from itself, at these taps."""
    every = torch.arange(convolution.out_channels)
    convolution.weight *= 0.1
    convolution.bias.zero_()
    for row, column in taps:
        convolution.weight[every, every, row, column] += weight


def _fit(convolution: nn.Conv2d, features: torch.Tensor, wanted: torch.Tensor) -> None:
    """The first rows of a 3x3 convolution as the linear map of features that comes nearest."""
    rows = wanted.shape[1]
    inputs = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1]).double()
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
    goal = wanted.permute(0, 2, 3, 1).reshape(len(inputs), rows).double()
    square = inputs.T @ inputs / len(inputs)
    square += RIDGE * torch.eye(len(square), dtype=square.dtype, device=square.device)
    solution = torch.linalg.solve(square, inputs.T @ goal / len(inputs)).float()
    convolution.weight[:rows] *= 0.02
    convolution.weight[:rows, :, 1, 1] += solution[:-1].T
    convolution.bias[:rows] = solution[-1]
