"""The estimated arithmetic is what PyTorch counts."""

import functools
import itertools

import pytest
import torch
from ldm.modules.attention import CrossAttention

import slothful
from benchmarks.effects.cost import flop_counter, matrix_products
from slothful import METHODS, Moment, PassClock, Settings
from slothful.settings.methods import COMPARING, SLEEPS
from standalone.odd_sizes import resized_skips
from tests.unets import LAYOUTS, inputs, make_unet, run

STRONG = dict(
    in_slothful=9, out_slothful=12, in_depth_decay=0.5, out_depth_decay=0.5, keep_middle=False,
    base_tile_size=16, peak_tile_size=16, tile_size=16, global_ratio=0.3, tiling_max_depth=3,
    plain_tile_size=64, plain_swap=1, merge_max_downsample=8, downsample_depth_2=2,
)  # fmt: skip
CHANGES = {
    "kept": {},
    "pooled": dict(in_k_blend=1, in_v_blend=1, out_k_blend=1, out_v_blend=1),
    "apart": dict(in_k_blend=0, in_v_blend=0.5, out_v_blend=1),
    "smooth": dict(rounding="smooth"),
    "shifted": dict(tile_shift="alternating"),
    "lines": dict(in_mode="1D_AVG", out_mode="1D_MAX"),
    "halo": dict(tile_halo=1),
    "jittered": dict(kept_token="jittered"),
    "jittered halo": dict(tile_halo=1, kept_token="jittered"),
    "pooled halo": dict(tile_halo=1, in_v_blend=1, out_k_blend=1, downsample_mode="area"),
    "all parts merged": dict(merge_cross=True, merge_mlp=True),
    "only other parts merged": dict(merge_attention=False, merge_cross=True, merge_mlp=True),
    "keys merged": dict(merge_mlp=True),
    "queries merged": dict(merge_keys_only=False, merge_proportional=False),
}


unet_of = functools.cache(make_unet)


