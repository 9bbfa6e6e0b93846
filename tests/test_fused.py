"""Triton's kernels, here by its interpreter: they give what torch gives, for every kind of plan."""

import importlib.util
import os

import pytest
import torch

import slothful
from slothful import Settings
from slothful.tokens import trial
from slothful.tokens.fused import MANY_TOKENS, can_fuse, kind_of
from slothful.tokens.launching import launch
from slothful.unet import reducing
from tests.unets import inputs, make_unet

CPU = torch.device("cpu")
if not torch.cuda.is_available():  # where there is one, tests/test_cuda.py runs them
    os.environ["TRITON_INTERPRET"] = "1"  # Triton asks for it as it is loaded


@pytest.fixture
def interpreted(monkeypatch):
    if importlib.util.find_spec("triton") is None or torch.cuda.is_available():
        pytest.skip("Triton is not there to interpret its kernels")
    monkeypatch.setattr(trial, "GRID", (16, 32))


CASES = {
    "whole": (False, True, False, False),
    "whole, added": (False, True, False, True),
    "near, added": (True, True, True, True),
    "tiles": (True, False, True, False),
    "alone": (True, False, False, False),
}
"""A plan's parts, and whether means are taken by adding."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernels_give_what_torch_gives(interpreted, case):
    *parts, adds = case
    options = dict(adds_own=adds and parts[1], adds_shared=adds and parts[2])
    # 40 channels a head are two parts of a power of two
    found = trial.differences(*parts, torch.float32, torch.float16, 40, CPU, **options)
    assert max(found) < 2e-3


METHODS = {
    "whole": dict(in_depth_decay=0, out_depth_decay=0),
    "near": dict(method="Near-sighted Attention", base_tile_size=16, peak_tile_size=16),
    "tiles": dict(method="Near-sighted Tile", tile_size=16),
    "alone": dict(method="Near-sighted Tile", tile_size=16, kept_token="first", tile_halo=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("values", METHODS.values(), ids=METHODS)
def test_a_unet_gives_by_kernels_what_it_gives_by_torch(interpreted, values, monkeypatch):
    unet = make_unet("sd1", model_channels=96, num_heads=2, attention_resolutions=[1])
    latent, timesteps, keywords = inputs(unet, batch=2, height=16, width=32)
    fused = []

    def can(self, plan, tokens, dtype):
        fused.append(can_fuse(plan))
        return fused[-1]

    with torch.inference_mode():
        plain = unet(latent, timesteps, **keywords)
        with slothful.applied(unet, Settings(**values, time_decay=0)):
            expected = unet(latent, timesteps, **keywords)
        monkeypatch.setattr(reducing.Reducing, "_can_fuse", can)
        monkeypatch.setattr(reducing, "_is_on_gpu", lambda projection: True)
        with slothful.applied(unet, Settings(**values, time_decay=0)):
            actual = unet(latent, timesteps, **keywords)
    assert all(fused)
    assert len(fused) >= 4
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(actual, plain, rtol=1e-3, atol=1e-4)


def test_without_a_gpu_nothing_is_left_to_kernels():
    plan = trial.plan_like(False, True, False)
    tokens = torch.randn(1, plan.tokens, 96, generator=torch.Generator().manual_seed(0))
    kind = kind_of(plan)
    assert not trial.agrees(*kind, tokens.dtype, torch.float16, 40, CPU)


def test_a_plan_of_many_tokens_adds():
    assert kind_of(trial.plan_like(False, True, False)).adds_own == (
        trial.GRID[0] * trial.GRID[1] > MANY_TOKENS
    )


class Compiled:
    """What Triton's start of a kernel gives: what it has compiled, which starts the same way."""

    def __init__(self, started):
        self.started = started

    def __getitem__(self, grid):
        return lambda *args, **options: self.started.append((grid, args, options))


class Kernel(Compiled):
    """Compiled anew at each start of Triton's own."""

    def __getitem__(self, grid):
        def start(*args, **options):
            self.started.append("compiled")
            Compiled(self.started)[grid](*args, **options)
            return Compiled(self.started)

        return start


def test_a_kernel_is_looked_up_once_for_tensors_at_even_places():
    started = []
    kernel, memory = Kernel(started), torch.zeros(64)
    odd = memory[1:33]
    even = memory[:32]
    for tensor in (odd, odd, even, even):
        launch(kernel, (1, 1, 1), (tensor,), (3,), (5,), dict(BLOCK=16), num_warps=4)
    assert started.count("compiled") == 3
    grid, args, options = started[-1]
    assert (grid, args[1:], options) == ((1, 1, 1), (3, 5, 16), {})
    launch(kernel, (1, 1, 1), (even,), (4,), (5,), dict(BLOCK=16), num_warps=4)
    assert started.count("compiled") == 4
