"""Sleep in a U-Net: what sleeps is not computed, and gives what it gave."""

import weakref

import pytest
import torch
from ldm.modules.diffusionmodules.openaimodel import TimestepEmbedSequential

import slothful
from slothful import PassClock, Settings, SettingsError
from slothful.unet.prediction import Prediction
from tests.sleeping import PARTS, STEPS, Request, SlowSleep, sleeping
from tests.unets import make_unet, module_state


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_every_other_step_is_what_a_slow_formulation_gives(part, layout):
    unet, slow, request = make_unet(layout), SlowSleep(layout, part), Request(layout)
    with slothful.applied(unet, sleeping(part)) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS):
            expected = slow.run(request, timestep, index % 2 == 1, "only")
            output = request.run(unet, timestep)
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_blocks_may_be_called_layer_by_layer(part, monkeypatch):
    """As reForge and ComfyUI do, which never call a block of the U-Net itself."""
    unet, request, outputs = make_unet("sd1"), Request("sd1"), []
    for call in (TimestepEmbedSequential.__call__, TimestepEmbedSequential.forward):
        monkeypatch.setattr(TimestepEmbedSequential, "__call__", call)
        with slothful.applied(unet, sleeping(part)) as application:
            application.begin_pass("base", PassClock(STEPS))
            outputs.append(torch.stack([request.run(unet, timestep) for timestep in STEPS]))
        assert application.asleep_steps == 3
    assert torch.equal(*outputs)


@pytest.mark.parametrize("part", ["nothing", *PARTS])
@torch.no_grad()
def test_where_every_step_is_awake_the_images_are_the_same_to_the_bit(part):
    unet, request = make_unet("sd1"), Request("sd1")
    plain = [request.run(unet, timestep) for timestep in STEPS]
    schedules = (dict(sleep_every=1), dict(sleep_first=1), dict(passes="hires"))
    for always in schedules if part != "nothing" else ({},):
        settings = sleeping(part, **always)
        with slothful.applied(unet, settings) as application:
            application.begin_pass("base", PassClock(STEPS))
            for timestep, expected in zip(STEPS, plain):
                assert torch.equal(request.run(unet, timestep), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_steps_are_known_by_timesteps_in_half_precision(dtype):
    """The webui hands them over in the U-Net's dtype, which rounds some of them up."""
    unet, request = make_unet("sd1"), Request("sd1")
    steps = tuple(999.3 * 0.93**index for index in range(20))
    with slothful.applied(unet, sleeping("whole calls", sleep_every=10)) as application:
        application.begin_pass("base", PassClock(steps))
        for index, timestep in enumerate(steps):
            unet(request.latent, torch.full((2,), timestep, dtype=dtype), **request.keywords)
            assert application.moment.index == index


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_rows_do_not_depend_on_what_else_is_in_the_batch(part):
    unet = make_unet("sd1")
    one, two = Request("sd1", (0, 1)), Request("sd1", (0, 1, 2, 3))
    one.latent = two.latent[:2].clone()
    answers = []
    for request in (one, two):
        with slothful.applied(unet, sleeping(part)) as application:
            application.begin_pass("base", PassClock(STEPS))
            answers.append([request.run(unet, timestep)[:2] for timestep in STEPS])
    for alone, together in zip(*answers):
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_methods_are_applied_while_awake():
    unet, request = make_unet("sd1"), Request("sd1")
    method = Settings(method="Slothful Attention", in_slothful=4, out_slothful=4, time_decay=0)
    with slothful.applied(unet, method):
        alone = [request.run(unet, timestep) for timestep in STEPS]
    settings = method.replace(
        sleep="self-attention", sleep_first=0, sleep_last=0, sleep_min_steps=1
    )
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        kinds = []
        for index, timestep in enumerate(STEPS):
            output = request.run(unet, timestep)
            kinds.append({type(plan).__name__ for plan in application.plans.values() if plan})
            if index % 2 == 0:
                assert torch.equal(output, alone[index])
    assert kinds == [{"Reduce"}, {"Sleep"}] * 3 + [{"Reduce"}]


@pytest.mark.parametrize(("forecast", "most"), [("last", 1), ("linear", 2), ("curve", 3)])
@torch.no_grad()
def test_no_more_is_kept_than_a_forecast_looks_at(forecast, most):
    unet, request, answers = make_unet("sd1"), Request("sd1"), []
    settings = sleeping("self-attention", sleep_forecast=forecast, sleep_every=1.5)
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        attention = unet.input_blocks[1][1].transformer_blocks[0].attn1
        attention.register_forward_hook(
            lambda module, args, output: answers.append(weakref.ref(output))
        )
        for timestep in STEPS[:-1]:
            request.run(unet, timestep)
        # asleep, the attention may give the tensor that is kept
        assert len({id(each()) for each in answers if each() is not None}) == most


def test_as_many_awake_blocks_as_there_are_leave_nothing_to_sleep():
    unet = make_unet("sdxl")
    message = "sleep_awake_blocks must be between 1 and 8 for this model, got 11"
    state = module_state(unet)
    with (
        pytest.raises(SettingsError, match=message),
        slothful.applied(unet, sleeping("deep blocks", sleep_awake_blocks=11)),
    ):
        pass
    assert module_state(unet) == state


@pytest.mark.parametrize("kind", ["noise", "velocity"])
def test_an_output_and_its_denoised_image_say_the_same(kind):
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 9, 8, 8, generator=generator)  # an inpainting model's
    output = torch.randn(2, 4, 8, 8, generator=generator)
    prediction = Prediction(kind)
    for timestep in (999.0, 500.5, 1.0):
        denoised = prediction.denoised(latent, output, timestep)
        again = prediction.output(latent, denoised, timestep)
        torch.testing.assert_close(again, output, rtol=1e-3, atol=1e-3)
