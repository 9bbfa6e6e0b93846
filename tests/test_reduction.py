"""Reduction of keys and values, against formulations in plain loops."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slothful.planning.reduction import plan_downsampling, plan_reduction
from slothful.settings.methods import MODES
from slothful.tokens.pooling import POOLS, reduce_tokens

sides = st.integers(1, 40)
strengths = st.floats(1.01, 60)
modes = st.sampled_from(MODES)
roundings = st.sampled_from(["stride", "smooth"])


def pooled(mode, cell):
    """What the mode says of one cell (tokens, channels), one token after the other."""
    if mode.endswith("AVG"):
        return cell.mean(0)
    if mode.endswith("MAX"):
        return cell.amax(0)
    if mode.endswith("NORM"):
        return max(cell, key=lambda token: token.float().norm())
    distances = [float((token - cell.mean(0)).norm() ** 2) for token in cell]
    spread = sum(distances) / len(cell)
    weights = [math.exp(-d / spread) if spread else 1.0 for d in distances]
    return sum(w * token for w, token in zip(weights, cell)) / sum(weights)


def tokens_of(height, width, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, height * width, 3, generator=generator, dtype=dtype)


@given(sides, sides, strengths, modes, roundings)
def test_every_token_belongs_to_exactly_one_cell(height, width, strength, mode, rounding):
    reduction = plan_reduction(height, width, mode=mode, strength=strength, rounding=rounding)
    for cells in (reduction.rows, reduction.columns):
        covered = [
            token
            for start, size in zip(cells.starts, cells.sizes)
            for token in range(start, start + size)
        ]
        assert covered == list(range(cells.length))
    assert reduction.rows.length * reduction.columns.length == height * width


@settings(max_examples=60)
@given(sides, sides, strengths, modes, roundings, st.floats(1, 20))
def test_pools_against_loops_over_the_cells(height, width, strength, mode, rounding, thinning):
    reduction = plan_reduction(
        height, width, mode=mode, strength=strength, rounding=rounding, thinning=thinning,
        k_blend=0.25, v_blend=1.0,
    )  # fmt: skip
    tokens = tokens_of(height, width)
    keys, values = reduce_tokens(tokens, reduction)
    rows, columns = reduction.rows, reduction.columns
    grid = tokens.reshape(2, rows.length, columns.length, 3)
    one, pool = [], []
    for y, size_y in zip(rows.starts, rows.sizes):
        for x, size_x in zip(columns.starts, columns.sizes):
            cell = grid[:, y : y + size_y, x : x + size_x].flatten(1, 2)
            one.append(cell[:, 0])
            pool.append(torch.stack([pooled(mode, each) for each in cell]))
    one, pool = torch.stack(one, 1), torch.stack(pool, 1)
    torch.testing.assert_close(values, pool)
    torch.testing.assert_close(keys, one + 0.25 * (pool - one))


@pytest.mark.parametrize(
    ("strength", "mode", "strides"),
    [(4, "2D_AVG", (2, 2)), (6, "2D_AVG", (3, 2)), (5, "2D_MAX", (3, 2)), (1.5, "2D_AVG", (2, 1)),
     (2.2, "1D_AVG", (1, 3)), (50, "2D_AVG", (8, 7))],
)  # fmt: skip
def test_strides_of_the_original(strength, mode, strides):
    reduction = plan_reduction(64, 64, mode=mode, strength=strength)
    assert (reduction.rows.stride, reduction.columns.stride) == strides


def test_a_stride_larger_than_the_grid_keeps_one_token():
    reduction = plan_reduction(3, 2, mode="2D_AVG", strength=50)
    assert len(reduction) == 1
    tokens = tokens_of(3, 2)
    keys, values = reduce_tokens(tokens, reduction)
    assert torch.equal(keys, tokens[:, :1])
    assert values is keys


@given(sides, sides, strengths, roundings)
def test_average_pooling_commutes_with_the_projection(height, width, strength, rounding):
    reduction = plan_reduction(
        height, width, mode="2D_AVG", strength=strength, rounding=rounding, k_blend=1, v_blend=1
    )
    tokens = tokens_of(height, width)
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = reduce_tokens(tokens, reduction)[0] @ weight.T
    after = reduce_tokens(tokens @ weight.T, reduction)[0]
    torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("blend", [0.0, 1.0])
def test_equal_blends_share_one_tensor_and_ends_are_exact(blend):
    tokens = tokens_of(9, 7, torch.float32)
    reduction = plan_reduction(9, 7, mode="2D_MAX", strength=6, k_blend=blend, v_blend=blend)
    keys, values = reduce_tokens(tokens, reduction)
    assert values is keys
    grid = tokens.reshape(2, 9, 7, 3)
    end = POOLS["MAX"](tokens, reduction) if blend else grid[:, ::3, ::2]
    assert torch.equal(keys, end.reshape(2, -1, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rounding", ["stride", "smooth"])
@pytest.mark.parametrize("mode", MODES)
def test_the_dtype_is_kept(dtype, rounding, mode):
    reduction = plan_reduction(
        13, 10, mode=mode, strength=5, rounding=rounding, k_blend=0.5, v_blend=0.7
    )
    for part in reduce_tokens(tokens_of(13, 10, dtype), reduction):
        assert part.dtype == dtype
        assert part.shape == (2, len(reduction), 3)


@given(sides, sides, strengths, modes, roundings, st.floats(1, 20), st.integers(0, 9))
def test_a_jittered_token_stays_before_the_next_cell(
    height, width, strength, mode, rounding, thinning, seed
):
    options = dict(mode=mode, strength=strength, rounding=rounding, thinning=thinning)
    first = plan_reduction(height, width, **options)
    moved = plan_reduction(height, width, **options, generator=random.Random(seed))
    grid = (first.rows.length, first.columns.length)
    places = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1)
    places = places.reshape(1, -1, 2).double()
    began, kept = reduce_tokens(places, first)[0], reduce_tokens(places, moved)[0]
    assert kept.shape == began.shape
    assert (kept >= began).all()
    for y, x in zip(*(dimension.reshape(len(first.rows), -1) for dimension in kept[0].unbind(-1))):
        assert (x.diff() > 0).all()
        assert y.unique().numel() == 1
    assert len(kept[0].unique(dim=0)) == len(first)


def test_every_token_of_a_cell_is_kept_some_time():
    kept = {
        plan_reduction(32, 32, mode="2D_AVG", strength=6, generator=random.Random(seed)).offset
        for seed in range(200)
    }
    assert kept == {(y, x) for y in range(3) for x in range(2)}


def torchs_nearest(length, count):
    """The tokens that torch's nearest interpolation picks of `length`: (count,)."""
    count = max(1, count)
    tokens = torch.arange(length, dtype=torch.float64)
    picked = F.interpolate(tokens[None, None], count, mode="nearest")[0, 0].long()
    # torch multiplies by a scale of 32 bits, which can fall just short of a whole number
    exact = torch.arange(count) * length
    short = (exact % count == 0) & (picked == exact // count - 1)
    return picked + short


@example(39, 39, 1.15625)
@given(sides, sides, st.floats(1, 10))
def test_downsampling_is_torchs_nearest_interpolation(height, width, factor):
    tokens = tokens_of(height, width)
    keys, values = reduce_tokens(tokens, plan_downsampling(height, width, factor=factor))
    rows, columns = (torchs_nearest(length, int(length / factor)) for length in (height, width))
    nearest = tokens.unflatten(1, (height, width))[:, rows][:, :, columns]
    assert torch.equal(keys, nearest.flatten(1, 2))
    assert values is keys


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_area_downsampling_is_torchs_where_the_factor_divides(rows, columns, factor):
    height, width = rows * factor, columns * factor
    tokens = tokens_of(height, width)
    keys, _ = reduce_tokens(tokens, plan_downsampling(height, width, factor=factor, blend=1.0))
    picture = tokens.transpose(1, 2).unflatten(2, (height, width))
    area = F.interpolate(picture, (rows, columns), mode="area")
    torch.testing.assert_close(keys, area.flatten(2).transpose(1, 2))
