"""U-Nets of diffusers: all that is done to ldm's is done to them, with the same result."""

import copy

import pytest
import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    SlicedAttnProcessor,
)
from ldm.modules.diffusionmodules import openaimodel
from ldm.modules.diffusionmodules.util import GroupNorm32

import slothful
from slothful import Settings
from tests.sleeping import PARTS, STEPS, sleeping
from tests.test_hooks import ALL_ACT, STRONG
from tests.twins import make_empty, make_twins, run_both, run_twin
from tests.unets import LAYOUTS, inputs, module_state

FEW = dict(channels_depth_1=0.5, channels_depth_2=0.25, channels_depth_3=0.5)
METHODS = {
    **ALL_ACT,
    "tiles": Settings(method="Plain Tiles", plain_tile_size=64, min_size=0),
    "merged": Settings(method="Token Merging", merge_ratio=0.5, merge_cross=True, merge_mlp=True),
    "merged keys": Settings(method="Token Merging", merge_keys_only=True, merge_proportional=True),
    "downsampled": Settings(method="Token Downsampling"),
    "agents": Settings(method="Agent Attention", agent_shortcut=0.2),
    "fewer channels": Settings(method="Near-sighted Attention", **FEW),
}


@pytest.fixture(scope="module")
def sd1_twins():
    return make_twins("sd1")


