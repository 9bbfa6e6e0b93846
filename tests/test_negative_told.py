"""What hosts tell of rows; what is told of the negative side, on the page and under an image."""

import types

import pytest
import torch

import slothful
from slothful import PassClock, Row, Settings
from slothful.planning import told
from slothful.unet import obstacles
from slothful.unet.foreign import OwnHook
from slothful_webui.drawing import describe
from slothful_webui.negatives import negative_schedule
from slothful_webui.passes import Fields
from slothful_webui.rows import EDITS, NGMS, next_rows
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from tests.batches import untimed
from tests.negatives import one_sided
from tests.sleeping import STEPS
from tests.unets import make_unet

HALF = dict(method="Sleep only", negative="asleep", negative_every=2)


@pytest.fixture(scope="module")
def model():
    ScriptRunner()  # puts the host's `modules` where they can be imported
    return load(SMALL)


def params_of(counts, tokens=(7, 7), parts=2, as_dict=False, **sampler):
    """What the webui hands to `on_cfg_denoiser` for images with so many prompts each."""
    images, rows = len(counts), sum(counts)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images, 4, 8, 8, generator=generator)
    repeated = [noise[i : i + 1] for i, count in enumerate(counts) for _ in range(count)]
    texts = [torch.randn(n, t, 24, generator=generator) for n, t in zip((rows, images), tokens)]
    cond, uncond = ({"crossattn": t, "vector": t[:, 0]} if as_dict else t for t in texts)
    batch = [[None] * count for count in counts]
    arguments = {"cond": types.SimpleNamespace(batch=batch), "s_min_uncond": 0.0, **sampler}
    return types.SimpleNamespace(
        x=torch.cat([*repeated, *[noise] * (parts - 1)]),
        text_cond=cond,
        text_uncond=uncond,
        denoiser=types.SimpleNamespace(sampler=types.SimpleNamespace(sampler_extra_args=arguments)),
    )


@pytest.mark.parametrize("as_dict", [False, True])
def test_rows_are_the_prompts_of_each_image_and_then_the_negative_prompts(model, as_dict):
    params = params_of([2, 1], as_dict=as_dict)
    rows, texts, reason, negatives, _ = next_rows(params)
    assert rows == (Row(0), Row(0, prompt=1), Row(1), Row(0, True), Row(1, True))
    assert (texts.shape, reason) == ((5, 7, 24), "")
    assert torch.equal(negatives, texts[3:])
    # texts of other lengths are compared as far as both go
    assert next_rows(params_of([1, 1], (14, 7))).texts.shape == (4, 7, 24)


def test_where_they_are_not_known_there_are_none(model, monkeypatch):
    from modules import shared

    assert next_rows(params_of([1], parts=3)).reason == EDITS
    assert next_rows(params_of([1], parts=1))[:3] == ((), None, "")  # as in Forge
    assert next_rows(params_of([2, 1], cond=None))[:3] == ((), None, "")
    assert next_rows(params_of([1], s_min_uncond=1.5)).reason == NGMS
    monkeypatch.setattr(shared.opts, "skip_early_cond", 0.2, raising=False)
    assert next_rows(params_of([1])).reason == NGMS


def test_weights_of_an_and_are_those_of_the_prompts(model):
    params = params_of([2])
    batch = [[types.SimpleNamespace(weight=weight) for weight in (1.0, 0.6)]]
    params.denoiser.sampler.sampler_extra_args["cond"].batch = batch
    assert [row.weight for row in next_rows(params).rows] == [1.0, 0.6, 1.0]


@pytest.mark.parametrize("weights", [(1.0, 0.6), (0.6, 0.6)])
def test_where_hosts_mark_rows_they_are_told_of_weights_that_differ(model, weights):
    params = params_of([2, 2], parts=1)
    params.x = params.x[::2]  # as in Forge, which takes the last prompt first
    batch = [[types.SimpleNamespace(weight=weight) for weight in weights]] * 2
    params.denoiser.sampler.sampler_extra_args["cond"].batch = batch
    rows, texts, reason, _, prompts = next_rows(params)
    assert (rows, texts, reason) == ((), None, "")
    assert [prompt.weight for prompt in prompts] == ([0.6, 1.0] if weights[0] == 1 else [])
    for prompt, first in zip(prompts, (1, 0)):
        assert torch.equal(prompt.texts, params.text_cond[first::2])


