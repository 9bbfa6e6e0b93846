"""Reduction of keys and values, against formulations in plain loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slothful.reduction import plan_reduction, pool_cells, reduce_tokens

sides = st.integers(1, 40)
strengths = st.floats(1.01, 60)
modes = st.sampled_from(["1D_AVG", "1D_MAX", "2D_AVG", "2D_MAX"])
roundings = st.sampled_from(["stride", "smooth"])


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


@settings(max_examples=60, deadline=None)
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
            pool.append(cell.amax(1) if mode.endswith("MAX") else cell.mean(1))
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
    end = pool_cells(grid, reduction) if blend else grid[:, ::3, ::2]
    assert torch.equal(keys, end.reshape(2, -1, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rounding", ["stride", "smooth"])
@pytest.mark.parametrize("mode", ["1D_AVG", "1D_MAX", "2D_AVG", "2D_MAX"])
def test_the_dtype_is_kept(dtype, rounding, mode):
    reduction = plan_reduction(
        13, 10, mode=mode, strength=5, rounding=rounding, k_blend=0.5, v_blend=0.7
    )
    for part in reduce_tokens(tokens_of(13, 10, dtype), reduction):
        assert part.dtype == dtype
        assert part.shape == (2, len(reduction), 3)
