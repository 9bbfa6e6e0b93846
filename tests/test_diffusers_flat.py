"""PixArt: one transformer without a U-Net, whose layers are the sites B00 ... B27."""

import pytest
import torch
from diffusers import PixArtTransformer2DModel

import slothful
from slothful import Settings
from tests.sleeping import STEPS, sleeping
from tests.test_diffusers_unets import METHODS
from tests.unets import module_state

ACTING = {
    name: METHODS[name] for name in ("slothful", "slothful kept", "near-sighted pool", "merged")
}


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=3,
            sample_size=32,
            cross_attention_dim=32,
            caption_channels=24,
        ).eval()
        for parameter in model.parameters():
            if parameter.abs().max() < 1e-6:
                parameter.data.normal_(std=0.05)
    return model


def run(model, timestep=600.0, size=(32, 40)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 4, *size, generator=generator)
    text = torch.randn(2, 7, 24, generator=generator)
    return model(
        latent,
        encoder_hidden_states=text,
        timestep=torch.full((2,), timestep),
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        return_dict=False,
    )[0]


def test_each_layer_is_a_site(model):
    sites = [found.site for found in slothful.find_sites(model)]
    assert [site.name for site in sites] == ["B00", "B01", "B02"]
    assert {(site.level, site.depth, site.side) for site in sites} == {(2, 1, "in")}


@pytest.mark.parametrize("settings", ACTING.values(), ids=ACTING)
def test_methods_act_on_the_grid_of_tokens(model, settings):
    before, plain = module_state(model), run(model)
    with slothful.applied(model, settings) as application:
        changed = run(model)
        assert application.applied_sites == ("B00", "B01", "B02")
        assert application.plans["B01"].grid == (16, 20)
    assert application.notes == {}
    assert changed.isfinite().all()
    assert not torch.equal(changed, plain)
    assert module_state(model) == before
    assert torch.equal(run(model), plain)


def test_a_weight_of_zero_leaves_a_layer_alone(model):
    weights = {"B00": 0, "B02": 0}
    settings = Settings(in_slothful=12, time_decay=0, block_weights=weights)
    with slothful.applied(model, settings) as application:
        run(model)
    assert application.applied_sites == ("B01",)


@pytest.mark.parametrize("part", ["self-attention", "attention", "transformers"])
def test_layers_sleep(model, part):
    with slothful.applied(model, sleeping(part)) as application:
        application.begin_pass("base", slothful.PassClock(STEPS))
        awake = run(model, STEPS[0])
        assert torch.equal(awake, run(model, STEPS[0]))
        asleep = run(model, STEPS[1])
    assert application.asleep_steps == 1
    assert not torch.equal(asleep, run(model, STEPS[1]))


@pytest.mark.parametrize("part", ["deep blocks", "whole calls"])
def test_what_needs_a_unet_is_refused(model, part):
    before = module_state(model)
    with (
        pytest.raises(slothful.SettingsError, match=f"which is no U-Net; got {part}"),
        slothful.applied(model, sleeping(part)),
    ):
        pass
    assert module_state(model) == before