def test_where_the_host_does_without_a_negative_prompt_it_is_encoded(model, monkeypatch):
    """As Forge does at a CFG scale of 1; there the hires pass has prompts of its own."""
    import modules

    parser = types.SimpleNamespace(
        SdConditioning=lambda texts, **options: (texts, options),
        get_learned_conditioning=print,
        reconstruct_cond_batch=lambda schedule, step: schedule[step],
    )
    monkeypatch.setattr(modules, "prompt_parser", parser, raising=False)
    asked = []
    request = types.SimpleNamespace(
        uc=None, hr_uc=None, width=64, height=32, hr_upscale_to_x=128, hr_upscale_to_y=64,
        negative_prompts=["dog"], hr_negative_prompts=["cat"], firstpass_steps=4,
        extra_network_data="own", hr_extra_network_data="hires", is_hr_pass=False,
        get_conds_with_caching=lambda *arguments: asked.append(arguments) or [None, torch.ones(1)],
    )  # fmt: skip
    assert negative_schedule(request)[1] == 1
    request.is_hr_pass = True
    negative_schedule(request)
    options = dict(width=64, height=32, is_negative_prompt=True)
    assert asked[0] == (print, (["dog"], options), 4, [[None, None]], "own")
    assert asked[1][1] == (["cat"], {**options, "width": 128, "height": 64})
    request.hr_uc = "its own"
    assert negative_schedule(request) is None

    params = params_of([1], parts=1)
    params.text_uncond, params.denoiser.step = None, 1
    text = torch.randn(1, 7, 24)
    assert torch.equal(next_rows(params, [None, text]).negatives, text)
    assert torch.equal(next_rows(params, [None, {"crossattn": text}]).negatives, text)
    assert next_rows(params).negatives is None


def webui_calls(params, joined, skips=False, pads=False):
    """The (first row, end, context) of the calls that v1.10.1 makes after the callback."""
    cond, uncond = params.text_cond, params.text_uncond
    images, rows = len(uncond), len(params.x) - (len(uncond) if skips else 0)
    if pads and cond.shape[1] != uncond.shape[1]:
        more = torch.zeros(images, cond.shape[1] - uncond.shape[1], 24)
        uncond = torch.cat([uncond, more], dim=1)
    if skips or cond.shape[1] == uncond.shape[1]:
        context = cond if skips else torch.cat([cond, uncond])
        size = rows if joined else images
        return [(a, min(a + size, rows), context[a : a + size]) for a in range(0, rows, size)]
    size = 2 * images if joined else images
    calls = [(a, min(a + size, len(cond)), cond[a : a + size]) for a in range(0, len(cond), size)]
    return [*calls, (rows - images, rows, uncond)]


LAYOUTS = {
    "joined": ([1], (7, 7), dict(joined=True)),
    "batch": ([1, 1, 1], (7, 7), dict(joined=True)),
    "AND": ([2, 3], (7, 7), dict(joined=True)),
    "padded": ([2, 1], (14, 7), dict(joined=True, pads=True)),
    "split": ([1, 1], (7, 7), dict(joined=False)),
    "split AND": ([2, 1], (7, 7), dict(joined=False)),  # one call of both sides
    "lengths": ([1], (14, 7), dict(joined=True)),
    "lengths AND": ([2, 3], (7, 14), dict(joined=True)),
}


