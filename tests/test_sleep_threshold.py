"""A threshold: what would sleep is computed once its output is likely to have changed."""

import pytest
import torch

import slothful
from slothful import PassClock, Settings
from slothful.planning.nothing import CHANGING
from slothful.planning.sleep import is_measured
from tests.sleeping import STEPS, Request, sleeping
from tests.test_sleep_kernels import operations
from tests.unets import make_unet

MEASURED = ("deep blocks", "whole calls")


def awake_steps(unet, settings, leap=None) -> list[bool]:
    """Which steps of a pass are computed in full; the latent moves evenly, but for a `leap` in one
    step.
    """
    here, there = Request("sd1", seed=1), Request("sd1", seed=2)
    awake = []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS):
            part = 0.01 * index + (leap is not None and index >= leap)
            request = Request("sd1")
            request.latent = here.latent + part * (there.latent - here.latent)
            request.run(unet, timestep)
            awake.append(not any(application.plans.values()))
    return awake


@pytest.mark.parametrize("part", MEASURED)
@torch.no_grad()
def test_a_threshold_only_wakes(part):
    """The more the lower it is, and never more than the schedule lets sleep."""
    unet, settings = make_unet("sd1"), sleeping(part, sleep_every=6, sleep_first=0.3)
    planned = awake_steps(unet, settings)
    assert planned == [True] * 3 + [False] * 4
    counts = []
    for threshold in (1, 0.3, 0.1, 0.01):
        awake = awake_steps(unet, settings.replace(sleep_threshold=threshold))
        assert all(now for now, always in zip(awake, planned) if always)
        counts.append(sum(awake))
    assert counts[0] == sum(planned)
    assert counts == sorted(counts)
    assert counts[-1] == len(STEPS)


@torch.no_grad()
def test_a_leap_wakes_and_after_it_there_is_sleep_again():
    unet = make_unet("sd1")
    settings = sleeping("deep blocks", sleep_every=10, sleep_first=0.3, sleep_threshold=0.5)
    assert awake_steps(unet, settings) == [True] * 3 + [False] * 4
    assert awake_steps(unet, settings, leap=5) == [True] * 3 + [False] * 2 + [True, False]


@torch.no_grad()
def test_until_two_calls_are_known_nothing_sleeps():
    settings = sleeping("deep blocks", sleep_every=10, sleep_threshold=1)
    assert awake_steps(make_unet("sd1"), settings) == [True] * 2 + [False] * 5


@torch.no_grad()
def test_the_row_that_changes_most_decides_for_all():
    unet = make_unet("sd1")
    settings = sleeping("deep blocks", sleep_every=10, sleep_first=0.3, sleep_threshold=0.5)
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS[:5]):
            request = Request("sd1", prompts=(0, 1, 2))
            request.latent *= 1 + 0.01 * index
            if index == 4:
                request.latent[1] += 1
            request.run(unet, timestep)
            slept = any(application.plans.values())
            assert slept == (index == 3)


@pytest.mark.parametrize("part", MEASURED)
def test_it_costs_nothing_while_it_is_off_and_little_while_it_is_on(part):
    unet, request = make_unet("sd1"), Request("sd1")
    off, on = (
        operations(unet, request, sleeping(part, sleep_threshold=value), STEPS[:3])
        for value in (0, 0.5)
    )
    assert off == operations(unet, request, sleeping(part), STEPS[:3])
    assert all(more - less <= 40 for more, less in zip(on[2:], off[2:]))


@torch.no_grad()
def test_where_all_had_to_be_computed_that_is_the_reason_why_nothing_changed():
    unet, request = make_unet("sd1"), Request("sd1")  # it never moves: no rate is known
    settings = sleeping("deep blocks", sleep_threshold=1)
    plain = [request.run(unet, timestep) for timestep in STEPS]
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep, expected in zip(STEPS, plain):
            assert torch.equal(request.run(unet, timestep), expected)
    assert application.why_nothing() == CHANGING


def test_only_parts_of_many_blocks_have_a_threshold():
    for part in Settings.parameter("sleep").choices:
        assert is_measured(Settings(sleep=part, sleep_threshold=0.1)) == (part in MEASURED)
    assert not is_measured(Settings(sleep="deep blocks"))
