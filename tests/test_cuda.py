"""On a CUDA GPU: the same as on a CPU, the same every time, and no waits. Skipped without one."""

import copy
import warnings

import pytest
import torch

import slothful
from slothful import METHODS, Settings
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


def call(unet, device):
    latent, timesteps, keywords = inputs(unet, **SIZE)
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
