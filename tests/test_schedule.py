"""The schedule, against its definition and as properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import Moment, PassClock, Settings, plan_site
from slothful.planning.planner import site_strength
from slothful.planning.schedule import noise_level_time, time_ratio
from tests.sites import site_at

IN01 = site_at("IN01", 0, 1, 1)
OUT06 = site_at("OUT06", 9, 2, 2)
M00 = site_at("M00", 6, 8, 8)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 4))
def test_time_ratio_is_a_bump_of_height_one_at_the_peak(time, peak, decay):
    assert time_ratio(peak, peak, decay) == 1
    assert 0 < time_ratio(time, peak, decay) <= 1
    assert time_ratio(time, peak, 0) == 1
    mirrored = 2 * peak - time
    assert math.isclose(time_ratio(time, peak, decay), time_ratio(mirrored, peak, decay))


def test_noise_level_time_runs_from_noise_to_picture():
    assert [noise_level_time(t) for t in (1000, 999, 500, 0)] == [0, pytest.approx(0.001), 0.5, 1]
    assert noise_level_time(1200) == 0


def test_strength_multiplies_slothful_time_depth_and_weight():
    settings = Settings(
        in_slothful=6, out_slothful=4, peak_time=0.5, time_decay=2, out_depth_decay=1.5,
        block_weights={"OUT06": 0.5},
    )  # fmt: skip
    moment = Moment(timestep=750, time=0.25)
    bump = math.exp(-((0.25 * 2) ** 2))
    assert site_strength(settings, moment, IN01) == pytest.approx(6 * bump)
    assert site_strength(settings, moment, OUT06) == pytest.approx(4 * bump * 2**-1.5 * 0.5)


def test_input_and_output_blocks_have_their_own_strength():
    moment = Moment(600, 0.4)
    only_in = Settings(in_slothful=6, out_slothful=0)
    assert plan_site(only_in, moment, IN01, (64, 64)) is not None
    assert plan_site(only_in, moment, OUT06, (32, 32)) is None
    only_out = Settings(in_slothful=0, out_slothful=9)
    assert plan_site(only_out, moment, IN01, (64, 64)) is None
    assert plan_site(only_out, moment, OUT06, (32, 32)) is not None


def test_the_middle_block_is_left_alone_unless_asked_for():
    strong = dict(in_slothful=50, in_depth_decay=0)
    moment = Moment(600, 0.4)
    assert plan_site(Settings(**strong), moment, M00, (8, 8)) is None
    assert plan_site(Settings(**strong, keep_middle=False), moment, M00, (8, 8)) is not None


@pytest.mark.parametrize("rounding", ["stride", "smooth"])
@pytest.mark.parametrize("mode", ["1D_AVG", "2D_MAX"])
def test_more_strength_never_keeps_more_keys(rounding, mode):
    counts = []
    for strength in range(2, 51):
        settings = Settings(in_slothful=strength, rounding=rounding, in_mode=mode, time_decay=0)
        counts.append(plan_site(settings, Moment(600, 0.4), IN01, (40, 56)).key_count)
    if rounding == "smooth" or mode.startswith("1D"):
        assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] >= 1


def test_smooth_rounding_follows_the_strength_more_closely_than_strides():
    def worst(rounding):
        errors = []
        for tenth in range(11, 120):
            settings = Settings(in_slothful=tenth / 10 // 0.5 * 0.5 or 1.5, rounding=rounding,
                                time_decay=0)  # fmt: skip
            if settings.in_slothful <= 1:
                continue
            plan = plan_site(settings, Moment(600, 0.4), IN01, (64, 64))
            errors.append(abs(plan.key_count * settings.in_slothful / 64**2 - 1))
        return max(errors)

    assert worst("smooth") < 0.1 < worst("stride")


# -- the clock of a pass


@given(st.lists(st.floats(0, 999), min_size=1, max_size=40, unique=True), st.floats(0, 1000))
def test_progress_grows_as_the_timestep_falls(timesteps, timestep):
    clock = PassClock(tuple(timesteps))
    assert clock.progress(max(timesteps)) == 0
    if len(timesteps) > 1:
        assert clock.progress(min(timesteps)) == 1
    assert 0 <= clock.progress(timestep) <= 1
    assert clock.progress(timestep) <= clock.progress(timestep / 2)


def test_progress_counts_steps_and_not_noise():
    clock = PassClock((900.0, 300.0, 200.0, 150.0, 100.0))
    assert [clock.progress(t) for t in (900, 600, 300, 200, 125, 100, 0)] == [
        0, 0.125, 0.25, 0.5, 0.875, 1, 1,
    ]  # fmt: skip


def test_a_pass_that_starts_in_the_middle_gets_the_whole_schedule():
    settings = Settings(time_axis="pass progress", peak_time=0.5)
    clock = PassClock(tuple(range(500, -1, -50)))
    times = [clock.progress(t) for t in (500, 250, 0)]
    assert times == [0, 0.5, 1]
    assert site_strength(settings, Moment(250, times[1]), IN01) == settings.in_slothful
