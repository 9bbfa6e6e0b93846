"""Fewer channels: the decomposition against a dense reference, and its hooks in real U-Nets."""

import contextlib
import dataclasses
import gc
import itertools
import weakref

import pytest
import torch
from torch.nn import functional

import slothful
from slothful import Moment, Settings, plan_site
from slothful.planning.schedule import time_ratio
from slothful.settings.methods import COMPARING
from slothful.tokens.score_channels import best_mixing
from slothful.unet.calls import LDM
from slothful.unet.fewer_channels import FewerChannels
from slothful.unet.obstacles import NOT_LINEAR
from slothful.unet.weighing import WeightedAttention
from tests.sites import site_at
from tests.unets import make_unet, module_state, run

DEPTHS = ("channels_depth_1", "channels_depth_2", "channels_depth_3")
HALF = dict.fromkeys(DEPTHS, 0.5)
ALONE = dict(method="Sleep only", keep_middle=False)
IN01 = site_at("IN01", 0, 1, 1)


def in_heads(weight, heads):
    """(heads * channels, tokens' channels) -> (heads, channels, tokens' channels), doubled."""
    return weight.detach().double().unflatten(0, (heads, -1))


def dense_factors(query, key, rank):
    """Of each head's whole matrix W_q' W_k, the best form of rank r: what queries and keys have
    instead of their weights, filled up with zeros. All are (heads, channels, tokens' channels).
    """
    left, values, right = torch.linalg.svd(query.mT @ key)
    root = values[:, :rank].sqrt()[:, :, None]
    few = root * left.mT[:, :rank], root * right[:, :rank]
    return [functional.pad(each, (0, 0, 0, query.shape[1] - rank)) for each in few]


@contextlib.contextmanager
def dense_weights(unet, shares):
    """Within, the queries' and keys' weights are those of the dense form: `shares` by depth."""
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    for found in slothful.find_sites(unet):
        for attention in found.attentions:
            both = attention.to_q.weight, attention.to_k.weight
            query, key = (in_heads(weight, attention.heads) for weight in both)
            rank = max(round(shares[found.site.third] * query.shape[1]), 1)
            for weight, few in zip(both, dense_factors(query, key, rank)):
                weight.copy_(few.flatten(0, 1))
    try:
        yield
    finally:
        unet.load_state_dict(before)


def error(changed, expected):
    return float((changed - expected).norm() / expected.norm())


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_first_channels_are_the_best_form_of_their_rank(rank):
    generator = torch.Generator().manual_seed(rank)
    query, key = (torch.randn(3, 6, 20, generator=generator).double() for _ in range(2))
    mixing = best_mixing(query.mT, key.mT)
    few = [mix[:, :rank] @ weight for mix, weight in zip(mixing, (query, key))]
    best = dense_factors(query, key, rank)
    assert torch.allclose(few[0].mT @ few[1], best[0].mT @ best[1], atol=1e-10)


