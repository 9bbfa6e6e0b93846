"""Plain tiles against HyperTile's arithmetic, and the halo."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slothful
from slothful import Moment, Settings, plan_site
from slothful.planning.tiling import divisor_counts
from slothful.tokens.key_inputs import key_inputs
from slothful.tokens.layout import plan_layout
from slothful.tokens.moving import deal_keys, split_queries
from tests.sites import site_at
from tests.unets import make_unet, run

FLAT = dict(method="Plain Tiles", time_decay=0)
IN01 = site_at("IN01", 0, 1, 1)
CPU = torch.device("cpu")


@given(st.integers(1, 200), st.integers(1, 100), st.integers(1, 5))
def test_the_numbers_of_tiles_are_divisors_wherever_some_are(length, tile_size, options):
    counts = divisor_counts(length, tile_size, options)
    least = min(tile_size, length)
    divisors = [n for n in range(1, length + 1) if length % n == 0 and length // n >= least]
    assert 1 <= len(counts) <= options
    assert list(counts) == sorted(counts, reverse=True)
    if len(divisors) > 1:
        assert list(counts) == sorted(divisors, reverse=True)[:options]
    else:  # such an axis has windows that overlap
        assert counts[0] == max(length // least, 1)


def test_it_is_near_sighted_tile_without_global_keys_where_both_tile_alike(sd1_unet):
    # 128 pixels are 16 tokens, at every depth
    plain = Settings(**FLAT, plain_tile_size=128, plain_scale_depth=False, plain_swap=1,
                     plain_max_depth=2)  # fmt: skip
    near = Settings(method="Near-sighted Tile", tile_size=16, global_ratio=0, tiling_max_depth=2)
    outputs = []
    for settings in (plain, near):
        with slothful.applied(sd1_unet, settings) as application:
            outputs.append(run(sd1_unet, height=64, width=64))
            tiled = {name for name, plan in application.plans.items() if plan is not None}
        assert {"IN01", "IN04", "OUT11"} <= tiled
    assert torch.equal(*outputs)


def hand_tiled(attention, x, grid, counts):
    """Attention in tiles, one at a time."""
    batch, _, channels = x.shape
    picture = x.reshape(batch, *grid, channels)
    rows, columns = (length // count for length, count in zip(grid, counts))
    answers = torch.empty_like(picture)
    for y in range(0, grid[0], rows):
        for x0 in range(0, grid[1], columns):
            tile = picture[:, y : y + rows, x0 : x0 + columns]
            out = attention(tile.flatten(1, 2))
            answers[:, y : y + rows, x0 : x0 + columns] = out.reshape(tile.shape)
    return answers.flatten(1, 2)


@pytest.mark.parametrize("scaled", [True, False])
def test_tiles_are_what_attention_in_each_of_them_gives(scaled):
    unet = make_unet("sd1")
    settings = Settings(**FLAT, plain_tile_size=64, plain_scale_depth=scaled, plain_swap=1)
    for found in slothful.find_sites(unet)[:4]:
        site, attention = found.site, found.attentions[0]
        grid = (24 // site.level, 40 // site.level)
        tokens = torch.randn(2, grid[0] * grid[1], attention.to_q.in_features,
                             generator=torch.Generator().manual_seed(1))  # fmt: skip
        least = 8 * (site.depth if scaled else 1)
        sizes = [min(s for s in range(min(least, n), n + 1) if n % s == 0) for n in grid]
        counts = tuple(n // size for n, size in zip(grid, sizes))
        expected = hand_tiled(attention, tokens, grid, counts)
        with slothful.applied(unet, settings) as application:
            run(unet, height=24, width=40)
            answers = attention(tokens)
        plan = application.plans[site.name]
        assert (1 if plan is None else len(plan.tiling)) == counts[0] * counts[1]
        torch.testing.assert_close(answers, expected)


def test_sizes_swap_by_moment_and_never_from_torchs_generator():
    settings = Settings(**FLAT, plain_tile_size=64, plain_swap=3)
    state = torch.get_rng_state()
    seen = set()
    for timestep in range(0, 1000, 20):
        moment = Moment(float(timestep), 1 - timestep / 1000)
        plan = plan_site(settings, moment, IN01, (64, 96))
        assert plan == plan_site(settings, moment, IN01, (64, 96))
        seen.add((len(plan.tiling.rows), len(plan.tiling.columns)))
    # 64 tokens divide into 8, 4, 2 tiles, 96 into 12, 8, 6
    assert seen == {(y, x) for y in (8, 4, 2) for x in (12, 8, 6)}
    assert torch.equal(torch.get_rng_state(), state)


def test_away_from_the_peak_tiles_grow_until_they_are_none():
    settings = Settings(
        method="Plain Tiles", plain_tile_size=256, plain_swap=1, peak_time=0, time_decay=2
    )
    sizes = []
    for time in (0, 0.3, 0.5, 1):
        plan = plan_site(settings, Moment(1000 * (1 - time), time), IN01, (256, 256))
        sizes.append(256 if plan is None else plan.tiling.rows.size)
    assert sizes == sorted(sizes)
    assert sizes[0] == 32
    assert sizes[-1] == 256


def test_a_tile_larger_than_the_picture_leaves_it_alone():
    settings = Settings(**FLAT, plain_tile_size=1024)
    assert plan_site(settings, Moment(600, 0.4), IN01, (100, 100)) is None


@pytest.mark.parametrize("method", ["Near-sighted Tile", "Plain Tiles"])
def test_with_a_halo_a_tile_sees_its_neighbours_edges(method):
    settings = Settings(method=method, time_decay=0, tile_size=16, global_ratio=0,
                        plain_tile_size=128, plain_swap=1, tile_halo=3)  # fmt: skip
    plan = plan_site(settings, Moment(600, 0.4), IN01, (48, 32))
    layout = plan_layout(plan, CPU)
    tokens = torch.arange(48.0 * 32).reshape(1, -1, 1)
    queries = split_queries(tokens, layout, plan)
    sources, *_ = key_inputs(tokens, queries, layout, plan)
    keys = deal_keys(sources, layout, plan)
    assert queries.shape[1:] == (16 * 16, 1)
    assert keys.shape[1:] == (22 * 22, 1)
    for query, key in zip(queries.squeeze(-1), keys.squeeze(-1)):
        own, seen = set(query.tolist()), set(key.tolist())
        assert own < seen
        assert len(seen) == len(key)
        # a tile in the middle sees as far on every side
        y, x = int(min(own)) // 32, int(min(own)) % 32
        wanted = {
            float(row * 32 + column)
            for row in range(max(y - 3, 0), min(y + 19, 48))
            for column in range(max(x - 3, 0), min(x + 19, 32))
        }
        assert wanted <= seen


def test_hypertiles_own_code_computes_the_same(monkeypatch):
    """The webui's built-in extension, where an installation is at hand."""
    folder = os.environ.get("WEBUI_DIR")
    path = Path(folder or ".") / "extensions-builtin" / "hypertile" / "hypertile.py"
    if not folder or not path.is_file():
        pytest.skip("WEBUI_DIR names no installation of the webui with HyperTile")
    spec = importlib.util.spec_from_file_location("hypertile", path)
    hypertile = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hypertile", hypertile)
    spec.loader.exec_module(hypertile)
    unet = make_unet("sd1")
    options = dict(enable=True, tile_size_max=128, swap_size=1, max_depth=3)
    # its names of width and height are swapped: called as the webui does, it cuts the rows of
    # pictures that are not square as if they were columns
    hypertile.hypertile_hook_model(unet, 384, 512, **options)
    expected = run(unet, height=48, width=64)
    assert not torch.equal(expected, run(make_unet("sd1"), height=48, width=64))
    ours = Settings(**FLAT, plain_tile_size=128, plain_swap=1, keep_middle=False)
    unet = make_unet("sd1")
    with slothful.applied(unet, ours):
        torch.testing.assert_close(run(unet, height=48, width=64), expected, rtol=0, atol=1e-5)
