"""What the server tells the page to draw: from the core, for the passes that the fields ask for."""

import dataclasses
import types

import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from slothful import (
    Moment,
    PassClock,
    Settings,
    estimate,
    find_sites,
    grid_of,
    idle_parameters,
    noise_level_time,
    plan_site,
    shape_of,
)
from slothful.planning.nothing import REASONS
from slothful_webui.controls import values_of
from slothful_webui.drawing import FEW_KEYS, describe
from slothful_webui.passes import FieldError, Fields, passes_of
from slothful_webui.routes import answer
from slothful_webui.timesteps import pass_clock, pass_timesteps
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from standalone.samplers import SAMPLERS
from tests.test_settings import any_settings
from tests.unets import make_unet


@pytest.fixture(scope="module")
def model():
    ScriptRunner()  # puts the host's `modules` where they can be imported
    return load(SMALL)


def model_with(unet):
    return types.SimpleNamespace(model=types.SimpleNamespace(diffusion_model=unet))


FIELDS = Fields(width=256, height=192, steps=6, hires=True, hr_scale=2, hr_steps=4)


def test_agents_and_channels_are_told(model):
    agents = Settings(method="Agent Attention", agent_every=3, sleep_min_steps=1)
    drawn = describe(agents, FIELDS, model)
    assert all(plan["agents"] for plan in drawn["plans"])
    assert all(plan["stride"] >= 2 for plan in drawn["plans"])
    assert drawn["held"] > 0
    assert describe(agents.replace(agent_every=1), FIELDS, model)["held"] == 0
    few = Settings(method="Sleep only", channels_depth_1=0.5)
    drawn = describe(few, FIELDS, model)
    assert [plan["channels"] for plan in drawn["plans"]] == [0.5, 0.5]
    assert drawn["nothing"] is None
    assert drawn["left"]["attention"] < 1


@pytest.mark.parametrize("method", Settings.parameter("method").choices)
@pytest.mark.parametrize("axis", Settings.parameter("time_axis").choices)
def test_every_plan_drawn_is_the_one_that_would_be_applied(model, method, axis):
    settings = Settings(method=method, time_axis=axis, tile_shift="alternating", min_size=192)
    drawn = describe(settings, FIELDS, model)
    sites = [found.site for found in find_sites(model.model.diffusion_model)]
    assert [site["name"] for site in drawn["sites"]] == [site.name for site in sites]
    for one, described in zip(passes_of(FIELDS, model), drawn["passes"], strict=True):
        clock = PassClock(one.timesteps)
        time = noise_level_time if axis == "noise level" else clock.progress
        moments = [Moment(t, time(t), i) for i, t in enumerate(one.timesteps)]
        assert described["times"] == [moment.time for moment in moments]
        for site in sites:
            grid = grid_of(one.width, one.height, site.level)
            for moment, number in zip(moments, described["sites"][site.name], strict=True):
                plan = plan_site(settings, moment, site, grid)
                assert (plan is None) == (number == -1)
                if plan is not None:
                    shown = drawn["plans"][number]
                    assert shown["keys"] == plan.key_count
                    assert shown["stride"] == grid[0] * grid[1] / plan.key_count
                    tiling = getattr(plan, "tiling", None)
                    assert shown.get("rows") == (tiling and tiling.rows.edges)
        cost = estimate(settings, shape_of(model.model.diffusion_model), one.width, one.height,
                        moments)  # fmt: skip
        assert described["left"] == {"attention": cost.attention_share, "unet": cost.total_share}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", ["txt2img", "img2img", "hires"])
