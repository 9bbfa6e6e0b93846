"""Kept tokens that stand for all that are most like them, and weigh as much."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import slothful
from slothful import Moment, Settings, plan_site
from slothful.planning.reduction import COMPARED_CHANNELS
from slothful.tokens import group_means, key_inputs, likeness, weighted_attention
from slothful.tokens.group_means import GroupsByProducts, GroupsInBags, groups_of
from slothful.tokens.kept import kept_index
from slothful.tokens.likeness import GroupsByShares, features_of, join_alike
from slothful.tokens.weighted_attention import attention_with_bias, attention_with_channel
from tests.test_hooks_device import Operations
from tests.unets import make_unet, module_state, run

CPU = torch.device("cpu")
KINDS = [lambda joined, count, dtype: GroupsInBags(joined, count), GroupsByProducts]
"""Both kinds of groups, whichever a device has them by."""
MOMENT = Moment(600.0, 0.4)
FLAT = dict(in_slothful=6, in_depth_decay=0, time_decay=0)


def tokens_of(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("copies", [1, 5])
def test_copies_of_a_token_join_it_wherever_they_lie(copies):
    """Seven directions far apart, each token one of them at some length."""
    kinds = torch.eye(7, 16)
    generator = torch.Generator().manual_seed(1)
    kind = torch.randint(7, (2, 7 * copies), generator=generator)
    kind[:, :7] = torch.arange(7)
    lengths = 1 + torch.rand(kind.shape, generator=generator)
    tokens = kinds[kind] * lengths[..., None]
    joined = join_alike(features_of(tokens), torch.arange(7))
    assert torch.equal(joined, kind)


def test_a_kept_token_joins_itself_though_another_is_equal():
    tokens = torch.ones(1, 6, 4)
    joined = join_alike(features_of(tokens), torch.tensor([1, 4]))
    assert joined[0, 1] == 0
    assert joined[0, 4] == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kept", [1, 3, 8, 12])
def test_a_token_joins_a_kept_one_in_every_precision(kept, dtype):
    """Products of equal columns may differ in their last bits, as they do in double precision."""
    for seed in range(5):
        features = tokens_of(4, 48, 16, seed=seed, dtype=dtype)
        joined = join_alike(features, torch.arange(0, 48, 4)[:kept])
        assert joined.min() >= 0
        assert joined.max() < kept


@pytest.mark.parametrize("kind", KINDS, ids=["bags", "products"])
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3), count=st.integers(2, 90), kept=st.integers(1, 60),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_every_token_is_in_one_mean(kind, batch, count, kept, seed):
    kept = min(kept, count)
    tokens = tokens_of(batch, count, 5, seed=seed)
    places = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:kept]
    joined = join_alike(features_of(tokens), places)
    groups = kind(joined, kept, tokens.dtype)
    found, sizes = groups.means(tokens), groups.sizes
    assert sizes.min() >= 1
    assert torch.equal(sizes.sum(dim=1).long(), torch.full((batch,), count))
    for row in range(batch):
        for place in range(kept):
            members = tokens[row, joined[row] == place]
            torch.testing.assert_close(found[row, place], members.mean(dim=0))
    directions = tokens - tokens.mean(dim=-1, keepdim=True)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    nearest = directions @ directions[:, places].transpose(1, 2)
    chosen = nearest.gather(2, joined[..., None])[..., 0]
    free = torch.ones(count, dtype=torch.bool)
    free[places] = False
    torch.testing.assert_close(chosen[:, free], nearest.amax(dim=2)[:, free])


def test_few_directions_keep_the_angles_and_no_generator_is_touched():
    tokens = tokens_of(1, 200, 20 * COMPARED_CHANNELS)
    before = torch.get_rng_state()
    features = features_of(tokens)
    assert torch.equal(torch.get_rng_state(), before)
    assert features.shape == (1, 200, COMPARED_CHANNELS)
    base = tokens[:, :1] + 0.5 * tokens
    exact = torch.nn.functional.cosine_similarity(base, base[:, :1], dim=-1)
    features = features_of(base)
    kept = torch.nn.functional.cosine_similarity(features, features[:, :1], dim=-1)
    assert (kept - exact).abs().mean() < 2 / COMPARED_CHANNELS**0.5


@pytest.mark.parametrize("kind", KINDS, ids=["bags", "products"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_means_of_its_own_kind(dtype, kind):
    tokens = tokens_of(2, 96, 130, dtype=dtype)
    kept = torch.arange(0, 96, 8)
    joined = join_alike(features_of(tokens), kept)
    means = kind(joined, len(kept), dtype).means(tokens)
    assert means.dtype == dtype
    wide = kind(joined, len(kept), torch.float32).means(tokens.float())
    torch.testing.assert_close(means.float(), wide, rtol=0.02, atol=0.02)


def test_half_precision_holds_the_mean_of_many_large_tokens():
    """Their sum would be too large for it."""
    tokens = torch.full((1, 4096, 3), 1000.0, dtype=torch.float16)
    joined = torch.zeros(1, 4096, dtype=torch.int64)
    means = GroupsByProducts(joined, 1, tokens.dtype).means(tokens)
    torch.testing.assert_close(means, tokens[:, :1], rtol=0.01, atol=0)


def test_products_of_many_groups_are_done_in_parts(monkeypatch):
    tokens, kept = tokens_of(2, 300, 4), torch.arange(0, 300, 2)
    joined = join_alike(features_of(tokens), kept)
    whole = GroupsByProducts(joined, 150, tokens.dtype)
    monkeypatch.setattr(group_means, "FEW_GROUPS", 40)
    parts = GroupsByProducts(joined, 150, tokens.dtype)
    assert [mine.shape[1] for mine in parts._parts()] == [40, 40, 40, 30]
    torch.testing.assert_close(parts.means(tokens), whole.means(tokens))
    assert torch.equal(parts.sizes, whole.sizes)
    assert torch.equal(parts.sizes_in(lambda part: part), whole.sizes)


@pytest.mark.parametrize("kind", KINDS, ids=["bags", "products"])
def test_sizes_in_windows_count_what_a_window_holds(kind):
    joined = torch.randint(5, (2, 12), generator=torch.Generator().manual_seed(3))
    windows = torch.tensor([[0, 1, 2, 3], [2, 3, 4, 5], [8, 9, 10, 11]])  # the first two overlap

    def windows_of(part):
        return part[:, windows].flatten(0, 1)

    sizes = kind(joined, 5, torch.float32).sizes_in(windows_of)
    expected = [torch.bincount(row[window], minlength=5) for row in joined for window in windows]
    assert torch.equal(sizes.long(), torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kept", [range(0, 90, 7), range(0, 90, 2), [0, 7, 7, 7]], ids=str)
def test_shares_count_each_token_once_in_every_precision(dtype, kept):
    """Also of kept tokens that are equal: none is left without a share."""
    tokens = tokens_of(2, 90, 40, seed=3, dtype=dtype)
    tokens[:, 3:6] = tokens[:, 7:8]
    groups = GroupsByShares(features_of(tokens), torch.tensor(kept))
    sizes, inside = groups.sizes, groups.sizes_in(lambda part: part[:, :30])
    assert sizes.min() > 0
    assert torch.allclose(sizes.sum(dim=1), torch.tensor(90.0), rtol=0.01)
    assert torch.allclose(inside.sum(dim=1), torch.tensor(30.0), rtol=0.01)
    means = groups.means(tokens)
    assert means.dtype == dtype
    # the whole is what it was
    whole = (means.float() * sizes[..., None]).sum(dim=1) / 90
    torch.testing.assert_close(whole, tokens.float().mean(dim=1), rtol=0.05, atol=0.02)


def test_shares_are_those_of_the_groups_where_nothing_is_between_two():
    tokens, kept = tokens_of(2, 120, 16, seed=5), torch.arange(0, 120, 9)
    features = features_of(tokens)
    hard = GroupsInBags(join_alike(features, kept), len(kept))
    shared = GroupsByShares(features, kept)
    torch.testing.assert_close(shared.sizes, hard.sizes.float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(shared.means(tokens), hard.means(tokens), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(shared.means(tokens[..., :3]), hard.means(tokens)[..., :3],
                               rtol=1e-3, atol=1e-3)  # fmt: skip


def test_it_does_not_matter_who_shares_the_batch():
    tokens = tokens_of(3, 64, 8)
    kept = torch.arange(0, 64, 6)
    together = join_alike(features_of(tokens), kept)
    means = groups_of(together, len(kept), tokens.dtype).means(tokens)
    for row in range(3):
        alone = join_alike(features_of(tokens[row : row + 1]), kept)
        assert torch.equal(alone[0], together[row])
        own = groups_of(alone, len(kept), tokens.dtype).means(tokens[row : row + 1])
        assert torch.equal(own[0], means[row])


def attention_of_groups(attention, query, groups):
    """One query's answer, as if every token were the mean of its group: in plain loops.

    `groups`: (mean, how many tokens it stands for), at least one.
    """
    keys = torch.stack([mean for mean, count in groups for _ in range(count)])
    q, k, v = attention.to_q(query), attention.to_k(keys), attention.to_v(keys)
    heads = []
    for head in range(attention.heads):
        d = q.shape[-1] // attention.heads
        part = slice(head * d, (head + 1) * d)
        scores = torch.softmax(k[:, part] @ q[part] * d**-0.5, dim=0)
        heads.append(scores @ v[:, part])
    return attention.to_out(torch.cat(heads))


CASES = {
    "slothful": FLAT,
    "slothful 1D smooth": dict(FLAT, in_mode="1D_AVG", rounding="smooth"),
    "tiles": dict(method="Near-sighted Tile", tile_size=16),
    "tiles shifted": dict(method="Near-sighted Tile", tile_size=16, tile_shift="random"),
    "tiles with halo": dict(method="Near-sighted Tile", tile_size=16, tile_halo=2),
    "tiles alone": dict(method="Near-sighted Tile", tile_size=16, global_ratio=0),
    "near-sighted": dict(FLAT, method="Near-sighted Attention", base_tile_size=16,
                         peak_tile_size=16),
    "near-sighted with halo": dict(FLAT, method="Near-sighted Attention", base_tile_size=16,
                                   peak_tile_size=16, tile_halo=1),
    "near-sighted alone": dict(FLAT, method="Near-sighted Attention", base_tile_size=16,
                               peak_tile_size=16, base_global_ratio=0, peak_global_ratio=0),
    "downsampled": dict(method="Token Downsampling", downsample_depth_1=3, time_decay=0),
}  # fmt: skip


@pytest.mark.parametrize("grid", [(16, 32), (19, 21)])
@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_every_query_sees_each_token_once(sd1_unet, values, grid):
    """A group of the whole picture counts, for a window, the tokens that are not the window's own;
    what the window holds itself counts by its own groups.
    """
    found = slothful.find_sites(sd1_unet)[0]
    attention, options = found.attentions[0], Settings(**values)
    plan = plan_site(options, MOMENT, found.site, grid)
    tokens = tokens_of(1, grid[0] * grid[1], 32, seed=4)
    near, every = plan.key_windows, torch.arange(grid[0] * grid[1]).reshape(grid)
    actual = at_site(sd1_unet, options, attention, tokens, grid)[0]

    def groups_of(members, reduction):
        joined = join_alike(features_of(members[None]), kept_index(reduction, CPU))[0]
        return [(members[joined == place].mean(dim=0), joined == place)
                for place in range(len(reduction))]  # fmt: skip

    for row, column in [(0, 0), (grid[0] // 2, grid[1] - 1), (grid[0] - 1, 3)]:
        query = every[row, column]
        own = every
        if near is not None:
            y = near.rows.starts[plan.tiling.rows.owner(row)]
            x = near.columns.starts[plan.tiling.columns.owner(column)]
            own = every[y : y + near.rows.size, x : x + near.columns.size]
        own = own.flatten()
        groups = [(tokens[0, token], 1) for token in own]
        if plan.reduction is not None:
            groups = [(m, int(who.sum())) for m, who in groups_of(tokens[0, own], plan.reduction)]
        if plan.global_reduction is not None:
            for mean, who in groups_of(tokens[0], plan.global_reduction):
                who[own] = False
                groups.append((mean, int(who.sum())))
        seen = len(own) if plan.global_reduction is None else every.numel()
        assert sum(count for _, count in groups) == seen
        expected = attention_of_groups(attention, tokens[0, query], groups)
        torch.testing.assert_close(actual[query], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.__version__ < (2, 1), reason="this torch takes no scale")
@pytest.mark.parametrize("products", [0, 5], ids=["products", "shares"])
@pytest.mark.parametrize(("grid", "seed"), [((16, 32), 12), ((19, 21), 6)])
@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_a_gpus_way_gives_the_same(sd1_unet, values, grid, seed, products, monkeypatch):
    """Means by products or shares and weights as a channel, done here on the CPU."""
    found, options = slothful.find_sites(sd1_unet)[0], Settings(**values)
    attention, tokens = found.attentions[0], tokens_of(2, grid[0] * grid[1], 32, seed=seed)
    merges = plan_site(options, MOMENT, found.site, grid).merges
    expected = at_site(sd1_unet, options, attention, tokens, grid)
    used = []

    def channel(*args):
        used.append(attention_with_channel)
        return attention_with_channel(*args)

    monkeypatch.setattr(likeness, "groups_of", GroupsByProducts)
    monkeypatch.setattr(likeness, "PRODUCTS", products)
    monkeypatch.setattr(likeness, "in_few_steps", lambda device: True)
    monkeypatch.setattr(weighted_attention, "_has_kernel", lambda device: True)
    monkeypatch.setattr(weighted_attention, "MANY_KEYS", 0)
    monkeypatch.setattr(weighted_attention, "attention_with_channel", channel)
    actual = at_site(sd1_unet, options, attention, tokens, grid)
    assert bool(used) == merges
    # with these seeds no token is as much like two kept ones, whose shares it would have
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


def at_site(unet, options, attention, tokens, grid):
    """Call one attn1 as its U-Net would, at the moment of the tests, with this grid."""
    found = next(f for f in slothful.find_sites(unet) if attention in f.attentions)
    with slothful.applied(unet, options) as application:
        application.plan_at(found.site.name, grid, timestep=600.0)
        return attention(tokens, context=None)


@pytest.mark.parametrize("pooled", [dict(in_k_blend=0.5), dict(in_v_blend=1)])
def test_what_is_pooled_joins_nothing(sd1_unet, pooled):
    site = slothful.find_sites(sd1_unet)[0].site
    plans = [
        plan_site(Settings(**FLAT, **pooled, kept_token=kept), MOMENT, site, (32, 32))
        for kept in ("merged", "jittered")
    ]
    assert plans[0] == plans[1]
    assert not plans[0].merges
    assert plan_site(Settings(**FLAT), MOMENT, site, (32, 32)).merges


def test_equal_tokens_change_nothing(sd1_unet):
    """Where groups are of equal tokens, weights make up for all that is left out."""
    found = slothful.find_sites(sd1_unet)[0]
    site, attention = found.site, found.attentions[0]
    kinds = tokens_of(5, 32, seed=2)
    # a number that no stride is a multiple of, so that each kind is kept somewhere
    tokens = kinds[torch.arange(32 * 32) % 5][None]
    expected = attention(tokens)
    for values in (FLAT, CASES["tiles"]):
        options = Settings(**{**values, "in_mode": "1D_AVG"})
        actual = at_site(sd1_unet, options, attention, tokens, (32, 32))
        plan = plan_site(options, MOMENT, site, (32, 32))
        kept = kept_index(plan.reduction or plan.global_reduction, CPU)
        assert set((kept % 5).tolist()) == {0, 1, 2, 3, 4}
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [FLAT, CASES["tiles"]], ids=["slothful", "tiles"])
def test_many_scores_are_computed_in_parts(sd1_unet, values, monkeypatch):
    options = Settings(**values)
    with slothful.applied(sd1_unet, options):
        expected = run(sd1_unet, height=32, width=40)
        # a few queries at a time, and one where even that is too much
        for scores in (20_000, 1):
            monkeypatch.setattr(weighted_attention, "SCORES", scores)
            answers = run(sd1_unet, height=32, width=40)
            torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)


def test_an_error_in_the_attention_leaves_no_weights_behind(sd1_unet):
    """The next call of the same hooks has its own weights, or none."""
    before, expected = module_state(sd1_unet), run(sd1_unet, timestep=20.0)
    attention = slothful.find_sites(sd1_unet)[0].attentions[0]
    options = Settings(in_depth_decay=0, peak_time=0.4, time_decay=4)

    def fail(*_):
        raise RuntimeError("planned")

    with slothful.applied(sd1_unet, options):
        handle = attention.to_out[0].register_forward_pre_hook(fail, prepend=True)
        with pytest.raises(RuntimeError, match="planned"):
            run(sd1_unet)
        handle.remove()
        # far from the peak every strength is below 1
        assert torch.equal(run(sd1_unet, timestep=20.0), expected)
    assert module_state(sd1_unet) == before


@pytest.mark.skipif(torch.__version__ < (2, 1), reason="this torch takes no scale")
@pytest.mark.parametrize("channels", [32, 40])
def test_weights_act_alike_as_a_bias_and_as_a_channel(channels):
    query, key, value = (tokens_of(2, 3, n, channels, seed=n) for n in (50, 21, 22))
    value = value[:, :, :21]
    log_weights = tokens_of(2, 21, seed=7)
    log_weights[:, 4] = -torch.inf  # hidden
    expected = attention_with_bias(query, key, value, log_weights)
    actual = attention_with_channel(query, key, value, log_weights)
    torch.testing.assert_close(actual, expected)
    changed = value.clone()
    changed[:, :, 4] = 100.0
    torch.testing.assert_close(attention_with_channel(query, key, changed, log_weights), actual)


def test_the_layers_of_a_site_look_for_like_tokens_once():
    unet = make_unet("sdxl")
    layers = sum(len(site.layers) for site in slothful.find_sites(unet))
    with slothful.applied(unet, Settings(**FLAT, keep_middle=False)) as application:
        with torch.inference_mode(), Operations() as operations:
            run(unet)
        assert operations.counts["argmax"] == len(application.plans) < layers
        assert all(plan.merges for plan in application.plans.values())
        # nothing is kept from call to call
        assert not any(isinstance(each, key_inputs.Match) for each in gc.get_objects())
