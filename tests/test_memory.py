"""Memory grows with the tokens, not with their square."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import slothful
from slothful import Settings
from tests.unets import make_unet, run

CHANNELS = 64
STRONG = dict(in_slothful=12, out_slothful=12, time_decay=0)
MERGING = dict(method="Token Merging", time_decay=0, merge_ratio=0.7)
METHODS = {
    "merged": Settings(**STRONG),
    "first": Settings(**STRONG, kept_token="first"),
    "blended": Settings(**STRONG, in_k_blend=0.5, in_v_blend=1),
    "alike": Settings(**STRONG, in_k_blend=0.5, in_v_blend=1, in_mode="2D_SIM"),
    "tiles": Settings(method="Near-sighted Tile"),
    "near-sighted": Settings(method="Near-sighted Attention", **STRONG),
    "plain tiles": Settings(method="Plain Tiles", plain_tile_size=128),
    "keys merged": Settings(**MERGING),
    "all merged": Settings(**MERGING, merge_keys_only=False, merge_cross=True, merge_mlp=True),
    "downsampling": Settings(method="Token Downsampling", time_decay=0),
}


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that any operation gave."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return result


@pytest.fixture(scope="module")
def unet():
    """One level of few channels, beside which likenesses would soon be many."""
    return make_unet("sd1", channel_mult=[1], attention_resolutions=[1], model_channels=CHANNELS)


def largest(unet, side, settings=None):
    """In a call over a grid of so many tokens a side."""
    context = slothful.applied(unet, settings) if settings else contextlib.nullcontext()
    with context, Largest() as seen:
        run(unet, batch=1, height=side, width=side)
    return seen.numbers


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_no_tensor_is_larger_than_those_of_the_block_itself(unet, settings):
    each = {side: largest(unet, side, settings) / side**2 for side in (32, 64)}
    assert each[64] <= max(each[32], largest(unet, 64) / 64**2)  # none grows faster than tokens
    # at 2048x2048: the numbers of the feed-forward layers, far less than all scores of one head
    tokens = (2048 // 8) ** 2
    assert each[64] * tokens <= 8 * CHANNELS * tokens < tokens**2 / 100