def test_the_steps_drawn_are_those_that_are_sampled(model, sampler, kind):
    """Compared with the schedules of a real request while it runs."""
    seen = []

    class Watch:
        title, process_batch = (lambda self: "watch"), (lambda self, p: None)

        def postprocess_batch(self, p, images, batch_number):
            seen.append(pass_timesteps(p))

        def before_hr(self, p):
            seen.append(pass_timesteps(p))
            p.is_hr_pass = True

    from PIL import Image

    request = Processing(
        model, width=64, height=64, steps=5, sampler_name=sampler, denoising_strength=0.6,
        init_images=[Image.new("RGB", (64, 64))] if kind == "img2img" else [],
        enable_hr=kind == "hires", hr_scale=1.5,
    )  # fmt: skip
    # the hires pass is over when the batch is, and its sampler is still there
    seen_hires = {}
    original = request._pass
    request._pass = lambda *a: (original(*a), seen_hires.update(last=pass_timesteps(request)))[0]
    process_images(request, ScriptRunner(script=Watch()))
    fields = Fields(width=64, height=64, steps=5, sampler=sampler, denoising_strength=0.6,
                    img2img=kind == "img2img", hires=kind == "hires", hr_scale=1.5)  # fmt: skip
    drawn = passes_of(fields, model)
    assert all(one.exact for one in drawn)
    assert drawn[-1].timesteps == seen_hires["last"]
    assert len(drawn) == (2 if kind == "hires" else 1)


