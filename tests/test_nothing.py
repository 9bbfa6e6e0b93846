"""Why nothing was applied: said before and after, and only where it is true."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import slothful
from slothful import METHODS, Moment, PassClock, Settings, noise_level_time
from slothful.planning.nothing import (
    BOTH,
    CELLS,
    DEEP,
    LOW,
    MIDDLE,
    NARROW,
    NEVER_CALLED,
    NO_BASE,
    NO_HIRES,
    NO_SITES,
    NOT_RUN,
    PARTS_OFF,
    PAYS,
    RATIO,
    SMALL,
    STRENGTH,
    TILES,
    WEIGHTS,
)
from slothful.settings.site_names import SITE_NAMES
from tests.test_settings import any_settings
from tests.unets import make_unet, module_state, run

STRONG = dict(in_slothful=12, out_slothful=9, in_depth_decay=0.5, out_depth_decay=0.5, time_decay=0)
NONE = dict.fromkeys(SITE_NAMES, 0)
MERGING = dict(method="Token Merging", time_decay=0)
FLAT = dict(in_slothful=1, out_slothful=1)
CASES = {
    NO_HIRES: Settings(passes="hires"),
    SMALL: Settings(min_size=512),
    NARROW: Settings(min_width=512),
    LOW: Settings(min_height=512),
    WEIGHTS: Settings(block_weights=NONE),
    MIDDLE: Settings(**STRONG, block_weights={**NONE, "M00": 1}),
    DEEP: Settings(**MERGING, block_weights={**NONE, "IN07": 1}),
    PARTS_OFF: Settings(**MERGING, merge_attention=False),
    RATIO: Settings(**MERGING, merge_ratio=0),
    STRENGTH: Settings(**FLAT),
    CELLS: Settings(in_slothful=1.001, out_slothful=1.001, time_decay=0, rounding="smooth",
                    in_depth_decay=0, out_depth_decay=0),
    TILES: Settings(method="Plain Tiles", plain_tile_size=512, plain_scale_depth=False),
    BOTH: Settings(method="Near-sighted Attention", base_tile_size=64, peak_tile_size=64, **FLAT),
    PAYS: Settings(**STRONG, only_where_it_pays=True),
}  # fmt: skip
SIZE = dict(height=16, width=24)  # 192x128 pixels


def passes(sizes=((192, 128),), timesteps=(600.0,), name="base"):
    moments = [Moment(t, noise_level_time(t), i, name) for i, t in enumerate(timesteps)]
    return [(name, *size, moments) for size in sizes]


@pytest.mark.parametrize(("reason", "settings"), CASES.items())
def test_each_reason_is_said_before_and_after(sd1_unet, reason, settings):
    plain = run(sd1_unet, **SIZE)
    with slothful.applied(sd1_unet, settings) as application:
        assert application.why_nothing() == NEVER_CALLED
        assert torch.equal(run(sd1_unet, **SIZE), plain)
    assert application.why_nothing() == reason
    assert slothful.why_nothing(settings, slothful.find_sites(sd1_unet), passes()) == reason
    assert slothful.why_nothing(settings, slothful.shape_of(sd1_unet).sites, passes()) == reason


def test_only_the_base_pass_and_there_is_none(sd1_unet):
    settings, sites = Settings(**STRONG, passes="base"), slothful.find_sites(sd1_unet)
    assert slothful.why_nothing(settings, sites, passes(name="hires")) == NO_BASE
    assert slothful.why_nothing(settings, sites, passes() + passes(name="hires")) is None


def test_without_sites_or_calls(sd1_unet):
    assert slothful.why_nothing(Settings(), (), passes()) == NO_SITES
    sites = slothful.find_sites(sd1_unet)
    assert slothful.why_nothing(Settings(), sites, ()) == NEVER_CALLED
    assert slothful.why_nothing(Settings(), sites, passes(timesteps=())) == NEVER_CALLED
    application = slothful.Application(Settings(), None)
    with pytest.raises(slothful.UnsupportedModelError):
        application.follow(torch.nn.Linear(2, 2))
    assert application.why_nothing() == NO_SITES


def test_whoever_computes_the_attention_without_calling_it_is_noticed(sd1_unet, monkeypatch):
    """Forge's `attn1_replace` patches call the projections themselves."""
    for block in (b for m in sd1_unet.modules() for b in getattr(m, "transformer_blocks", ())):

        def forward(x, context=None, block=block):
            x = block.attn1.forward(block.norm1(x)) + x
            x = block.attn2(block.norm2(x), context=context) + x
            return block.ff(block.norm3(x)) + x

        monkeypatch.setattr(block, "forward", forward)
    plain = run(sd1_unet)
    with slothful.applied(sd1_unet, Settings(**STRONG)) as application:
        assert torch.equal(run(sd1_unet), plain)
        assert any(application.plans.values())
    assert application.applied_sites == ()
    assert application.why_nothing() == NOT_RUN


