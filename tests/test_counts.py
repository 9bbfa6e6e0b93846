"""Numbers of queries, keys and projected tokens are those of the index tensors."""

import dataclasses
import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from slothful import Reduce
from slothful.planning.counts import kept_count, outside_count
from slothful.planning.reduction import plan_downsampling, plan_reduction
from slothful.planning.tiling import plan_divisor_tiling, plan_tiling
from slothful.tokens.kept import kept_index, kept_outside
from slothful.tokens.layout import plan_layout

CPU = torch.device("cpu")
MODES = ("1D_AVG", "2D_AVG")

grids = st.tuples(st.integers(1, 97), st.integers(1, 61))
strengths = st.floats(1.0, 60.0)


@st.composite
def reductions(draw, grid, thinning=1.0):
    """Any reduction of a grid."""
    chosen = random.Random(draw(st.integers(0, 99)))
    options = dict(generator=chosen, merges=draw(st.booleans()))
    if draw(st.booleans()):
        factor = draw(st.floats(1.0, 10.0))
        return plan_downsampling(
            *grid, factor=factor, blend=draw(st.sampled_from([0, 1])), **options
        )
    blends = dict(
        k_blend=draw(st.sampled_from([0.0, 1.0])), v_blend=draw(st.sampled_from([0.0, 1.0]))
    )
    return plan_reduction(
        *grid,
        mode=draw(st.sampled_from(MODES)),
        strength=draw(strengths),
        rounding=draw(st.sampled_from(["stride", "smooth"])),
        thinning=thinning,
        **blends,
        **options,
    )


@st.composite
def plans(draw):
    """Any plan with windows, or of the whole grid."""
    grid = draw(grids)
    shift = draw(st.tuples(*2 * [st.sampled_from([0.0, 0.25, 0.5, 0.9])]))
    tiling = plan_tiling(*grid, draw(st.integers(1, 40)), shift)
    if draw(st.booleans()):
        tiling = plan_divisor_tiling(*grid, draw(st.integers(1, 40)), 3, shift, random.Random(1))
    if tiling is None:
        return Reduce(grid, 1.0, draw(reductions(grid)))
    halo = draw(st.sampled_from([None, 1, 3]))
    near = tiling if halo is None else tiling.with_halo(halo)
    own = draw(st.none() | reductions(near.window))
    thinning = draw(st.floats(1.0, 500.0))
    shared = draw(st.none() | reductions(grid, thinning))
    return Reduce(grid, 1.0, own, tiling, shared, None if halo is None else near)


def compare(plan):
    """The numbers of a plan with the tensors of its layout."""
    layout = plan_layout(plan, CPU)
    windows = plan.windows
    queries = plan.tokens if layout.queries is None else len(layout.queries)
    assert plan.query_count == queries
    keys = plan.key_count
    if layout.keys is not None:
        assert keys == len(layout.keys) // windows
    elif plan.tiling is not None:  # what is projected of a window, and what all windows see
        own = plan.tokens // windows if plan.reduction is None else len(plan.reduction)
        shared = plan.global_reduction if plan.merges else None
        assert keys == own + (0 if shared is None else len(shared))
    if plan.pools:
        return
    projected = plan.tokens if layout.sources is None else len(layout.sources)
    assert plan.projected_count == projected


@hypothesis_settings(max_examples=400)
@given(plan=plans())
def test_a_plan_counts_what_its_index_tensors_hold(plan):
    compare(plan)


@pytest.mark.parametrize("mode", MODES)
def test_on_every_small_grid_a_plan_counts_what_its_index_tensors_hold(mode):
    for height, width in itertools.product(range(1, 8), range(1, 8)):
        for size, strength, shift in itertools.product((2, 3), (1.5, 3.0), (0.0, 0.5)):
            tiling = plan_tiling(height, width, size, (shift, shift))
            if tiling is None:
                continue
            options = dict(mode=mode, strength=strength, generator=random.Random(size))
            own = plan_reduction(*tiling.window, **options)
            shared = plan_reduction(height, width, thinning=2.5, **options)
            for parts in ((own, shared), (own, None), (None, shared), (None, None)):
                compare(Reduce((height, width), strength, parts[0], tiling, parts[1]))


@hypothesis_settings(max_examples=150)
@given(grid=grids, data=st.data())
def test_keys_outside_a_window_are_counted_for_the_window_that_sees_most(grid, data):
    tiling = plan_tiling(*grid, data.draw(st.integers(1, 30)), (0.3, 0.6))
    if tiling is None:
        return
    shared = dataclasses.replace(data.draw(reductions(grid)), merges=False)
    assert outside_count(shared, tiling) == kept_outside(shared, tiling).shape[1]


def test_a_token_that_several_windows_see_is_counted_once():
    tiling = plan_tiling(16, 16, 8, (0.5, 0.5))
    own = plan_reduction(*tiling.window, mode="2D_AVG", strength=4.0)
    shared = plan_reduction(16, 16, mode="2D_AVG", strength=9.0)
    seen = set()
    for y, x in itertools.product(tiling.rows.starts, tiling.columns.starts):
        places = kept_index(own, CPU)
        seen |= {(y + int(p) // 8) * 16 + x + int(p) % 8 for p in places}
    assert kept_count(own, None, tiling) == len(seen)
    assert kept_count(own, shared, tiling) == len(seen | set(kept_index(shared, CPU).tolist()))