def test_a_schedule_that_is_listed_upwards_begins_with_noise_all_the_same():
    """As those of DDIM, PLMS and UniPC are."""
    sampler = types.SimpleNamespace(
        get_timesteps=lambda p, steps: torch.arange(1, 1000, 1000 // steps)
    )
    request = types.SimpleNamespace(sampler=sampler, steps=20, is_hr_pass=False)
    timesteps = pass_timesteps(request)
    assert timesteps == tuple(range(951, 0, -50))
    clock = pass_clock(request)
    assert [clock.index(timestep) for timestep in timesteps] == list(range(20))


def test_passes_that_are_not_chosen_or_too_small_are_left_alone(model):
    drawn = describe(Settings(passes="hires"), FIELDS, model)["passes"]
    assert [one["acts"] for one in drawn] == [False, True]
    assert drawn[0]["left"] == {"attention": 1.0, "unet": 1.0}
    assert all(number == -1 for row in drawn[0]["sites"].values() for number in row)
    drawn = describe(Settings(min_size=256), FIELDS, model)["passes"]
    assert [one["acts"] for one in drawn] == [False, True]


def test_a_warning_where_tiles_are_small_and_strength_is_high(model):
    fields = Fields(width=512, height=512, steps=6)
    harsh = Settings(method="Near-sighted Attention", base_tile_size=16, peak_tile_size=16,
                     in_slothful=40, out_slothful=40)  # fmt: skip
    few = describe(harsh, fields, model)["passes"][0]["few"]
    plans = describe(harsh, fields, model)
    least = min(plan["keys"] for plan in plans["plans"])
    assert few["keys"] == least < FEW_KEYS
    for method in Settings.parameter("method").choices:
        assert describe(Settings(method=method), fields, model)["passes"][0]["few"] is None


@profile(max_examples=60)
@given(
    settings=any_settings,
    values=st.fixed_dictionaries({
        "width": st.sampled_from([64, 256, 512]), "height": st.sampled_from([64, 192]),
        "steps": st.integers(1, 3), "img2img": st.booleans(), "hires": st.booleans(),
        "denoising_strength": st.sampled_from([0, 0.3, 1]),
    }),
)  # fmt: skip
def test_why_nothing_will_change_is_said_where_no_plan_is_drawn(model, settings, values):
    # what is done with the negative side is no plan of a site
    settings = settings.replace(negative="computed", mix="nothing")
    drawn = describe(settings, Fields(**values), model)
    plans = {n for one in drawn["passes"] for row in one["sites"].values() for n in row} - {-1}
    assert (drawn["nothing"] is None) == bool(plans)
    assert drawn["only_vae"] == (not plans and settings.vae_tiles)


def test_without_a_model_it_is_not_known_whether_something_will_change():
    assert describe(Settings(in_slothful=0, out_slothful=0), FIELDS, None)["nothing"] is None


def test_what_stands_in_the_way_of_idle_parameters_is_told(model):
    settings = Settings(time_decay=0, vae_tiles=True)
    idle = describe(settings, FIELDS, model)["idle"]
    assert idle == idle_parameters(settings)
    assert idle["peak_time"] == ("time_decay",)
    assert "vae_tile_size" not in idle


@pytest.mark.parametrize("hires", SAMPLERS)
@pytest.mark.parametrize("base", ["Euler", "DDIM"])
def test_the_hires_pass_is_drawn_with_its_own_sampler(model, base, hires):
    def timesteps(sampler, **own):
        fields = dataclasses.replace(FIELDS, sampler=sampler, **own)
        return [one.timesteps for one in passes_of(fields, model)]

    drawn = timesteps(base, hr_sampler=hires)
    assert drawn == [timesteps(base)[0], timesteps(hires)[1]]
    assert timesteps(base, hr_sampler="Use same sampler") == timesteps(base)


def test_the_hires_pass_has_its_own_scheduler():
    fields = Fields(sampler="Euler", scheduler="Karras", hr_scheduler="Beta")
    assert fields.sampling(hires=False) == ("Euler", "Karras")
    assert fields.sampling(hires=True) == ("Euler", "Beta")
    for same in ("Use same scheduler", "", None):
        fields = Fields(sampler="Euler", scheduler="Karras", hr_scheduler=same, hr_sampler="LMS")
        assert fields.sampling(hires=True) == ("LMS", "Karras")


def test_before_a_model_is_loaded_steps_are_drawn_and_no_sites():
    drawn = describe(Settings(), FIELDS, None)
    assert (drawn["model"], drawn["sites"], drawn["plans"]) == ("none", [], [])
    base, hires = drawn["passes"]
    assert len(base["times"]) == 6
    assert len(hires["times"]) == 4
    assert min(hires["times"]) > 0.2
    assert not base["exact"]
    assert base["left"] is None


def test_a_model_that_nothing_can_be_applied_to_says_so():
    drawn = describe(Settings(), FIELDS, model_with(object))
    assert drawn["model"] == "unsupported"
    assert drawn["nothing"] in REASONS


def test_each_family_has_its_own_sites(any_unet):
    drawn = describe(Settings(), Fields(), model_with(any_unet))
    assert drawn["model"] == "loaded"
    assert [s["name"] for s in drawn["sites"]] == [f.site.name for f in find_sites(any_unet)]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (dict(hr_scale=1.5), (768, 384)),
        (dict(hr_resize_x=1024), (1024, 512)),
        (dict(hr_resize_y=512), (1024, 512)),
        (dict(hr_resize_x=640, hr_resize_y=640), (640, 640)),
    ],
)
def test_the_size_of_the_hires_pass(fields, size):
    assert Fields(width=512, height=256, **fields).hires_size == size


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("width", 9000, "width must be between 64 and 8192, got 9000"),
        ("steps", float("nan"), "steps must be between 1 and 150, got nan"),
        ("denoising_strength", 1.5, "denoising_strength must be between 0 and 1, got 1.5"),
        ("hr_scale", "2", "hr_scale must be between 1 and 4, got '2'"),
    ],
)
def test_a_field_out_of_range_is_named(name, value, message):
    with pytest.raises(FieldError, match=message):
        Fields(**{name: value})
    body = {"values": values_of(Settings()), "fields": {name: value, "unknown": 1}}
    assert answer(body, None) == {"error": message}


def test_a_setting_out_of_range_is_named():
    values = values_of(Settings())
    values[1] = 7
    said = answer({"values": values, "fields": {}}, None)
    assert said == {"error": "peak_time must be between 0 and 1, got 7"}
    assert "values" in answer({}, None)["error"]


def test_no_schedule_without_strength(model):
    drawn = describe(Settings(), Fields(img2img=True, denoising_strength=0), model)
    assert drawn["passes"][0]["times"] == []
    assert drawn["passes"][0]["left"] is None


def test_nothing_is_drawn_from_torchs_generator(model):
    import torch

    state = torch.random.get_rng_state()
    describe(Settings(method="Near-sighted Tile", tile_shift="random"), FIELDS, model)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_shape_of_a_unet_is_read_once(monkeypatch):
    unet = make_unet("sd1")
    first = describe(Settings(), Fields(), model_with(unet))
    monkeypatch.setattr("slothful_webui.shapes.shape_of", None)
    assert describe(Settings(), Fields(), model_with(unet)) == first
