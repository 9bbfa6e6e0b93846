"""Needs: a parameter that is said to be idle changes nothing, and one that is not can."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from slothful import (
    Merge,
    Moment,
    Reduce,
    Settings,
    Site,
    find_sites,
    idle_parameters,
    plan_site,
)
from slothful.settings.needs import needs_of
from tests.test_settings import any_settings, values_of, within_the_limit_of_merging
from tests.unets import make_unet

NEEDY = [parameter for parameter in Settings.parameters() if parameter.needs]


@pytest.fixture(scope="module")
def sites() -> tuple[Site, ...]:
    return tuple(f.site for layout in ("sd1", "sdxl") for f in find_sites(make_unet(layout)))


def seen(reduction):
    """What of a reduction reaches a tensor."""
    if reduction is None:
        return None
    blends = reduction.k_blend, reduction.v_blend
    keeps = min(blends) < 1
    return (reduction.rows, reduction.columns, blends, reduction.pool if max(blends) > 0 else "",
            reduction.offset if keeps else (), reduction.merges and keeps)  # fmt: skip


def done(plan):
    """What of a plan reaches a tensor."""
    if isinstance(plan, Merge) and not plan.attention:
        return dataclasses.replace(plan, keys_only=False, proportional=False)
    if not isinstance(plan, Reduce):
        return plan
    windows = plan.tiling, plan.key_tiling, plan.score_share
    return seen(plan.reduction), seen(plan.global_reduction), *windows


def effects(settings, sites):
    """What is done at each site in the passes of an image, comparable."""
    found = []
    for index, (timestep, progress, name) in enumerate(
        ((900, 0.3, "base"), (600, 0.1, "img2img"), (200, 0.5, "hires"))
    ):
        by_noise = settings.time_axis == "noise level"
        time = 1 - timestep / 1000 if by_noise else progress
        times = tuple(step / 9 for step in range(10))
        moment = Moment(timestep, time, 3, name, None, times, 3 + index)
        for site in sites:
            plan = plan_site(settings, moment, site, (128 // site.level, 192 // site.level))
            found.append(done(plan))
    return found


def unmet(need):
    """A value of the needed parameter with which the need is not met."""
    other = Settings.parameter(need.name)
    if other.kind in ("bool", "weights"):
        return {"bool": False, "weights": {}}[other.kind]
    if need.sign == "!":
        return need.bound
    if other.kind == "choice":
        return next(choice for choice in other.choices if choice != need.bound)
    return other.maximum if need.sign == "<" else other.minimum


@pytest.mark.parametrize("parameter", NEEDY, ids=lambda p: p.name)
@profile(max_examples=25)
@given(data=st.data())
def test_an_idle_parameter_changes_nothing(parameter, sites, data):
    method = data.draw(st.sampled_from(parameter.methods or Settings.parameter("method").choices))
    changes = {need.name: unmet(need) for need in needs_of(parameter)}
    settings = changed(data.draw(any_settings), method=method, **changes)
    assert parameter.name in idle_parameters(settings)
    value = data.draw(values_of(parameter), "other value")
    if parameter.name in ("in_mode", "out_mode"):  # of which 1D or 2D matters all the same
        value = getattr(settings, parameter.name)[:3] + value[3:]
    other = changed(settings, **{parameter.name: value})
    if parameter.name != "vae_tile_size":  # the VAE has no plans of sites
        assert effects(other, sites) == effects(settings, sites)


def changed(settings, **changes):
    """`Settings.replace`, within the limit of the ratios of merging."""
    return Settings.from_mapping(within_the_limit_of_merging({**settings.as_dict(), **changes}))


def test_the_defaults_name_what_is_in_the_way():
    idle = idle_parameters(Settings())
    assert idle == {
        "in_mode": ("in_k_blend", "in_v_blend"),
        "out_mode": ("out_k_blend", "out_v_blend"),
        "vae_tile_size": ("vae_tiles",),
        **{p.name: ("sleep",) for p in Settings.parameters() if p.name.startswith("sleep_")},
        **{p.name: ("negative",) for p in Settings.parameters() if p.name.startswith("negative_")},
        **{p.name: ("mix",) for p in Settings.parameters() if p.name.startswith("mix_")},
        "sleep_min_steps": ("sleep", "negative"),
    }


def test_what_is_in_the_way_is_the_root_of_it():
    weak = Settings(in_slothful=0, in_k_blend=1, in_v_blend=1)
    assert idle_parameters(weak)["in_mode"] == ("in_slothful",)
    merging = Settings(method="Token Merging", merge_attention=False)
    parts = ("merge_attention", "merge_cross", "merge_mlp")
    idle = idle_parameters(merging)
    assert idle["merge_ratio"] == idle["merge_stride_x"] == parts
    assert idle["merge_keys_only"] == ("merge_attention",)
    assert not set(parts) & idle.keys()
    nothing = idle_parameters(Settings(method="Token Merging", merge_ratio=0))
    ratios = ("merge_ratio", "merge_ratio_img2img", "merge_ratio_hires")
    assert nothing["merge_attention"] == nothing["merge_stride_x"] == ratios
    assert not set(ratios) & nothing.keys()


@given(any_settings)
def test_only_what_the_method_uses_is_idle_or_in_the_way(settings):
    for name, reasons in idle_parameters(settings).items():
        for each in (name, *reasons):
            assert Settings.parameter(each).used_by(settings.method)


def test_a_need_names_a_parameter_and_a_value_that_it_can_have():
    for parameter in NEEDY:
        for need in needs_of(parameter):
            other = Settings.parameter(need.name)
            if need.sign in ("=", "!"):
                assert need.bound in other.choices
            elif other.kind != "bool":
                assert other.minimum <= float(need.bound or 0) <= other.maximum
            assert "{reason}" in parameter.idle
