"""What sleep holds in memory is known before: counted from shapes, it is what is really held."""

import functools

import pytest
import torch

import slothful
from benchmarks.speed.models import blank_unet
from slothful import PassClock, Settings, held_numbers
from slothful.settings.methods import FORECASTS
from tests.sleeping import PARTS, STEPS, Request, sleeping
from tests.unets import make_unet

SIZE = (16, 8)
unet_of = functools.cache(make_unet)


def held(unet, settings, layout) -> int:
    """The most bytes of the tensors in the memory after any call of a pass."""
    request, most = Request(layout, size=SIZE), 0
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS:
            request.run(unet, timestep)
            entries = application._sleeper._memory._entries.values()
            values = [e.value for parts in entries for some in parts.values() for e in some]
            storages = {value.untyped_storage().data_ptr(): value for value in values}
            most = max(most, sum(v.untyped_storage().nbytes() for v in storages.values()))
    return most


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@torch.no_grad()
def test_what_agents_saw_is_what_is_held(layout):
    unet, request, most = unet_of(layout), Request(layout, size=SIZE), 0
    settings = Settings(
        method="Agent Attention", agent_every=2, sleep_min_steps=1, time_decay=1, peak_time=0.7,
        block_weights={"OUT04": 0},
    )  # fmt: skip
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS:
            request.run(unet, timestep)
            entries = application._sleeper.dictionaries._memory._entries.values()
            values = [e.value for parts in entries for some in parts.values() for e in some]
            most = max(most, sum(value.numel() for value in values))
    expected = 2 * held_numbers(settings, slothful.shape_of(unet), SIZE[1] * 8, SIZE[0] * 8)
    assert expected / 3 <= most <= expected


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_it_is_what_is_held(part, layout):
    unet = unet_of(layout)
    shape = slothful.shape_of(unet)
    for forecast in FORECASTS:
        settings = sleeping(part, sleep_forecast=forecast, block_weights={"OUT04": 0})
        rows, size = 2, 4  # in full precision
        expected = held_numbers(settings, shape, SIZE[1] * 8, SIZE[0] * 8) * rows * size
        assert held(unet, settings, layout) == expected


@pytest.mark.parametrize("awake", range(1, 12))
@torch.no_grad()
def test_it_is_so_for_any_number_of_blocks_awake(awake):
    unet = unet_of("sd1")
    settings = sleeping("deep blocks", sleep_awake_blocks=awake)
    expected = held_numbers(settings, slothful.shape_of(unet), SIZE[1] * 8, SIZE[0] * 8) * 2 * 4
    assert held(unet, settings, "sd1") == expected


@pytest.mark.parametrize("forecast", FORECASTS)
def test_an_image_of_sd15_in_half_precision_takes_no_more_than_64_mib(forecast):
    shape = slothful.shape_of(blank_unet("sd15"))

    def mib(part, awake=3):
        settings = Settings(sleep=part, sleep_awake_blocks=awake, sleep_forecast=forecast)
        return held_numbers(settings, shape, 512, 512) * 2 * 2 / 1024**2

    assert all(0 < mib("deep blocks", awake) <= 64 for awake in range(1, 12))
    assert 0 < mib("whole calls") <= 1
    if forecast == "last":
        assert 0 < mib("self-attention") <= 64
        assert 0 < mib("transformers") <= 64


def test_nothing_is_held_where_nothing_sleeps(sd1_unet):
    shape = slothful.shape_of(sd1_unet)
    assert held_numbers(Settings(), shape, 512, 512) == 0
    never = {site.site.name: 0 for site in shape.sites}
    assert held_numbers(Settings(sleep="attention", block_weights=never), shape, 512, 512) == 0