def counted(unet, width, height, timestep=600.0):
    """(operations of self-attention, of the whole U-Net) in one call with a prompt of 77 tokens."""
    latent, timesteps, keywords = inputs(unet, batch=1)
    timesteps.fill_(timestep)
    context = torch.randn(1, 77, 24, generator=torch.Generator().manual_seed(0))
    several = isinstance(keywords["context"], list)
    keywords["context"] = [context] * 3 if several else context
    latent = torch.zeros(1, 4, height // 8, width // 8)
    with flop_counter() as counter, resized_skips():
        unet(latent, timesteps, **keywords)
    by_module = counter.get_flop_counts()
    own = [sum(c.values()) for name, c in by_module.items() if name.endswith("attn1")]
    return sum(own), counter.get_total_flops()


@pytest.mark.parametrize("size", [(384, 256), (328, 264)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_without_settings_it_is_what_a_call_costs(layout, size, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    unet = unet_of(layout)
    cost = slothful.estimate(Settings(), slothful.shape_of(unet), *size, [Moment(600, 0.4)])
    attention, total = counted(unet, *size)
    assert cost.attention == pytest.approx(attention, rel=0.001)
    assert cost.attention + cost.rest == pytest.approx(total, rel=0.05)


@functools.cache
def counted_plain(layout):
    """What a call takes without settings."""
    return counted(unet_of(layout), 384, 256)


def used_changes():
    """(layout, method, change) where the method uses a parameter of the change, in one layout after
    the other, and each method alone, in all.
    """
    layouts = itertools.cycle(LAYOUTS)
    for method in METHODS:
        for name, changes in CHANGES.items():
            users = [Settings.parameter(parameter).methods for parameter in changes]
            if not changes or any(not methods or method in methods for methods in users):
                for layout in itertools.islice(layouts, 1 if changes else len(LAYOUTS)):
                    yield pytest.param(layout, method, changes, id=f"{layout}-{method}-{name}")


@pytest.mark.parametrize(("layout", "method", "changes"), used_changes())
def test_with_settings_it_is_what_is_left(layout, method, changes, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    unet = unet_of(layout)
    settings = Settings(method=method, **{**STRONG, **changes})
    timestep = 600.0  # the timestep of `inputs`
    moment = Moment(timestep, slothful.noise_level_time(timestep))
    cost = slothful.estimate(settings, slothful.shape_of(unet), 384, 256, [moment])
    _, before = counted_plain(layout)
    with slothful.applied(unet, settings):
        attention, total = counted(unet, 384, 256)
    assert total < before
    assert cost.attention_left == pytest.approx(attention, rel=0.05)
    assert cost.total_share == pytest.approx(total / before, rel=0.05)


@pytest.mark.parametrize(("method", "layout"), zip(COMPARING, itertools.cycle(LAYOUTS)))
def test_fewer_channels_cost_less_to_make(method, layout, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    unet, shape = unet_of(layout), slothful.shape_of(unet_of(layout))
    few = dict(channels_depth_1=0.5, channels_depth_2=0.25, channels_depth_3=0.5)
    settings = Settings(method=method, **STRONG, **few)
    moment = Moment(600.0, slothful.noise_level_time(600.0))
    cost = slothful.estimate(settings, shape, 384, 256, [moment])
    whole = settings.replace(**dict.fromkeys(few, 1))
    assert cost.left < slothful.estimate(whole, shape, 384, 256, [moment]).left
    with slothful.applied(unet, settings):
        counted(unet, 384, 256)  # where the weights are looked at, once an image
        attention, total = counted(unet, 384, 256)
    assert cost.attention_left == pytest.approx(attention, rel=0.05)
    assert cost.total_share == pytest.approx(total / counted_plain(layout)[1], rel=0.05)


@pytest.mark.parametrize("shortcut", [0, 0.5])
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_agents_that_repeat_cost_less(layout, shortcut, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    unet, shape = unet_of(layout), slothful.shape_of(unet_of(layout))
    agents = dict(method="Agent Attention", agent_every=2, agent_shortcut=shortcut)
    settings = Settings(**STRONG, **agents, sleep_min_steps=1)
    steps, time = (600.0, 500.0, 400.0), slothful.noise_level_time
    times = tuple(map(time, steps))
    counts, costs = [], []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(steps))
        for index, timestep in enumerate(steps[:2]):
            counts.append(counted(unet, 384, 256, timestep)[0])
            moment = Moment(timestep, time(timestep), index, "base", None, times, index)
            costs.append(slothful.estimate(settings, shape, 384, 256, [moment]).attention_left)
        made = slothful.cost_of(settings, shape, application.take_calls())
    assert costs == pytest.approx(counts, rel=0.05)
    assert costs[1] < 0.8 * costs[0]
    assert made.attention_left == pytest.approx(sum(counts), rel=0.05)


@pytest.mark.parametrize("part", SLEEPS[1:])
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_what_sleeps_costs_nothing(layout, part, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    unet = unet_of(layout)
    settings = Settings(
        method="Sleep only", sleep=part, sleep_first=0, keep_middle=False, sleep_min_steps=1
    )
    steps, time = (600.0, 500.0, 400.0), slothful.noise_level_time
    times = tuple(map(time, steps))
    moments = [Moment(t, time(t), i, "base", None, times, i) for i, t in enumerate(steps)]
    shape, totals = slothful.shape_of(unet), []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(steps))
        for moment in moments[:2]:
            totals.append(counted(unet, 192, 128, moment.timestep)[1])
            cost = slothful.estimate(settings, shape, 192, 128, [moment])
            assert cost.left == pytest.approx(totals[-1], rel=0.05, abs=1e5)
        assert cost.left < cost.full
        # what was made is counted as it was made: planned to sleep, this one is computed
        made = slothful.cost_of(settings, shape, application.take_calls())
        assert made.left == pytest.approx(sum(totals), rel=0.05)
        awake = counted(unet, 256, 192, steps[1])[1]
        made = slothful.cost_of(settings, shape, application.take_calls())
        assert made.left == made.full == pytest.approx(awake, rel=0.05)


def test_calls_are_counted_by_their_rows(sd1_unet):
    shape, settings = slothful.shape_of(sd1_unet), Settings()
    one, three = (slothful.MadeCall((256, 256), rows, {}) for rows in (1, 3))
    cost = slothful.cost_of(settings, shape, [one])
    assert slothful.cost_of(settings, shape, [three, one]).full == pytest.approx(4 * cost.full)


def test_several_moments_are_added_up(sd1_unet):
    shape = slothful.shape_of(sd1_unet)
    moments = [Moment(t, slothful.noise_level_time(t), i) for i, t in enumerate((900, 600, 20))]
    together = slothful.estimate(Settings(**STRONG), shape, 512, 512, moments)
    alone = [slothful.estimate(Settings(**STRONG), shape, 512, 512, [m]) for m in moments]
    assert together.attention_left == pytest.approx(sum(cost.attention_left for cost in alone))
    assert together.rest == pytest.approx(sum(cost.rest for cost in alone))
    assert min(cost.attention_share for cost in alone) == alone[1].attention_share  # the peak


def test_where_it_would_cost_more_than_it_saves_a_block_is_left_alone():
    unet = make_unet("sd1")
    settings = Settings(**STRONG, only_where_it_pays=True)
    shape, moments = slothful.shape_of(unet), [Moment(600, 0.4)]
    with slothful.applied(unet, settings) as application:
        run(unet, height=8, width=8)
        assert set(application.plans.values()) == {None}
        run(unet, height=48, width=48)
        acts = [name for name, plan in application.plans.items() if plan is not None]
    assert "IN01" in acts
    assert "M00" not in acts
    assert slothful.estimate(settings, shape, 64, 64, moments).attention_share == 1
    everywhere = settings.replace(only_where_it_pays=False)
    shares = [
        slothful.estimate(s, shape, 384, 384, moments).attention_share
        for s in (everywhere, settings)
    ]
    assert shares[0] < shares[1] < 1


class OwnLinear(torch.nn.Module):
    """A host's own linear layer; its weight is packed, as quantised ones are."""

    def __init__(self, layer):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = torch.nn.Parameter(torch.zeros(7))


class OwnConvolution(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.kernel_size, self.weight = layer.kernel_size, torch.nn.Parameter(torch.zeros(7))


@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_layers_of_a_hosts_own_classes_cost_the_same(layout):
    unet = make_unet(layout)
    expected = slothful.shape_of(unet)
    for parent in list(unet.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(parent, name, OwnLinear(child))
            elif isinstance(child, torch.nn.Conv2d):
                setattr(parent, name, OwnConvolution(child))
    shape = slothful.shape_of(unet)
    assert shape.rest == expected.rest
    numbers = [(s.site.channels, s.site.inner, s.cross, s.mlp) for s in shape.sites]
    assert numbers == [(s.site.channels, s.site.inner, s.cross, s.mlp) for s in expected.sites]
