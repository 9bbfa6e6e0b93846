"""The control that chooses: never slower than nothing, never more change than the wish allows."""

import csv
import functools
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import slothful
from benchmarks.pictures.contestants import contestants
from slothful import MachineCosts, Moment, Rates, Settings, SettingsError
from slothful.planning.choice import FRONT, LARGE, LEVELS, MOST_CHANGE
from slothful.planning.seconds import kind_of
from tests.unets import make_unet

WISHES = ("gentle", "balanced", "strong")
TABLE = Path(__file__).resolve().parents[1] / "docs" / "effects" / "contest.csv"


@functools.cache
def shape_of(layout):
    return slothful.shape_of(make_unet(layout))


def moments(count, start=1000.0):
    times = tuple(1 - start * (1 - i / count) / 1000 for i in range(count))
    return [Moment(1000 * (1 - t), t, i, times=times, index=i) for i, t in enumerate(times)]


def rates(shape, operation, score, call, hook, search, value, block):
    """Costs of a machine on which an operation of a block takes `block` seconds."""
    kinds = {kind_of(each.site): Rates(operation, score, call) for each in shape.sites}
    blocks = {each.inside: ((1.0, block),) for each in shape.rest}
    parts = dict.fromkeys(("cross", "mlp", "around"), ((1.0, block),))
    return MachineCosts(blocks, parts, kinds, hook, search, value)


def seconds(chosen, shape, passes, costs):
    told = slothful.NO_SECONDS
    for _, width, height, steps in passes:
        told += slothful.estimate_seconds(chosen, shape, costs, width, height, steps)
    return told


small = st.floats(0, 1e-6)
passes_of = st.lists(
    st.tuples(
        st.sampled_from(["base", "hires", "img2img"]),
        st.sampled_from([256, 512, 768]),
        st.sampled_from([256, 512, 640]),
        st.integers(1, 30).map(moments),
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["sd1", "sdxl"]), st.sampled_from(WISHES), passes_of,
    st.tuples(small, small, small, st.floats(0, 1), st.floats(0, 1), small, st.floats(1e-12, 1e-6)),
)  # fmt: skip
def test_it_is_never_slower_than_nothing_by_the_costs_of_the_machine(layout, level, passes, each):
    shape = shape_of(layout)
    costs = rates(shape, *each)
    chosen = slothful.choose(level, shape, passes, costs)
    told = seconds(chosen, shape, passes, costs)
    assert told.left <= told.without * (1 + 1e-9)
    assert chosen == slothful.choose(level, shape, passes, costs)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["sd1", "sdxl"]), passes_of)
def test_a_stronger_wish_never_takes_longer(layout, passes):
    shape = shape_of(layout)
    costs = rates(shape, 1e-12, 1e-11, 0.0, 0.0, 0.0, 0.0, 1e-12)
    left = [
        seconds(slothful.choose(level, shape, passes, costs), shape, passes, costs).left
        for level in ("off", *WISHES)
    ]
    assert all(one >= other * (1 - 1e-9) for one, other in zip(left, left[1:]))


def test_where_hooks_are_dear_it_sleeps_without_a_method():
    """As on a fast GPU that waits for its host."""
    shape, passes = shape_of("sd1"), [("base", 512, 512, moments(20))]
    dear = rates(shape, 1e-14, 1e-13, 1e-5, 1e-2, 1e-2, 0.0, 1e-14)
    for level in WISHES:
        chosen = slothful.choose(level, shape, passes, dear)
        assert chosen.method == "Sleep only"
        assert chosen.sleep == "deep blocks"


def test_where_attention_is_most_of_the_work_a_method_joins():
    shape, passes = shape_of("sd1"), [("base", 1024, 1024, moments(20))]
    costs = rates(shape, 1e-12, 1e-9, 0.0, 0.0, 0.0, 0.0, 1e-14)
    assert slothful.choose("gentle", shape, passes, costs).method == "Sleep only"
    for level in ("balanced", "strong"):
        assert slothful.choose(level, shape, passes, costs).method != "Sleep only"


def test_few_steps_and_strange_models_are_left_alone():
    shape = shape_of("sd1")
    few = [("base", 256, 256, moments(4))]  # of LCM: nothing sleeps, and little is to be saved
    for level in WISHES:
        assert slothful.choose(level, None, few) == Settings(method="Sleep only")
        chosen = slothful.choose(level, shape, few)
        moments_of_it = [slothful.asleep_since(chosen, each) for each in few[0][3]]
        assert moments_of_it == [None] * 4
    assert slothful.choose("off", shape, few) == Settings(method="Sleep only")


@pytest.mark.parametrize("level", ["", "x", "Balance", 3, None, [], "off on"])
def test_a_wish_that_is_none_is_refused_by_its_name(level):
    with pytest.raises(SettingsError, match="lazy must be one of off, gentle, balanced, strong"):
        slothful.choose(level, shape_of("sd1"), [])
    with pytest.raises(SettingsError, match="got 'custom'"):
        slothful.choose("custom", shape_of("sd1"), [])
    assert ("off", *WISHES, "custom") == LEVELS


def test_the_front_is_what_the_study_has_measured():
    changes = defaultdict(dict)
    with TABLE.open() as file:
        for row in csv.DictReader(file):
            changes[row["size"], row["variant"]][row["seed"]] = float(row["change"])
    names = [
        "asleep gentle", "asleep half", "Slothful Attention, asleep gentle",
        "Slothful Attention, asleep half",
    ]  # fmt: skip
    listed = contestants()
    for candidate, name in zip(FRONT, names, strict=True):
        assert Settings(**candidate.settings) == listed[name].settings
        for size, told in (("256x256", candidate.small), ("512x512", candidate.large)):
            own, half = changes[size, name], changes[size, "50% of the steps"]
            both = sorted(own.keys() & half.keys())
            assert len(both) >= 8
            relative = sum(own[seed] for seed in both) / sum(half[seed] for seed in both)
            assert told == pytest.approx(relative, abs=0.01)


def test_every_wish_allows_something_at_every_size():
    for tokens in (1, 32 * 32, LARGE - 1, LARGE, 128 * 128):
        least = min(candidate.change(tokens) for candidate in FRONT)
        assert all(least <= most <= 1.0 for most in MOST_CHANGE.values())
    assert FRONT[2].change(LARGE - 1) == FRONT[2].small
    assert FRONT[2].change(LARGE) == FRONT[2].large


@pytest.mark.parametrize(
    ("layout", "size", "large"),
    [("sd1", 504, False), ("sd1", 512, True), ("sdxl", 512, False), ("sdxl", 1024, True)],
)
def test_the_smallest_pass_tells_how_much_a_method_changes(layout, size, large):
    """By the tokens at its finest attention, which in SDXL is one level further down."""
    shape = shape_of(layout)
    costs = rates(shape, 1e-12, 1e-9, 0.0, 0.0, 0.0, 0.0, 1e-14)  # attention is all the work
    passes = [("base", size, size, moments(20)), ("hires", 2048, 2048, moments(20))]
    chosen = slothful.choose("balanced", shape, passes, costs)
    assert (chosen.method != "Sleep only") == large
