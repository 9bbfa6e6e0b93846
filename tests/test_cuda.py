"""On a CUDA GPU: the same as on a CPU, the same every time, and no waits. Skipped without one."""

import copy
import importlib.util
import warnings

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import slothful
from benchmarks.speed.kernels import kernels_of
from slothful import METHODS, Settings
from slothful.tokens import trial
from slothful.unet.reducing import Reducing
from standalone.attention import sdpa_attention
from tests.unets import inputs, make_unet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
SIZE = dict(batch=2, height=56, width=72)


@pytest.fixture(scope="module")
def unets():
    on_cpu = make_unet("sd1")
    return on_cpu, copy.deepcopy(on_cpu).to("cuda")


def settings_of(method):
    return Settings(
        method=method, tile_size=16, base_tile_size=16, peak_tile_size=16, plain_tile_size=128,
        in_depth_decay=0, out_depth_decay=0, time_decay=0,
    )  # fmt: skip


def call(unet, device, size=SIZE):
    latent, timesteps, keywords = inputs(unet, **size)
    moved = {name: value.to(device) for name, value in keywords.items()}
    with torch.inference_mode(), sdpa_attention():
        return unet(latent.to(device), timesteps.to(device), **moved)


@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_computes_what_a_cpu_does_and_the_same_every_time(unets, method, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    on_cpu, on_gpu = unets
    with slothful.applied(on_cpu, settings_of(method)):
        expected = call(on_cpu, "cpu")
    with slothful.applied(on_gpu, settings_of(method)) as application:
        actual = call(on_gpu, "cuda")
        assert any(application.plans.values())
        assert torch.equal(call(on_gpu, "cuda"), actual)
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-3, atol=1e-4)


# Token Merging draws its random destinations on the CPU, anew at each step
@pytest.mark.parametrize("method", [m for m in METHODS if m != "Token Merging"])
def test_a_new_step_waits_for_the_gpu_once(unets, method):
    _, unet = unets

    def waits(timestep):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                unet(latent, torch.full_like(timesteps, timestep), **keywords)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    latent, timesteps, keywords = inputs(unet, **SIZE)
    latent, timesteps = latent.cuda(), timesteps.cuda()
    keywords = {name: value.cuda() for name, value in keywords.items()}
    with torch.inference_mode(), sdpa_attention():
        plain = waits(600.0)
        with slothful.applied(unet, settings_of(method)):
            waits(600.0)  # layouts are made once
            assert waits(599.0) <= plain + 1


# -- by kernels of Triton, in half precision

PLANS = {
    "whole": (False, True, False),
    "tiles": (True, False, True),
    "near": (True, True, True),
    "alone": (True, False, False),
}
"""By the parts of a plan: tiles, groups of their own, groups of the whole grid."""
MERGING = [m for m in METHODS if m not in ("Token Merging", "Plain Tiles")]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton"
)


@needs_triton
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(
    ("head", "dtype"),
    [(40, torch.float16), (80, torch.float16), (160, torch.float16), (64, torch.bfloat16)],
)
@pytest.mark.parametrize("parts", PLANS.values(), ids=PLANS)
def test_kernels_give_what_torch_gives(parts, head, dtype, adds):
    options = dict(adds_own=adds and parts[1], adds_shared=adds and parts[2])
    device = torch.device("cuda")
    for given in (torch.float32, dtype):
        found = trial.differences(*parts, given, dtype, head, device, **options)
        assert max(found) < trial.ALLOWED


@pytest.fixture(scope="module")
def half_unet():
    """With tokens of 96 channels and more."""
    unet = make_unet("sd1", model_channels=96, num_heads=2).to("cuda", torch.float16)
    unet.dtype = torch.float16
    return unet


def half_call(unet):
    with torch.autocast("cuda", torch.float16):
        # tiles lie side by side
        return call(unet, "cuda", dict(batch=2, height=64, width=64))


@needs_triton
@pytest.mark.parametrize("method", MERGING)
def test_a_unet_gives_by_kernels_what_it_gives_by_torch(half_unet, method, monkeypatch):
    with slothful.applied(half_unet, settings_of(method)):
        actual = half_call(half_unet)
        assert torch.equal(half_call(half_unet), actual)
    kernels = trial.agrees.cache_info()
    assert kernels.currsize
    monkeypatch.setattr(Reducing, "_can_fuse", lambda *_: False)
    with slothful.applied(half_unet, settings_of(method)):
        expected = half_call(half_unet)
    assert (actual - expected).norm() < 0.02 * expected.norm()


@needs_triton
@pytest.mark.parametrize("method", MERGING)
def test_a_site_starts_few_kernels_more(half_unet, method):
    def started():
        half_call(half_unet)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            half_call(half_unet)
            torch.cuda.synchronize()
        return kernels_of(profiled)[1]

    plain = started()
    with slothful.applied(half_unet, settings_of(method)) as application:
        ours = started()
        sites = sum(plan is not None for plan in application.plans.values())
    assert sites
    # one besides, for the timestep
    assert ours <= plain + 5 * sites + 1