def largest_difference(first, second) -> float:
    return float((first - second).abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sites_and_costs_are_those_of_ldm(layout):
    unet, twin = make_twins(layout)
    assert [m.site for m in slothful.find_sites(twin)] == [
        m.site for m in slothful.find_sites(unet)
    ]
    assert slothful.shape_of(twin) == slothful.shape_of(unet)


EVERYWHERE = ("near-sighted pool", "merged", "agents", "fewer channels")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_does_what_it_does_to_ldm(sd1_twins, name):
    compare(*sd1_twins, METHODS[name])


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("layout", ["sd2", "sdxl"])
def test_methods_do_what_they_do_to_ldm_in_every_family(layout, name):
    compare(*make_twins(layout), METHODS[name])


def compare(unet, twin, settings):
    plain = run_twin(twin, *inputs(unet))
    with slothful.applied(unet, settings), slothful.applied(twin, settings) as application:
        expected, changed = run_both(unet, twin)
    assert application.notes == {}
    assert application.applied_sites
    assert largest_difference(expected, plain) > 1e-3
    assert largest_difference(changed, expected) < 1e-6


@pytest.fixture
def in_double(monkeypatch):
    """Makes a U-Net compute in double precision; ldm's rounds here and there to single."""
    monkeypatch.setattr(GroupNorm32, "forward", torch.nn.GroupNorm.forward)
    embedding = openaimodel.timestep_embedding
    double = lambda *args, **kwargs: embedding(*args, **kwargs).double()  # noqa: E731
    monkeypatch.setattr(openaimodel, "timestep_embedding", double)

    def convert(unet):
        unet = copy.deepcopy(unet).double()
        unet.dtype = torch.float64
        return unet

    return convert


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_left_between_both_is_rounding(in_double, layout, name):
    unet, twin = make_twins(layout)
    unet = in_double(unet)
    twin = copy.deepcopy(twin).double()
    with slothful.applied(unet, METHODS[name]), slothful.applied(twin, METHODS[name]):
        expected, changed = run_both(unet, twin, height=8, width=8)
    assert changed.dtype == torch.float64
    assert largest_difference(changed, expected) < 1e-12


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_every_kind_of_sleep_does_what_it_does_to_ldm(layout, part):
    unet, twin = make_twins(layout)
    settings, steps = sleeping(part, sleep_forecast="linear"), STEPS[:4]
    small = dict(batch=1, height=8, width=8)
    before, plain = module_state(twin), run_twin(twin, *inputs(unet, **small))
    with slothful.applied(unet, settings) as first, slothful.applied(twin, settings) as second:
        for application in (first, second):
            application.begin_pass("base", slothful.PassClock(steps))
        for step in steps:
            expected, own = run_both(unet, twin, step, **small)
            scale = max(1.0, float(expected.abs().max()))
            assert largest_difference(own, expected) < 1e-6 * scale
        assert second.asleep_steps == first.asleep_steps == 2
    assert module_state(twin) == before
    assert torch.equal(run_twin(twin, *inputs(unet, **small)), plain)


@pytest.mark.parametrize("processor", [AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor])
@pytest.mark.parametrize("name", ["tile kept", "near-sighted pool"])
def test_every_stock_processor_computes_the_same(sd1_twins, processor, name):
    """Windows would see each other where a processor counts rows by a context of fewer ones."""
    unet, twin = sd1_twins
    default = twin.attn_processors
    twin.set_attn_processor(processor(2) if processor is SlicedAttnProcessor else processor())
    with slothful.applied(unet, METHODS[name]), slothful.applied(twin, METHODS[name]):
        expected, changed = run_both(unet, twin)
    twin.set_attn_processor(default)
    assert largest_difference(changed, expected) < 1e-5  # some round more


def test_fused_projections_are_told_and_left_alone(sd1_twins):
    _, twin = sd1_twins
    latent, timesteps, keywords = inputs(sd1_twins[0], height=8, width=8)
    shape = slothful.shape_of(twin)
    twin.fuse_qkv_projections()
    plain = run_twin(twin, latent, timesteps, keywords)
    with slothful.applied(twin, Settings(**STRONG)) as application:
        assert torch.equal(run_twin(twin, latent, timesteps, keywords), plain)
    assert "fused projections" in application.why_nothing()
    assert slothful.shape_of(twin) == shape
    twin.unfuse_qkv_projections()
    with slothful.applied(twin, Settings(**STRONG)) as application:
        assert not torch.equal(run_twin(twin, latent, timesteps, keywords), plain)
    assert application.notes == {}
    assert slothful.shape_of(twin) == shape  # the fused projections are still there


def test_a_processor_of_somebody_else_is_told_and_left_alone(sd1_twins):
    class Somebody(AttnProcessor2_0):
        """Looks at its own tokens, whatever the context."""

        def __call__(self, attn, hidden_states, encoder_hidden_states=None, *args, **kwargs):
            return super().__call__(attn, hidden_states)

    unet, twin = sd1_twins
    default = twin.attn_processors
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor"
    twin.set_attn_processor({**default, name: Somebody()})
    with slothful.applied(twin, Settings(**STRONG)) as application:
        run_both(unet, twin)
    twin.set_attn_processor(default)
    assert list(application.notes) == ["IN01"]
    assert "IN02" in application.applied_sites


def test_compiled_models_are_refused():
    twin = make_empty("sdxl")
    with pytest.raises(slothful.UnsupportedModelError, match=r"compiled by torch\.compile"):
        slothful.find_sites(torch.compile(twin, backend="eager"))
    twin.mid_block.compile(backend="eager")
    with pytest.raises(slothful.UnsupportedModelError, match=r"compiled by torch\.compile"):
        slothful.find_sites(twin)


def test_blocks_with_unknown_parts_are_refused():
    twin = make_empty("sdxl")
    twin.down_blocks[0].motion_modules = torch.nn.ModuleList()
    with pytest.raises(slothful.UnsupportedModelError, match="it has motion_modules"):
        slothful.find_sites(twin)


@pytest.mark.parametrize("timestep", [600, 600.0, torch.tensor(600), torch.tensor([600, 600])])
def test_timesteps_may_be_numbers(sd1_twins, timestep):
    unet, twin = sd1_twins
    latent, _, keywords = inputs(unet, height=8, width=8)
    with slothful.applied(twin, sleeping("self-attention")) as application:
        twin(latent, timestep, encoder_hidden_states=keywords["context"])
        twin(sample=latent, timestep=timestep, encoder_hidden_states=keywords["context"])
    assert application.moment.timestep == 600.0


def test_a_prompt_of_another_image_wakes_what_sleeps(sd1_twins):
    """Also where it comes in a dictionary, as SDXL's does."""
    sizes = dict(addition_time_embed_dim=8, projection_class_embeddings_input_dim=8 * 6 + 16)
    twin = make_empty("sdxl", num_class_embeds=None, addition_embed_type="text_time", **sizes)
    latent, _, keywords = inputs(sd1_twins[0], height=8, width=8)
    context = keywords["context"]

    def run(step, text):
        conditions = {"text_embeds": torch.full((2, 16), text), "time_ids": torch.ones(2, 6)}
        return twin(latent, step, context, added_cond_kwargs=conditions).sample

    expected = run(800.0, 2.0)
    with slothful.applied(twin, sleeping("transformers")) as application:
        application.begin_pass("base", slothful.PassClock(STEPS))
        run(950.0, 1.0)
        assert torch.equal(run(800.0, 2.0), expected)
        run(650.0, 2.0)
        assert not torch.equal(run(500.0, 2.0), run(500.0, 3.0))
        assert application.asleep_steps == 1


def test_odd_sizes_and_freeu_sleep_in_deep_blocks(sd1_twins):
    unet, twin = sd1_twins
    latent, timesteps, keywords = inputs(unet, height=9, width=11)
    twin.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    with slothful.applied(twin, sleeping("deep blocks")) as application:
        application.begin_pass("base", slothful.PassClock(STEPS))
        for step in STEPS[:2]:
            output = run_twin(twin, latent, timesteps.fill_(step), keywords)
    twin.disable_freeu()
    assert application.asleep_steps == 1
    assert output.shape == latent.shape
    assert output.isfinite().all()
