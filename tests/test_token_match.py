"""The matching of token merging is tomesd's to the bit, and never has all likenesses at once."""

from unittest import mock

import torch
from hypothesis import given
from hypothesis import strategies as st
from tomesd.merge import bipartite_soft_matching_random2d

from slothful import Merge
from slothful.tokens import token_merging
from slothful.tokens.token_merging import TokenMatch


@st.composite
def mergings(draw):
    """(merging, batch, channels, the tokens' generator, whether many are alike)"""
    grid = draw(st.tuples(st.integers(1, 48), st.integers(1, 48)).filter(lambda g: g != (1, 1)))
    stride = tuple(draw(st.integers(1, min(8, length))) for length in grid)
    tokens = grid[0] * grid[1]
    others = tokens - (grid[0] // stride[0]) * (grid[1] // stride[1])
    if others == 0:
        stride = grid
        others = tokens - 1
    count = draw(st.integers(1, others))
    seed = draw(st.none() | st.integers(0, 2**32 - 1))
    merging = Merge(grid, count, stride, seed, True, False, False, False, False)
    batch, channels = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3, 8, 40, 64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return merging, batch, channels, generator, draw(st.booleans())


@given(mergings(), st.integers(0, 3))
def test_it_merges_and_spreads_as_tomesd_does(drawn, layer):
    merging, batch, channels, generator, alike = drawn
    (height, width), (rows, columns) = merging.grid, merging.stride
    tokens = torch.randn(batch, height * width, channels, generator=generator)
    tokens = tokens.round() if alike else tokens  # with many ties, and without a direction
    merge, spread = bipartite_soft_matching_random2d(
        tokens, width, height, columns, rows, merging.count,
        no_rand=merging.seed is None or batch % 2 == 1,
        generator=torch.Generator().manual_seed((merging.seed or 0) + layer),
    )  # fmt: skip
    match = TokenMatch(tokens, merging, layer)
    values = torch.randn(batch, height * width, 5, generator=generator)
    merged = match.merge(values)
    assert merged.shape == (batch, merging.left, 5)
    assert torch.equal(merged, merge(values))
    assert torch.equal(match.unmerge(merged), spread(merged))
    sizes = merge(torch.ones(batch, height * width, 1), mode="sum").squeeze(-1)
    assert torch.equal(match.log_sizes(), sizes.log())
    with mock.patch.object(token_merging, "adds_in_any_order", return_value=True):
        sorted_match = TokenMatch(tokens, merging, layer)
    torch.testing.assert_close(sorted_match.merge(values), merged, rtol=1e-5, atol=1e-5)
    assert torch.equal(sorted_match.log_sizes(), sizes.log())