small_sizes = st.tuples(st.integers(2, 4), st.integers(2, 4)).map(lambda s: (64 * s[0], 64 * s[1]))


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@hypothesis_settings(max_examples=12)
def test_it_is_said_exactly_where_nothing_is_applied(sd1_unet, method, data):
    # what a threshold lets sleep is not known before, nor whether rows will be told
    settings = data.draw(any_settings).replace(
        method=method, sleep_threshold=0, negative="computed", mix="nothing"
    )
    width, height = data.draw(small_sizes)
    steps = data.draw(st.lists(st.integers(0, 999), min_size=1, max_size=2, unique=True))
    name = data.draw(st.sampled_from(["base", "img2img", "hires"]))
    times = sorted(map(float, steps), reverse=True)
    clock = PassClock(times)
    time = noise_level_time if settings.time_axis == "noise level" else clock.progress
    all_times = tuple(map(time, times))
    moments = [Moment(t, time(t), i, name, None, all_times, i) for i, t in enumerate(times)]
    sites = slothful.find_sites(sd1_unet)
    expected = slothful.why_nothing(settings, sites, [(name, width, height, moments)])
    size = dict(batch=1, height=height // 8, width=width // 8)
    with slothful.applied(sd1_unet, settings) as application:
        application.begin_pass(name, clock)
        outputs = [run(sd1_unet, timestep, **size) for timestep in times]
    assert application.why_nothing() == expected
    assert (expected is None) == bool(application.applied_sites)
    if expected is not None:
        for timestep, output in zip(times, outputs):
            assert torch.equal(output, run(sd1_unet, timestep, **size))


def test_the_record_is_of_all_calls(sd1_unet):
    """The last call of a pass may be one in which nothing is applied."""
    settings = Settings(in_slothful=12, out_slothful=12, time_decay=4, peak_time=0.4)
    with slothful.applied(sd1_unet, settings) as application:
        run(sd1_unet, 999.0)
        assert (application.applied_sites, application.why_nothing()) == ((), STRENGTH)
        run(sd1_unet, 600.0)
        applied = application.applied_sites
        run(sd1_unet, 1.0)
        assert not any(application.plans.values())
    names = [found.site.name for found in slothful.find_sites(sd1_unet)]
    assert applied
    assert list(applied) == [name for name in names if name in applied]
    assert (application.applied_sites, application.why_nothing()) == (applied, None)


def test_the_limits_look_at_the_image_and_not_at_its_tiles(sd1_unet):
    settings = Settings(**STRONG, min_size=512, min_width=600)
    plain = run(sd1_unet, **SIZE)
    with slothful.applied(sd1_unet, settings) as application:
        for size, applies in (((640, 512), True), ((512, 512), False), ((640, 448), False)):
            application.begin_pass("base", None, size)
            assert torch.equal(run(sd1_unet, **SIZE), plain) != applies
        application.begin_pass("hires")
        assert torch.equal(run(sd1_unet, **SIZE), plain)


# -- copies, and several on one U-Net


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda unet: pickle.loads(pickle.dumps(unet))],
                         ids=["deep copy", "pickle"])  # fmt: skip
@pytest.mark.parametrize("settings", [Settings(**STRONG), Settings(**MERGING, merge_mlp=True)])
def test_to_a_copy_nothing_is_applied(settings, copied):
    unet = make_unet("sd1")
    plain = run(unet)
    before = module_state(unet)
    with slothful.applied(unet, settings) as application:
        for _ in range(2):  # the second without the optimization where keys have weights
            changed = run(unet)
        plans = application.plans
        other = copied(unet)
        assert torch.equal(run(other), plain)
        assert application.plans is plans
        assert torch.equal(run(unet), changed)
        with slothful.applied(other, settings):  # as any other U-Net
            assert torch.equal(run(other), changed)
    assert module_state(unet) == before
    assert torch.equal(run(other), plain)


def test_released_in_any_order_the_last_one_that_is_left_applies(sd1_unet):
    before, plain = module_state(sd1_unet), run(sd1_unet)
    kinds = [Settings(**STRONG), Settings(**MERGING), Settings(method="Near-sighted Tile")]
    alone = []
    for settings in kinds:
        with slothful.applied(sd1_unet, settings):
            alone.append(run(sd1_unet))
    first, second, third = (slothful.Application(settings, None) for settings in kinds)
    for application in (first, second, third):
        application.follow(sd1_unet)
    assert torch.equal(run(sd1_unet), alone[2])
    second.release()
    assert torch.equal(run(sd1_unet), alone[2])
    third.release()
    assert torch.equal(run(sd1_unet), alone[0])
    first.release()
    assert torch.equal(run(sd1_unet), plain)
    assert module_state(sd1_unet) == before
