"""Token merging against tomesd's own patch, and what ours adds to it."""

import contextlib

import pytest
import tomesd
import torch
from torch import nn

import slothful
from slothful import Moment, Settings, plan_site
from slothful.planning.schedule import time_ratio
from slothful.tokens.token_merging import TokenMatch
from tests.sites import site_at
from tests.unets import inputs, make_unet, plain_attention, run

FLAT = dict(method="Token Merging", time_decay=0, keep_middle=False)
LIKE_TOMESD = dict(FLAT, merge_keys_only=False, merge_proportional=False)
IN01 = site_at("IN01", 0, 1, 1)


class Holder(nn.Module):
    """tomesd asks for the whole model."""

    def __init__(self, unet):
        super().__init__()
        self.model = nn.Module()
        self.model.diffusion_model = unet


@contextlib.contextmanager
def tomes_patch(unet, seeds=None, **options):
    """tomesd on a U-Net; `seeds` of each block's destinations, by its name in the model."""
    holder = Holder(unet)
    tomesd.apply_patch(holder, use_rand=seeds is not None, **options)
    arguments = unet._tome_info["args"]
    handles = []
    for block, seed in (seeds or {}).items():

        def reseed(module, args, kwargs, seed=seed):
            arguments["generator"] = torch.Generator().manual_seed(seed)

        handles.append(block.register_forward_pre_hook(reseed, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        tomesd.remove_patch(holder)


def seeds_of(application):
    """The seed of each block's destinations, as planned for the latest call."""
    return {
        layer: application.plans[found.site.name].seed + index
        for found in slothful.find_sites(application.unet)
        for index, layer in enumerate(found.layers)
        if application.plans[found.site.name] is not None
    }


PARTS = {
    "self": {},
    "all": dict(merge_cross=True, merge_mlp=True),
    "cross": dict(merge_attention=False, merge_cross=True),
    "mlp": dict(merge_attention=False, merge_mlp=True),
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("layout", ["sd1", "sd2"])
def test_it_is_tomesds_own_patch(layout, parts):
    unet = make_unet(layout)
    ours = Settings(
        **LIKE_TOMESD, merge_ratio=0.6, merge_max_downsample=8, merge_random=False, **parts
    )
    theirs = dict(ratio=0.6, max_downsample=8, merge_attn=ours.merge_attention,
                  merge_crossattn=ours.merge_cross, merge_mlp=ours.merge_mlp)  # fmt: skip
    with tomes_patch(unet, **theirs):
        expected = run(unet)
    assert not torch.equal(expected, run(unet))
    with slothful.applied(unet, ours):
        assert torch.equal(run(unet), expected)


@pytest.mark.parametrize("options", [
    dict(sx=2, sy=2, ratio=0.5, max_downsample=1),
    dict(sx=4, sy=3, ratio=0.9, max_downsample=2),
    dict(sx=3, sy=5, ratio=0.2, max_downsample=4),
], ids=str)  # fmt: skip
def test_it_is_tomesds_with_the_same_random_destinations(options):
    unet = make_unet("sd1")
    ours = Settings(**LIKE_TOMESD, merge_ratio=options["ratio"], merge_stride_x=options["sx"],
                    merge_stride_y=options["sy"],
                    merge_max_downsample=options["max_downsample"])  # fmt: skip
    with slothful.applied(unet, ours) as application:
        changed = run(unet)
        seeds = seeds_of(application)
        other_time = run(unet, timestep=500.0)
        odd = run(unet, batch=3)
    with tomes_patch(unet, seeds, **options):
        assert torch.equal(run(unet), changed)
        # the destinations change from step to step
        assert not torch.equal(run(unet, timestep=500.0), other_time)
    with tomes_patch(unet, **options):
        assert torch.equal(run(unet, batch=3), odd)


def test_torchs_global_generator_is_left_alone(sd1_unet):
    before = torch.get_rng_state()
    with slothful.applied(sd1_unet, Settings(**FLAT)):
        first = run(sd1_unet)
        second = run(sd1_unet)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)


def test_on_sdxl_downsampling_is_counted_from_its_finest_attention():
    unet = make_unet("sdxl")
    with slothful.applied(unet, Settings(**FLAT)) as application:
        run(unet)
    acts = {name for name, plan in application.plans.items() if plan is not None}
    finest = {f.site.name for f in slothful.find_sites(unet) if f.site.depth == 1}
    assert acts == finest


def test_the_ratio_follows_time_depth_weights_and_pass():
    settings = Settings(
        method="Token Merging", merge_ratio=0.4, merge_ratio_hires=0.2, merge_depth_decay=1,
        merge_max_downsample=8, peak_time=0.3, time_decay=1.5, block_weights={"IN04": 0.5},
    )  # fmt: skip
    deeper = site_at("IN04", 2, 2, 2)

    def share(site, time, name="base"):
        plan = plan_site(settings, Moment(1000 * (1 - time), time, 0, name), site, (100, 100))
        return plan.count / 100**2

    fades = time_ratio(0.9, 0.3, 1.5)
    assert share(IN01, 0.3) == pytest.approx(0.4, abs=1e-4)
    assert share(IN01, 0.9) == pytest.approx(0.4 * fades, abs=1e-4)
    assert share(deeper, 0.3) == pytest.approx(0.4 / 2 / 2, abs=1e-4)
    assert share(IN01, 0.3, "hires") == pytest.approx(0.2, abs=1e-4)
    assert share(IN01, 0.3, "img2img") == pytest.approx(0.4, abs=1e-4)


def test_a_block_weight_cannot_merge_the_destinations():
    settings = Settings(**FLAT, merge_ratio=0.7, block_weights={"IN01": 2})
    plan = plan_site(settings, Moment(600, 0.4), IN01, (32, 32))
    assert plan.count == 32 * 32 * 3 // 4


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (3, 2), (9, 11)])
def test_strides_longer_than_the_grid_are_clamped(grid):
    settings = Settings(**FLAT, merge_ratio=0.95, merge_stride_x=8, merge_stride_y=8)
    plan = plan_site(settings, Moment(600, 0.4), IN01, grid)
    if grid == (1, 1):
        assert plan is None
        return
    tokens = torch.randn(2, grid[0] * grid[1], 6, generator=torch.Generator().manual_seed(0))
    match = TokenMatch(tokens, plan, 0)
    merged = match.merge(tokens)
    assert merged.shape[1] == plan.left >= 1
    assert match.unmerge(merged).shape == tokens.shape


