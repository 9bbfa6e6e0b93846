"""What is said of sleep: before an image is made on the page, and afterwards under it."""

import itertools
import re
from types import SimpleNamespace

import pytest

from slothful import Settings, SettingsError, estimate, shape_of
from slothful_webui.controls import values_of
from slothful_webui.drawing import describe, moments_of
from slothful_webui.passes import Fields, passes_of
from slothful_webui.routes import answer
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from tests.batches import Request, sample_batch, untimed
from tests.unets import make_unet, module_state

FIELDS = Fields(width=64, height=64, steps=20, hires=True, hr_scale=2, hr_steps=10)
DEEP = dict(method="Sleep only", sleep="deep blocks", sleep_every=3)


@pytest.fixture(scope="module")
def model():
    ScriptRunner()  # puts the host's `modules` where they can be imported
    return load(SMALL)


def said(model, **settings):
    """The line under an image with a hires pass, and how many steps it has."""
    request = Processing(
        model, width=64, height=64, steps=20, enable_hr=True, hr_scale=2,
        hr_second_pass_steps=10, denoising_strength=0.7,
    )  # fmt: skip
    processed = process_images(request, ScriptRunner([settings]))
    (line,) = processed.comments
    return untimed(line)


def test_what_is_left_is_that_of_all_steps_of_all_passes(model):
    settings = Settings(**DEEP)
    drawn = describe(settings, FIELDS, model)
    shape = shape_of(model.model.diffusion_model)
    costs = [
        estimate(settings, shape, one.width, one.height, moments_of(settings, one))
        for one in passes_of(FIELDS, model)
    ]
    for one, cost in zip(drawn["passes"], costs, strict=True):
        assert one["left"]["unet"] == pytest.approx(cost.total_share)
    whole = sum(cost.left for cost in costs) / sum(cost.full for cost in costs)
    assert drawn["left"]["unet"] == pytest.approx(whole)
    # the hires pass weighs more than its steps
    shares = [one["left"]["unet"] for one in drawn["passes"]]
    assert abs(whole - shares[1]) < abs(whole - shares[0])


def test_where_only_some_steps_are_counted_those_that_sleep_are_counted_all_the_same(model):
    """Every other step of 40 might sleep, and every other one be looked at."""
    fields = Fields(width=2048, height=2048, steps=40)
    settings = Settings(
        method="Near-sighted Attention", tile_halo=2, kept_token="first",
        sleep="whole calls", sleep_first=0, sleep_last=0,
    )  # fmt: skip
    drawn = describe(settings, fields, model)["passes"][0]
    assert len(drawn["steps"]) < 40
    awake = describe(settings.replace(sleep="nothing"), fields, model)["passes"][0]
    assert drawn["left"]["unet"] == pytest.approx(awake["left"]["unet"] / 2, rel=0.02)


def test_the_line_under_an_image_counts_what_was_made_in_all_passes(model):
    settings = Settings(**DEEP)
    drawn = describe(settings, FIELDS, model)
    asleep = sum(step for one in drawn["passes"] for step in one["asleep"])
    steps = sum(one["step_count"] for one in drawn["passes"])
    share = f"{100 * drawn['left']['unet']:.0f}"
    expected = f"asleep in {asleep} of {steps} steps; {share} % of the U-Net was computed"
    assert said(model, **DEEP) == f"Slothful Attention: {expected}"


def test_with_a_threshold_it_counts_what_really_slept(model):
    def numbers(**settings):
        line = said(model, **DEEP, sleep_first=0.2, **settings)
        return tuple(map(int, re.findall(r"\d+", line)))

    (most, steps, least_share), (asleep, again, share) = numbers(), numbers(sleep_threshold=0.05)
    assert steps == again
    assert 0 < asleep < most
    assert least_share < share < 100
    assert describe(Settings(**DEEP, sleep_threshold=0.05), FIELDS, model)["measured"]
    assert not describe(Settings(**DEEP), FIELDS, model)["measured"]


def test_weights_of_another_checkpoint_in_the_same_unet_wake_it(model, monkeypatch):
    """As those of a refiner with the same configuration, in the middle of a pass."""
    settings = dict(DEEP, sleep_every=10, sleep_first=0)
    asleep, steps, _ = map(int, re.findall(r"\d+", said(model, **settings)))
    monkeypatch.setattr(model, "sd_checkpoint_info", "base", raising=False)
    calls = itertools.count()

    def refine(*_):
        if next(calls) == 4:
            model.sd_checkpoint_info = "refiner"

    handle = model.model.diffusion_model.register_forward_pre_hook(refine)
    refined = said(model, **settings)
    handle.remove()
    assert f"asleep in {asleep - 1} of {steps} steps" in refined


def test_a_unet_that_is_taken_apart_where_another_takes_its_place_is_counted():
    """As reForge does with the model before a refiner."""
    model, other = (load(SMALL) for _ in range(2))
    first, second = model.model.diffusion_model, other.model.diffusion_model
    calls = itertools.count()

    def refine(*_):
        if next(calls) == 4:
            model.model.diffusion_model, first.input_blocks = second, None

    first.register_forward_hook(refine)
    settings = dict(DEEP, sleep_every=10, sleep_first=0)
    asleep, steps, _ = map(int, re.findall(r"\d+", said(other, **settings)))
    refined = said(model, **settings)
    assert f"asleep in {asleep - 1} of {steps} steps; " in refined
    assert "% of the U-Net was computed" in refined


def test_what_sleep_holds_is_said_for_the_larger_pass(model):
    held = describe(Settings(**DEEP), FIELDS, model)["held"]
    base = Fields(width=64, height=64, steps=20)
    small = describe(Settings(**DEEP), base, model)["held"]
    assert held == pytest.approx(4 * small)
    assert small > 0
    assert describe(Settings(**DEEP, passes="base"), FIELDS, model)["held"] == small
    for nothing in ({"sleep": "nothing"}, {"sleep_every": 1}, {"passes": "hires"}):
        assert describe(Settings(**{**DEEP, **nothing}), base, model)["held"] == 0


def test_blocks_that_leave_none_to_sleep_are_refused_on_the_page_and_by_the_request():
    settings = Settings(**DEEP, sleep_awake_blocks=11)
    message = "sleep_awake_blocks must be between 1 and 8 for this model, got 11"
    unet = make_unet("sdxl")
    small = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet))
    with pytest.raises(SettingsError, match=message):
        describe(settings, FIELDS, small)
    assert answer({"values": values_of(settings), "fields": {}}, small) == {"error": message}
    state = module_state(unet)
    with pytest.raises(RuntimeError, match=f"^Slothful Attention: {message}"):
        sample_batch(Request(unet), settings)
    assert module_state(unet) == state