@pytest.mark.parametrize(("counts", "tokens", "how"), LAYOUTS.values(), ids=LAYOUTS)
@torch.no_grad()
def test_however_the_webui_splits_a_step(model, counts, tokens, how):
    """Negative rows are never run in every other step, and calls of these alone run nothing."""
    unet, params = make_unet("sd1"), params_of(counts, tokens)
    calls, run = webui_calls(params, **how), []

    def step(timestep):
        return torch.cat([
            unet(params.x[first:end], torch.full((end - first,), timestep), context=context)
            for first, end, context in calls
        ])  # fmt: skip

    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS), (64, 64))
        handle = unet.input_blocks[1][0].in_layers.register_forward_hook(
            lambda module, args, output: run.append(len(output))
        )
        outputs = []
        for timestep in STEPS[:4]:
            application.begin_step()
            application.expect_rows(*next_rows(params))
            outputs.append(step(timestep))
        handle.remove()
        made = application.take_calls()
    negative, rows = len(counts), len(params.x)
    assert sum(call.rows for call in made) == 4 * rows
    assert sum(call.asleep for call in made) == 2 * negative
    assert sum(run) == 4 * rows - 2 * negative
    assert application.one_sided_steps == 2
    assert application.negative_notes == ()
    first = [sum(counts[:image]) for image in range(negative)]
    for awake, asleep in ((0, 1), (2, 3)):
        before, expected = step(STEPS[awake]), step(STEPS[asleep])
        expected[-negative:] = expected[first] - (before[first] - before[-negative:])
        torch.testing.assert_close(outputs[awake], before, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(outputs[asleep], expected, rtol=1e-4, atol=1e-4)


def forge_options(marks, images):
    rows = [mark for mark in marks for _ in range(images)]
    return {
        "cond_or_uncond": list(marks),
        "sigmas": torch.ones(images),
        "cond_mark": torch.tensor(rows, dtype=torch.float32),
        "cond_indices": [i for i, mark in enumerate(rows) if mark == 0],
        "uncond_indices": [i for i, mark in enumerate(rows) if mark == 1],
    }


@pytest.mark.parametrize("marks", [[1, 0], [0, 1], [1, 0, 0]])
@torch.no_grad()
def test_the_marks_of_forge_and_comfyui_tell_rows_and_are_those_of_what_is_left(marks):
    unet, images, seen = make_unet("sd1"), 2, []
    noise = torch.randn(images, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latent = torch.cat([noise] * len(marks))
    context = torch.randn(len(latent), 7, 24, generator=torch.Generator().manual_seed(1))
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        record = OwnHook(lambda module, args, kwargs: seen.append((args, kwargs)))
        unet.register_forward_pre_hook(record, with_kwargs=True)
        for timestep in STEPS[:2]:
            options = forge_options(marks, images)
            times = torch.full((len(latent),), timestep)
            unet(latent, times, context=context, transformer_options=options)
    positive = [mark for mark in marks if mark == 0]
    (args, kwargs), expected = seen[1], forge_options(positive, images)
    places = [i for i, mark in enumerate(marks) for _ in range(images) if mark == 0]
    places = [2 * i + j for i in dict.fromkeys(places) for j in range(images)]
    assert torch.equal(args[0], latent[places])
    assert torch.equal(kwargs["context"], context[places])
    for name, value in kwargs["transformer_options"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, expected[name])
        else:
            assert value == expected[name]


@torch.no_grad()
def test_other_marks_tell_nothing():
    unet = make_unet("sd1")
    latent, context = torch.zeros(4, 4, 8, 8), torch.zeros(4, 7, 24)
    for marks in ([0, 2], [1, 0, 0]):
        with slothful.applied(unet, one_sided()) as application:
            application.begin_pass("base", PassClock(STEPS))
            for timestep in STEPS[:2]:
                options = {"cond_or_uncond": marks}
                times = torch.full((4,), timestep)
                unet(latent, times, context=context, transformer_options=options)
        assert application.negative_notes == (obstacles.UNKNOWN_ROWS,)


def said(model, **settings):
    """The lines under an image with a hires pass."""
    request = Processing(
        model, width=64, height=64, steps=12, enable_hr=True, hr_scale=2,
        hr_second_pass_steps=6, denoising_strength=0.7, batch_size=2,
    )  # fmt: skip
    process_images(request, ScriptRunner([settings]))
    return request


FIELDS = Fields(width=64, height=64, steps=12, hires=True, hr_scale=2, hr_steps=6)


@pytest.mark.parametrize("also", [{}, {"sleep": "deep blocks", "sleep_every": 3}])
def test_what_was_made_is_what_was_drawn(model, also):
    drawn = describe(Settings(**HALF, **also), FIELDS, model)
    steps = sum(one["step_count"] for one in drawn["passes"])
    share = f"{100 * drawn['left']['unet']:.0f}"
    asleep, one_sided = (
        sum(step for one in drawn["passes"] for step in one[name])
        for name in ("asleep", "one_sided")
    )
    assert one_sided >= 5
    expected = [f"asleep in {asleep} of {steps} steps"] if also else []
    expected += [f"negative side asleep in {one_sided} of {steps} steps"]
    expected += [f"{share} % of the U-Net was computed"]
    request = said(model, **HALF, **also)
    assert [*map(untimed, request.comments)] == [f"Slothful Attention: {'; '.join(expected)}"]
    assert "negative=asleep" in request.extra_generation_params["Slothful Attention"]
    assert drawn["held"] > 0


WITHIN = dict(method="Sleep only", negative="in the attention", negative_first=0.4)


def test_what_acts_in_the_attention_is_what_was_drawn(model):
    drawn = describe(Settings(**WITHIN), FIELDS, model)
    steps = sum(one["step_count"] for one in drawn["passes"])
    within = sum(step for one in drawn["passes"] for step in one["one_sided"])
    assert (drawn["negative"], drawn["nothing"]) == ("in the attention", None)
    assert within >= 8
    request = said(model, **WITHIN)
    share = f"{100 * drawn['left']['unet']:.0f}"
    text = told.WITHIN.format(asleep=within, steps=steps)
    expected = f"Slothful Attention: {text}; {share} % of the U-Net was computed"
    assert [*map(untimed, request.comments)] == [expected]
    assert "negative=in the attention" in request.extra_generation_params["Slothful Attention"]


def test_where_it_is_not_known_what_is_negative_keys_stay_apart_and_it_is_said(model, monkeypatch):
    from modules import shared

    mixed = dict(mix="push", min_size=0, in_slothful=12, out_slothful=12)
    (line,) = said(model, **mixed).comments
    assert "applied in IN01" in line
    assert "keys not mixed" not in line
    monkeypatch.setattr(shared.opts, "skip_early_cond", 0.2, raising=False)
    request = said(model, **mixed)
    assert told.NOT_MIXED.format(reason=NGMS) in request.comments[0]
    request = said(model, **WITHIN)
    assert request.comments == [f"Slothful Attention: {told.NOTHING.format(reason=NGMS)}"]
    request = said(model, **{**mixed, **WITHIN, "mix": "nothing", "method": "Slothful Attention"})
    assert told.NOT_WITHIN.format(reason=NGMS) in request.comments[0]


def test_where_it_never_sleeps_the_line_says_why_and_nothing_is_claimed(model, monkeypatch):
    from modules import shared

    monkeypatch.setattr(shared.opts, "skip_early_cond", 0.2, raising=False)
    request = said(model, **HALF)
    assert request.comments == [f"Slothful Attention: {told.NOTHING.format(reason=NGMS)}"]
    assert "Slothful Attention" not in request.extra_generation_params
    request = said(model, negative="asleep", min_size=0, in_slothful=12, out_slothful=12)
    (line,) = request.comments
    assert "applied in IN01" in line
    assert told.BOTH_SIDES.format(reason=NGMS) in line


def test_a_schedule_that_never_sleeps_is_told_beforehand(model):
    fields = Fields(width=64, height=64, steps=12)
    assert describe(Settings(**HALF), fields, model)["nothing"] is None
    never = describe(Settings(**{**HALF, "negative_every": 1}), fields, model)
    assert never["nothing"] == "no method is chosen, and every step is awake"
    short = describe(Settings(**HALF, sleep_min_steps=50), fields, model)
    assert short["nothing"] == "no method is chosen, and the pass has fewer steps than sleep needs"