def reference(attention, x, merged, sizes):
    """Attention in which a merged key counts as often as tokens are in it."""
    query, key, value = attention.to_q(x), attention.to_k(merged), attention.to_v(merged)
    query, key, value = (
        t.unflatten(2, (attention.heads, -1)).transpose(1, 2) for t in (query, key, value)
    )
    scores = (query @ key.transpose(2, 3) * attention.scale).exp() * sizes[:, None, None]
    answers = (scores / scores.sum(-1, keepdim=True)) @ value
    return attention.to_out(answers.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("keys_only", [True, False])
@pytest.mark.parametrize("proportional", [True, False])
def test_keys_only_and_proportional_attention(sd1_unet, keys_only, proportional):
    settings = Settings(**FLAT, merge_ratio=0.7, merge_keys_only=keys_only,
                        merge_proportional=proportional)  # fmt: skip
    site = slothful.find_sites(sd1_unet)[0]
    layer, seen = site.layers[0], {}

    def note_answers(module, args):
        seen["answers"] = args[0] - seen["block"]  # they were added to the block's input

    def note_input(module, args):
        seen["block"], seen["tokens"] = args[0], module.norm1(args[0])

    # beside the attention, where nobody else's hooks may be
    before = layer.register_forward_pre_hook(note_input)
    after = layer.norm2.register_forward_pre_hook(note_answers)
    with slothful.applied(sd1_unet, settings) as application:
        run(sd1_unet)
    before.remove(), after.remove()
    match = TokenMatch(seen["block"], application.plans["IN01"], 0)
    merged = match.merge(seen["tokens"])
    sizes = match.log_sizes().exp()
    tokens = seen["tokens"].shape[1]
    torch.testing.assert_close(sizes.sum(1), torch.full((2,), float(tokens)))
    sizes = sizes if proportional else torch.ones_like(sizes)
    expected = reference(layer.attn1, seen["tokens"] if keys_only else merged, merged, sizes)
    expected = expected if keys_only else match.unmerge(expected)
    torch.testing.assert_close(seen["answers"], expected, rtol=1e-4, atol=1e-5)


def test_another_implementation_of_the_attention_may_be_active(sd1_unet):
    settings = Settings(**FLAT, merge_proportional=True, merge_mlp=True)
    with slothful.applied(sd1_unet, settings):
        expected = run(sd1_unet)
    attentions = [a for site in slothful.find_sites(sd1_unet) for a in site.attentions]
    try:
        for attention in attentions:
            attention.forward = plain_attention.__get__(attention)
        with slothful.applied(sd1_unet, settings):
            torch.testing.assert_close(run(sd1_unet), expected, rtol=1e-4, atol=1e-4)
    finally:
        for attention in attentions:
            del attention.forward


def test_where_tomesd_is_active_nothing_is_merged_twice(sd1_unet):
    with tomes_patch(sd1_unet, ratio=0.5):
        alone = run(sd1_unet)
        with slothful.applied(sd1_unet, Settings(**FLAT, merge_mlp=True)) as application:
            assert torch.equal(run(sd1_unet), alone)
    finest = {f.site.name for f in slothful.find_sites(sd1_unet) if f.site.depth == 1}
    assert set(application.notes) == finest


def test_a_merged_block_leaves_nothing_behind(sd1_unet):
    latent, timesteps, keywords = inputs(sd1_unet)
    plain = sd1_unet(latent, timesteps, **keywords)
    with slothful.applied(sd1_unet, Settings(**FLAT, merge_proportional=True)):
        assert not torch.equal(sd1_unet(latent, timesteps, **keywords), plain)
    assert torch.equal(sd1_unet(latent, timesteps, **keywords), plain)
