"""Sleep's schedule: which steps of a pass are awake, as a pure function of settings and moment."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import PassClock, Settings, SettingsError, Site
from slothful.planning.forecast import forecast_weights
from slothful.planning.moment import Moment
from slothful.planning.sleep import asleep_since, awake_steps, pass_steps, weight_of
from slothful_webui.presets import SHIPPED, PresetFolders

COUNTS = st.integers(1, 60)
INTERVALS = st.integers(10, 100).map(lambda tenths: tenths / 10)


def moments(settings: Settings, count: int, pass_name: str = "base") -> list[Moment]:
    """Those of a pass of evenly spaced steps."""
    times = tuple(index / count for index in range(count))
    return [
        Moment(1000 * (1 - time), time, index, pass_name, None, times, index)
        for index, time in enumerate(times)
    ]


def drawn(steps) -> str:
    return "".join("#" if awake else "." for awake in steps)


@pytest.mark.parametrize(
    ("every", "pattern"),
    [
        (1, "##########"),
        (2, "#.#.#.#.#."),
        (3, "#..#..#..#"),
        (2.5, "#..#.#..#."),
        (1.5, "#.##.##.##"),
        (10, "#........."),
    ],
)
def test_one_step_of_so_many_is_awake(every, pattern):
    assert drawn(awake_steps((every,) * 10)) == pattern


@given(COUNTS, INTERVALS, st.integers(1, 10), st.integers(0, 10))
def test_first_and_last_steps_are_awake_and_between_them_the_gaps_are_the_interval(
    count, every, first, last
):
    steps = awake_steps((every,) * count, first, last)
    assert all(steps[:first])
    assert all(steps[max(count - last, 0) :])
    inner = [index for index, awake in enumerate(steps[: max(count - last, 0)]) if awake]
    gaps = [after - before for before, after in itertools.pairwise(inner[first - 1 :])]
    assert all(int(every) <= gap <= int(every) + (every % 1 > 0) for gap in gaps)
    # and on the average the interval itself
    assert abs(sum(gaps) - every * len(gaps)) <= 1


@given(COUNTS, st.lists(INTERVALS, min_size=60, max_size=60))
def test_longer_intervals_never_wake_more_often(count, intervals):
    intervals = tuple(intervals[:count])
    longer = tuple(interval + 1 for interval in intervals)
    assert sum(awake_steps(longer)) <= sum(awake_steps(intervals))


@given(COUNTS, INTERVALS, st.data())
def test_a_sleeping_step_names_the_last_one_that_was_awake(count, every, data):
    settings = Settings(
        sleep="deep blocks", sleep_every=every, sleep_first=0, sleep_last=0, sleep_min_steps=1
    )
    all_moments = moments(settings, count)
    moment = data.draw(st.sampled_from(all_moments))
    since = asleep_since(settings, moment)
    awake = [m.index for m in all_moments if asleep_since(settings, m) is None]
    if since is None:
        assert moment.index in awake
    else:
        assert since == max(index for index in awake if index < moment.index)


def test_shares_of_the_pass_stay_awake():
    settings = Settings(sleep="deep blocks", sleep_every=10, sleep_first=0.2, sleep_last=0.1)
    steps = pass_steps(settings, moments(settings, 20)[0])
    assert drawn(steps) == "####.........#....##"


def test_hires_and_img2img_have_values_of_their_own_or_that_of_the_base_pass():
    own = Settings(
        sleep="deep blocks",
        sleep_every=2,
        sleep_every_hires=5,
        sleep_first=0,
        sleep_last=0,
    )
    assert drawn(pass_steps(own, moments(own, 10)[0])) == "#.#.#.#.#."
    assert drawn(pass_steps(own, moments(own, 10, "hires")[0])) == "#....#...."
    assert drawn(pass_steps(own, moments(own, 10, "img2img")[0])) == "#.#.#.#.#."


def test_on_a_curve_sleep_is_longest_at_its_peak():
    settings = Settings(
        sleep="deep blocks",
        sleep_every=4,
        sleep_peak_time=1.0,
        sleep_time_decay=2.0,
        sleep_first=0,
        sleep_last=0,
    )
    steps = pass_steps(settings, moments(settings, 40)[0])
    assert sum(steps[:20]) > sum(steps[20:])


def test_weights_of_blocks_count_but_for_parts_of_many_blocks():
    site = Site("IN01", 0, 1, 1, 32, 32, 8, inside=1)
    weighted = Settings(sleep="attention", block_weights={"IN01": 0.5})
    assert weight_of(weighted, [site]) == 0.5
    assert weight_of(weighted.replace(sleep="deep blocks"), [site]) == 1
    middle = dataclasses.replace(site, name="M00")
    assert weight_of(weighted, [middle]) == 0  # kept by default
    assert weight_of(weighted.replace(keep_middle=False), [middle]) == 1


def test_a_weight_of_0_never_sleeps_and_a_larger_one_sleeps_longer():
    settings = Settings(sleep="attention", sleep_every=3, sleep_first=0, sleep_last=0)
    moment = moments(settings, 24)[0]
    counts = [sum(pass_steps(settings, moment, weight)) for weight in (0, 0.5, 1, 2)]
    assert counts[0] == 24
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4


def test_where_the_steps_are_not_known_it_is_counted():
    settings = Settings(sleep="attention", sleep_every=2, sleep_first=0, sleep_last=0.1)
    times = [0.0, 0.2, 0.4, 0.6, 0.8, 0.95]
    awake = [
        asleep_since(settings, Moment(1000 * (1 - time), time, index, index=index)) is None
        for index, time in enumerate(times)
    ]
    assert drawn(awake) == "#.#.##"


@given(st.lists(st.floats(0, 999), min_size=1, max_size=50, unique=True), st.data())
def test_a_timestep_belongs_to_the_last_step_that_has_begun(timesteps, data):
    timesteps = sorted(map(round, timesteps), reverse=True)
    clock = PassClock(timesteps)
    index = data.draw(st.integers(0, len(timesteps) - 1))
    assert timesteps[clock.index(timesteps[index])] == timesteps[index]
    between = data.draw(st.floats(0, 0.9))
    if timesteps[index] - between > timesteps[min(index + 1, len(timesteps) - 1)]:
        assert timesteps[clock.index(timesteps[index] - between)] == timesteps[index]


@given(
    st.floats(0, 999),
    st.lists(st.floats(0.02, 40), min_size=1, max_size=50),
    st.floats(-0.99, 0.99),  # of what is forgiven
    st.data(),
)
def test_a_timestep_that_was_rounded_belongs_to_its_own_step(last, gaps, rounding, data):
    """Also where the steps lie nearer to each other than what is forgiven."""
    timesteps = [last]
    for gap in gaps:
        timesteps.insert(0, timesteps[0] + gap)
    clock = PassClock(timesteps)
    index = data.draw(st.integers(0, len(timesteps) - 1))
    least = min(0.01, min(gaps) / 2.1)
    assert clock.index(timesteps[index] + rounding * least) == index
    # what lies further away is of the step before
    if index and gaps[len(gaps) - index] > 0.05:
        assert clock.index(timesteps[index] + 0.02) == index - 1


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=3, unique=True).map(sorted),
    st.integers(1, 10),
    st.sampled_from(["last", "linear", "curve"]),
)
def test_what_does_not_change_is_forecast_as_it_is(steps, ahead, kind):
    weights = forecast_weights(kind, steps, steps[-1] + ahead)
    assert len(weights) == len(steps)
    assert sum(weights) == pytest.approx(1)


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=3, unique=True).map(sorted),
    st.integers(1, 10),
    st.floats(0.1, 5),
)
def test_a_change_is_continued_and_held_back_the_further_ahead(steps, ahead, slope):
    """It goes on as it went, slower with each step, and never by more than all of it."""
    values = [slope * step for step in steps]
    *_, before, last = steps

    def forecast(at):
        return sum(w * v for w, v in zip(forecast_weights("linear", steps, at), values))

    path = [values[-1], *(forecast(last + 1 + index) for index in range(ahead))]
    gains = [after - earlier for earlier, after in zip(path, path[1:])]
    assert all(0 < gain < slope for gain in gains)
    assert gains == sorted(gains, reverse=True)
    assert path[-1] - values[-1] < values[-1] - slope * before
    assert forecast(2 * last - before) - values[-1] == pytest.approx(slope * (last - before) / 2)


@given(st.integers(1, 50), st.integers(1, 60), st.floats(0, 0.95))
def test_a_pass_with_too_few_steps_never_sleeps(fewest, count, start):
    """One that begins inside the schedule counts as its part of a whole one."""
    settings = Settings(
        sleep="deep blocks", sleep_every=10, sleep_first=0, sleep_last=0, sleep_min_steps=fewest
    )
    times = tuple(start + (1 - start) * index / count for index in range(count))
    steps = pass_steps(settings, Moment(500, start, 0, "hires", None, times, 0))
    short = count < fewest * (1 - start)
    assert all(steps) == (short or count == 1)


@pytest.mark.parametrize("name", [n for n in PresetFolders([SHIPPED]).names() if "asleep" in n])
def test_presets_let_nothing_sleep_in_few_steps_unless_that_is_asked_for(name):
    settings = PresetFolders([SHIPPED]).load(name).settings
    assert settings.sleep != "nothing"
    for count in range(1, 9):
        assert all(pass_steps(settings, moments(settings, count)[0]))
    assert not all(pass_steps(settings, moments(settings, 20)[0]))
    asked = settings.replace(sleep_min_steps=1, sleep_first=0)
    assert not all(pass_steps(asked, moments(asked, 4)[0]))


def test_an_interval_below_1_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"sleep_every must be between 1 and 10, got 0\.5"):
        Settings.from_mapping({"sleep_every": 0.5})
    for name in ("sleep_every_hires", "sleep_every_img2img"):
        with pytest.raises(SettingsError, match=rf"{name} must be 0 or between 1 and 10, got 0\.5"):
            Settings.from_mapping({name: 0.5})
