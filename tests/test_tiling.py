"""Windows of the queries: every token is answered once, from a window of real tokens."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slothful import Moment, Settings, plan_site
from slothful.planning.plan import Reduce
from slothful.planning.reduction import plan_reduction
from slothful.planning.tiling import axis_windows, plan_tiling, with_halo
from slothful.tokens.kept import kept_index, kept_outside
from slothful.tokens.key_inputs import key_inputs
from slothful.tokens.layout import plan_layout
from slothful.tokens.moving import deal_keys, join_answers, split_queries
from slothful.tokens.windows import places_in_windows, window_indices
from tests.sites import site_at

SITE = site_at("IN01", 0, 1, 1)
CPU = torch.device("cpu")


@given(st.integers(1, 97), st.integers(1, 64), st.floats(0, 0.999), st.integers(0, 40))
def test_windows_are_equal_inside_and_own_every_token_once(length, tile_size, shift, halo):
    count = math.ceil(length / tile_size)
    windows = with_halo(axis_windows(length, count, shift), halo)
    assert windows.size <= min(tile_size + 2 * halo, length)
    assert windows.edges[0] == 0
    assert windows.edges[-1] == length
    for start, first, end in zip(windows.starts, windows.edges, windows.edges[1:]):
        assert 0 <= start <= first < end <= start + windows.size <= length


@settings(max_examples=60)
@given(
    st.integers(1, 97),
    st.integers(1, 61),
    st.integers(16, 64),
    st.sampled_from(["none", "random", "alternating"]),
    st.integers(0, 1),
)
def test_every_query_is_answered_once(height, width, tile_size, shift, step):
    options = Settings(method="Near-sighted Tile", tile_size=tile_size, tile_shift=shift)
    plan = plan_site(options, Moment(600.0, 0.4, step), SITE, (height, width))
    if plan is None:
        assert max(height, width) <= tile_size
        return
    layout = plan_layout(plan, CPU)
    tokens = torch.arange(2.0 * height * width).reshape(2, -1, 1)
    queries = split_queries(tokens, layout, plan)
    assert queries.shape == (2 * len(plan.tiling), plan.tiling.tokens, 1)
    assert torch.equal(join_answers(queries, layout, plan), tokens)
    places = torch.arange(queries.numel()).reshape(queries.shape)
    assert len(join_answers(places, layout, plan).unique()) == tokens.numel()


def test_windows_side_by_side_are_cut_from_the_grid():
    tiling = plan_tiling(32, 48, 16)
    assert tiling.side_by_side
    assert not plan_tiling(34, 48, 16).side_by_side
    plan = Reduce((32, 48), 1.0, tiling=tiling)
    layout = plan_layout(plan, CPU)
    assert layout.queries is layout.answers is None
    tokens = torch.randn(2, 32 * 48, 3, generator=torch.Generator().manual_seed(0))
    queries = split_queries(tokens, layout, plan)
    sources, *_ = key_inputs(tokens, queries, layout, plan)
    grid = tokens.unflatten(1, (32, 48))
    cut = [grid[:, y : y + 16, x : x + 16].flatten(1, 2) for y in (0, 16) for x in (0, 16, 32)]
    expected = torch.stack(cut, dim=1).flatten(0, 1)
    assert torch.equal(queries, expected)
    assert torch.equal(deal_keys(sources, layout, plan), expected)
    assert torch.equal(join_answers(queries, layout, plan), tokens)


@given(st.sampled_from([(32, 48), (30, 60), (48, 20)]), st.integers(5, 20), st.integers(1, 60))
def test_a_kept_token_has_its_place_among_the_windows_tokens(grid, tile_size, strength):
    tiling = plan_tiling(*grid, tile_size)
    reduction = plan_reduction(*grid, mode="2D_AVG", strength=float(strength))
    kept = kept_index(reduction, CPU)
    assert torch.equal(kept_index(reduction, CPU, tiling), places_in_windows(tiling)[kept])
    if tiling.side_by_side:
        order = window_indices(grid, tiling).flatten()
        assert torch.equal(order[kept_index(reduction, CPU, tiling)], kept)


def test_one_tile_is_no_tiling():
    assert plan_tiling(32, 20, 32) is None
    assert plan_tiling(33, 20, 32) is not None


def test_the_number_of_tiles_follows_the_tile_size():
    tiling = plan_tiling(64, 96, 32)
    assert (len(tiling.rows), len(tiling.columns), tiling.tokens) == (2, 3, 32 * 32)
    tiling = plan_tiling(64, 96, 24)
    assert (len(tiling.rows), len(tiling.columns), tiling.tokens) == (3, 4, 22 * 24)


def test_tiling_max_depth_bounds_the_levels():
    for depth, max_depth, tiled in [(1, 1, True), (2, 1, False), (2, 2, True), (4, 2, False),
                                    (4, 3, True), (8, 3, False)]:  # fmt: skip
        site = site_at("IN04", 2, depth, depth)
        options = Settings(method="Near-sighted Tile", tiling_max_depth=max_depth)
        plan = plan_site(options, Moment(600, 0.4), site, (64, 64))
        assert (plan is not None) == tiled


def test_each_window_sees_its_own_tokens_and_the_thinned_rest():
    options = Settings(
        method="Near-sighted Tile", tile_size=16, global_ratio=0.5, kept_token="first"
    )
    plan = plan_site(options, Moment(600, 0.4), SITE, (32, 48))
    layout = plan_layout(plan, CPU)
    tokens = torch.arange(32.0 * 48).reshape(1, -1, 1)
    queries = split_queries(tokens, layout, plan)
    sources, *_ = key_inputs(tokens, queries, layout, plan)
    assert len(sources[0].unique()) == sources.shape[1]  # no token is projected twice
    keys = deal_keys(sources, layout, plan)
    own, rest = keys[:, :256], keys[:, 256:]
    assert torch.equal(own, queries)
    # 6 windows, ratio 0.5: one token of 12, which is a stride of 4 by 3, and 6 or 5 in a row of
    # a window; so windows that hold 6 have one less of each of 4 rows outside
    thinned = tokens.reshape(32, 48)[::4, ::3].flatten().tolist()
    for window, outside in zip(own, rest):
        held = set(window.flatten().tolist())
        wanted = [token for token in thinned if token not in held]
        seen = outside.flatten().tolist()
        assert set(wanted) <= set(seen) <= set(thinned)
        assert len(seen) == 8 * 16 - 4 * 5
        assert len(seen) == len(set(seen))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(17, 70),
    st.integers(8, 61),
    st.sampled_from(["2D_AVG", "1D_MAX"]),
    st.sampled_from(["none", "random", "alternating"]),
    st.sampled_from([0, 2, 8]),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.floats(0, 1),
)
def test_a_window_sees_all_that_is_kept_outside_it(h, w, mode, shift, halo, ratio, blend):
    """Whether tokens are pooled or not, and however the windows lie."""
    options = Settings(
        method="Near-sighted Attention", base_tile_size=16, peak_tile_size=16, in_mode=mode,
        base_global_ratio=ratio, peak_global_ratio=ratio, tile_shift=shift, tile_halo=halo,
        in_k_blend=blend, in_v_blend=blend, kept_token="jittered",
    )  # fmt: skip
    plan = plan_site(options, Moment(600, 0.4), SITE, (h, w))
    kept = kept_index(plan.global_reduction, CPU)
    cells = kept_outside(plan.global_reduction, plan.key_windows)
    assert plan.key_count == len(plan.reduction) + cells.shape[1]
    rows, columns = plan.key_windows.rows, plan.key_windows.columns
    corners = [(y, x) for y in rows.starts for x in columns.starts]
    lacking = []
    for (y, x), own in zip(corners, cells, strict=True):
        held = torch.zeros(h, w, dtype=torch.bool)
        held[y : y + rows.size, x : x + columns.size] = True
        outside = (~held.flatten()[kept]).nonzero().flatten().tolist()
        assert set(outside) <= set(own.tolist())
        assert len(own) == len(own.unique())
        lacking.append(len(own) - len(outside))
    assert min(lacking) == 0


def test_without_a_global_ratio_a_window_sees_only_itself():
    options = Settings(method="Near-sighted Tile", tile_size=16, global_ratio=0)
    plan = plan_site(options, Moment(600, 0.4), SITE, (33, 20))
    assert plan.key_count == plan.tiling.tokens


def test_near_sighted_attention_follows_the_schedule():
    options = Settings(method="Near-sighted Attention", peak_time=0.4, time_decay=4)
    at_peak = plan_site(options, Moment(600, 0.4), SITE, (64, 64))
    far = plan_site(options, Moment(0, 1.0), SITE, (64, 64))
    assert (at_peak.tiling.rows.size, far.tiling.rows.size) == (32, 22)
    assert at_peak.reduction is not None
    assert far.reduction is None  # strength below 1: all tokens of the window are keys


def test_shifts_move_the_borders_and_depend_on_timestep_and_site_alone():
    def edges(shift, **moment):
        options = Settings(method="Near-sighted Tile", tile_size=32, tile_shift=shift)
        plan = plan_site(options, Moment(**moment), SITE, (64, 64))
        return plan.tiling.rows.edges, plan.tiling.columns.edges

    first = dict(timestep=600.0, time=0.4, step=0)
    second = dict(timestep=550.0, time=0.45, step=1)
    assert edges("none", **first) == edges("none", **second) == ((0, 32, 64), (0, 32, 64))
    assert edges("random", **first) == edges("random", **first)
    assert edges("random", **first) != edges("random", **second)
    assert edges("alternating", **first) != edges("alternating", **second)
    assert ((0, 16, 48, 64),) * 2 in (edges("alternating", **first), edges("alternating", **second))


@pytest.mark.parametrize("rounding", ["stride", "smooth"])
def test_the_global_keys_number_about_the_ratio(rounding):
    for ratio in (0.2, 0.5, 1.0):
        options = Settings(
            method="Near-sighted Tile", tile_size=32, global_ratio=ratio, rounding=rounding
        )
        plan = plan_site(options, Moment(600, 0.4), SITE, (128, 96))
        assert len(plan.global_reduction) == pytest.approx(ratio * 1024, rel=0.25)
