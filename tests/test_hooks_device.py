"""What the hooks ask of a device besides the attention: they neither wait nor send, site by site.

The operations are counted on the CPU, where they are the same as on a GPU.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import slothful
from benchmarks.speed.memory import peak_memory
from slothful import Settings
from slothful.settings.methods import METHODS, SUBSAMPLING
from slothful.tokens import likeness
from standalone.attention import sdpa_attention
from tests.unets import inputs, make_unet, run

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "equal")
"""Operations whose result has to be known on the host before it can go on."""
MADE_ON_THE_HOST = ("lift_fresh", "arange", "scalar_tensor")
"""Operations that make a tensor from numbers of the host, which a device has to be sent."""
SIZE = dict(batch=1, height=32, width=40)


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do, by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def counted(unet):
    with torch.inference_mode(), Operations() as operations:
        run(unet, **SIZE)
    return operations.counts


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


@pytest.mark.parametrize("method", METHODS)
def test_a_call_waits_for_the_device_once_and_sends_it_nothing_again(unet, method):
    plain = counted(unet)
    settings = Settings(
        method=method, tile_size=16, base_tile_size=16, peak_tile_size=16, plain_tile_size=128,
        in_v_blend=1, out_k_blend=0.5, in_depth_decay=0, out_depth_decay=0,
    )  # fmt: skip
    with slothful.applied(unet, settings) as application:
        counted(unet)  # layouts are made once
        ours = counted(unet)
        assert sum(plan is not None for plan in application.plans.values()) >= 3
    assert sum(ours[name] - plain[name] for name in WAITS) <= 1
    if method != "Token Merging":  # random destinations are drawn anew at every step
        assert sum(ours[name] - plain[name] for name in MADE_ON_THE_HOST) <= 0


@pytest.fixture(scope="module")
def peak(unet):
    """Bytes that a call needs, over a grid that is large enough for tiles."""
    latent, timesteps, keywords = inputs(unet, batch=2, height=64, width=64)

    def measured():
        with torch.inference_mode(), sdpa_attention():
            return peak_memory(latent.device, lambda: unet(latent, timesteps, **keywords))

    if measured() is None:
        pytest.skip("this torch has no memory tracker")
    return measured


@pytest.fixture(scope="module")
def plain_peak(unet, peak):
    """The same without the extension."""
    plain = peak()
    # the largest map alone: what is measured is not nothing
    assert plain > 4 * 2 * 64 * 64 * unet.model_channels
    return plain


BLENDED = dict(in_v_blend=0.5, out_v_blend=1, out_k_blend=0.5)


@pytest.mark.parametrize("blends", [{}, pytest.param(BLENDED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", SUBSAMPLING)
def test_no_method_of_ours_needs_more_memory_than_none(unet, peak, plain_peak, method, blends):
    with slothful.applied(unet, Settings(method=method, tile_size=24, **blends)) as application:
        peak()  # layouts are made once and stay
        assert peak() <= plain_peak
        assert any(application.plans.values())


def test_shares_of_groups_need_no_more_memory_than_none(unet, peak, plain_peak, monkeypatch):
    """As on a GPU, of as many groups as it takes shares of."""
    monkeypatch.setattr(likeness, "in_few_steps", lambda device: True)
    few = dict.fromkeys(("in_slothful", "out_slothful"), 28)
    with slothful.applied(unet, Settings(**few)) as application:
        peak()
        assert peak() <= plain_peak
        groups = max(plan.key_count for plan in application.plans.values() if plan)
    assert 4 * unet.model_channels < groups <= likeness.PRODUCTS * unet.model_channels


def test_the_counter_sees_a_wait():
    with Operations() as operations:
        float(torch.ones(1))
    assert operations.counts["_local_scalar_dense"] == 1
