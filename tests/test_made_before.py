"""What is made in one call, or before a site is reached, serves all calls and sites that use it."""

import copy
from unittest import mock

import pytest
import torch

import slothful
from slothful import METHODS, Settings
from tests.unets import inputs, make_unet, run

SIZE = dict(height=16, width=24)


@pytest.mark.parametrize("kept", ["first", "merged"])
@pytest.mark.parametrize("method", METHODS)
def test_what_inference_mode_has_made_serves_calls_with_gradients(method, kept):
    """As where a host samples in inference mode, and a guidance asks for gradients later."""
    unet = make_unet("sd1", model_channels=64)
    # of a size that no other test has made anything for
    latent, timesteps, keywords = inputs(unet, batch=1, height=16, width=40)
    settings = Settings(
        method=method, kept_token=kept, tile_size=16, plain_tile_size=64, merge_mlp=True
    )
    with torch.inference_mode(), slothful.applied(unet, settings) as application:
        unet(latent, timesteps, **keywords)
        assert any(application.plans.values())
    latent.requires_grad_()
    with torch.enable_grad(), slothful.applied(unet, settings):
        for _ in range(2):
            unet(latent, timesteps, **keywords).sum().backward()
    assert latent.grad.abs().max() > 0


@pytest.mark.parametrize("shift", ["alternating", "random", "none"])
def test_what_is_planned_at_the_beginning_of_a_call_is_what_a_site_would_plan(shift):
    """Also where two sites have one name."""
    unet = make_unet("sd1")
    block = unet.input_blocks[1]
    block.append(copy.deepcopy(block[1]))
    settings = Settings(method="Near-sighted Tile", tile_size=16, tile_shift=shift)

    def outputs():
        with slothful.applied(unet, settings):
            return [run(unet, batch=1, timestep=time, **SIZE) for time in (600.0, 500.0)]

    ahead = outputs()
    with mock.patch.object(slothful.Application, "_plan_ahead"):
        expected = outputs()
    assert all(torch.equal(one, other) for one, other in zip(ahead, expected))