def test_heads_that_lack_full_rank_keep_their_scores():
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(3, 6, 20, generator=generator).double() for _ in range(2))
    query[0, :2] = key[1] = 0
    mixing = best_mixing(query.mT, key.mT)
    few = [mix @ weight for mix, weight in zip(mixing, (query, key))]
    assert torch.allclose(few[0].mT @ few[1], query.mT @ key, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_alone_it_is_the_dense_form(layout):
    unet, shares = make_unet(layout), (0.5, 0.25, 0.75)
    plain, before = run(unet), module_state(unet)
    settings = Settings(**ALONE, **dict(zip(DEPTHS, shares)))
    with slothful.applied(unet, settings) as application:
        changed = run(unet)
        assert set(application.applied_sites) == {f.site.name for f in slothful.find_sites(unet)}
    assert module_state(unet) == before
    assert torch.equal(run(unet), plain)
    with dense_weights(unet, shares):
        assert error(changed, run(unet)) < 1e-5
    assert error(changed, plain) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize(("method", "layout"), zip(COMPARING, itertools.cycle(["sd1", "sdxl"])))
def test_beside_a_method_it_is_the_method_on_the_dense_form(method, layout):
    unet = make_unet(layout)
    tiles = dict(tile_size=16, base_tile_size=16, peak_tile_size=16, plain_tile_size=64)
    decays = dict(time_decay=0, in_depth_decay=0.3, out_depth_decay=0.3, merge_max_downsample=8)
    settings = Settings(method=method, keep_middle=False, **tiles, **decays)
    with slothful.applied(unet, settings.replace(**HALF)):
        changed = run(unet)
    with dense_weights(unet, (0.5,) * 3), slothful.applied(unet, settings):
        assert error(changed, run(unet)) < 1e-5
    with slothful.applied(unet, settings):
        assert error(changed, run(unet)) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("blends", [
    dict(in_k_blend=1, in_v_blend=0.3, out_k_blend=0, out_v_blend=1),
    dict(kept_token="first"),
], ids=str)  # fmt: skip
def test_keys_and_values_from_different_tokens(blends):
    unet = make_unet("sd1")
    tiles = dict(base_tile_size=16, peak_tile_size=16, tile_halo=2, tile_shift="alternating")
    tiles |= dict(method="Near-sighted Attention", keep_middle=False)
    settings = Settings(time_decay=0, **tiles, **blends)
    with slothful.applied(unet, settings.replace(**HALF)):
        changed = run(unet)
    with dense_weights(unet, (0.5,) * 3), slothful.applied(unet, settings):
        assert error(changed, run(unet)) < 1e-5


@torch.no_grad()
def test_full_rank_is_plain_attention_to_rounding():
    unet = make_unet("sd1")
    attention = slothful.find_sites(unet)[0].attentions[0]
    tokens = torch.randn(2, 40, 32, generator=torch.Generator().manual_seed(0))
    plain = attention(tokens)
    fewer = FewerChannels(attention, WeightedAttention(attention, LDM), pytest.fail)
    fewer.prepare(0.999, [])  # of four channels
    fewer.begin()
    assert error(attention(tokens), plain) < 1e-6
    fewer.release()
    assert torch.equal(attention(tokens), plain)


@torch.no_grad()
def test_weights_that_change_are_followed():
    unet, settings = make_unet("sd1"), Settings(**ALONE, **HALF)
    projection = slothful.find_sites(unet)[0].attentions[0].to_k
    own = projection.weight.clone()
    with slothful.applied(unet, settings):
        before = run(unet)
        projection.weight += 0.3 * torch.roll(own, 1, dims=1)
        changed = run(unet)
        with dense_weights(unet, (0.5,) * 3):
            pass  # written twice, and what it was
        assert torch.equal(run(unet), changed)
        with slothful.applied(unet, settings):
            assert torch.equal(run(unet), changed)
        projection.weight.copy_(own)
        assert torch.equal(run(unet), before)
    assert not torch.equal(before, changed)


@torch.no_grad()
def test_a_layer_that_adds_something_to_a_projection_counts(monkeypatch):
    unet, settings = make_unet("sd1"), Settings(**ALONE, **HALF)
    projection = slothful.find_sites(unet)[0].attentions[0].to_q
    added = 0.3 * torch.roll(projection.weight, 1, dims=1)
    plain_forward = type(projection).forward

    def forward(self, tokens):
        answer = plain_forward(self, tokens)
        return answer + functional.linear(tokens, added) if self is projection else answer

    monkeypatch.setattr(type(projection), "forward", forward)
    with slothful.applied(unet, settings):
        changed = run(unet)
    monkeypatch.undo()
    projection.weight += added
    with slothful.applied(unet, settings):
        assert error(changed, run(unet)) < 1e-5


@torch.no_grad()
def test_projections_that_are_not_linear_are_left_alone_with_a_note(monkeypatch):
    unet = make_unet("sd1")
    projection = slothful.find_sites(unet)[0].attentions[0].to_q
    plain_forward = type(projection).forward

    def forward(self, tokens):
        answer = plain_forward(self, tokens)
        return answer.abs() if self is projection else answer

    monkeypatch.setattr(type(projection), "forward", forward)
    plain = run(unet)
    only = {f.site.name: 0.0 for f in slothful.find_sites(unet) if f.site.name != "IN01"}
    with slothful.applied(unet, Settings(**ALONE, **HALF, block_weights=only)) as application:
        assert error(run(unet), plain) < 1e-6
    assert application.notes == {"IN01": NOT_LINEAR}


def test_the_share_follows_level_weight_and_schedule():
    settings = Settings(
        channels_depth_1=0.5, channels_depth_3=0.2, peak_time=0.3, time_decay=1.5,
        block_weights={"IN04": 0.5, "OUT11": 2},
    )  # fmt: skip

    def share(site, time, settings=settings):
        plan = plan_site(settings, Moment(1000 * (1 - time), time), site, (64, 64))
        return 1.0 if plan is None else plan.score_share

    deep, deeper = site_at("IN07", 4, 4, 4), site_at("M00", 6, 8, 8)
    fades = time_ratio(0.9, 0.3, 1.5)
    assert share(IN01, 0.3) == 0.5
    assert share(IN01, 0.9) == round(40 * (1 - 0.5 * fades)) / 40
    assert share(site_at("IN04", 2, 2, 2), 0.3) == 1
    assert share(deep, 0.3) == pytest.approx(0.2, abs=1e-2)
    assert share(dataclasses.replace(deep, name="IN04"), 0.3) == pytest.approx(0.6, abs=1e-2)
    assert share(dataclasses.replace(IN01, name="OUT11"), 0.3) == 1 / 40  # never none
    assert share(deeper, 0.3) == 1
    assert share(deeper, 0.3, settings.replace(keep_middle=False)) == pytest.approx(0.2, abs=1e-2)
    # without a schedule of the method's, it stays as it is
    for method in ("Near-sighted Tile", "Sleep only"):
        assert share(IN01, 0.9, settings.replace(method=method)) == 0.5


def kept_factors():
    """Of all layers that there are."""
    layers = [each for each in gc.get_objects() if isinstance(each, FewerChannels)]
    return [layer._factors for layer in layers if layer._factors]


@torch.no_grad()
def test_one_decomposition_serves_all_ranks_and_is_freed(monkeypatch):
    unet, made = make_unet("sd1"), []
    import slothful.unet.fewer_channels as module

    def counted(*roots):
        mixing = best_mixing(*roots)
        made.append(mixing.query.shape)
        return mixing

    monkeypatch.setattr(module, "best_mixing", counted)
    layers = sum(len(f.attentions) for f in slothful.find_sites(unet))
    random = torch.get_rng_state()
    with slothful.applied(unet, Settings(**HALF, keep_middle=False)) as application:
        ranks = set()
        for timestep in (600.0, 700.0, 800.0, 600.0):
            run(unet, timestep=timestep)
            ranks |= {plan and plan.score_share for plan in application.plans.values()}
        assert len(kept_factors()) == layers
    assert len(ranks) > 1
    assert len(made) == layers
    assert torch.equal(torch.get_rng_state(), random)
    assert kept_factors() == []
    gone = weakref.ref(unet)
    del unet, application
    gc.collect()
    assert gone() is None
