"""Plans: which parameter acts in which method."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import METHODS, Moment, Settings, Site, find_sites, plan_site
from slothful.planning.planner import may_apply
from slothful.settings.settings import merge_limit
from tests.test_settings import any_settings, values_of
from tests.unets import make_unet

IN_THE_APPLICATION = {"time_axis", "passes", "min_size", "min_width", "min_height",
                      "only_where_it_pays", "vae_tiles", "vae_tile_size",
                      *(p.name for p in Settings.parameters()
                        if p.group in ("sleep", "negative")),
                      "agent_every"}  # fmt: skip
"""Parameters that decide when plans are made, not what is in them."""


@pytest.fixture(scope="module")
def sites() -> tuple[Site, ...]:
    return tuple(f.site for layout in ("sd1", "sdxl") for f in find_sites(make_unet(layout)))


def plans(settings, sites, step=3):
    moments = [
        Moment(1000 * (1 - time), time, step, name)
        for time, name in ((0.1, "base"), (0.4, "img2img"), (0.8, "hires"))
    ]
    return [
        plan_site(settings, moment, site, (128 // site.level, 192 // site.level))
        for moment in moments
        for site in sites
    ]


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_what_a_method_does_not_use_does_not_change_its_plans(method, sites, data):
    settings = data.draw(any_settings).replace(method=method)
    unused = [p for p in Settings.parameters() if p.methods and method not in p.methods]
    changes = {p.name: data.draw(values_of(p), p.name) for p in unused}
    assert plans(settings.replace(**changes), sites) == plans(settings, sites)


@given(settings=any_settings)
def test_where_a_plan_is_made_something_may_apply(sites, settings):
    made = zip(plans(settings, sites), 3 * sites)
    assert all(may_apply(settings, site) for plan, site in made if plan is not None)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "Plain Tiles"])  # left to the grid
def test_by_default_each_method_may_apply_where_it_acts_and_nowhere_else(method, sites):
    settings = Settings(method=method, time_decay=0)
    acts = [plan is not None for plan in plans(settings, sites)[: len(sites)]]
    assert [may_apply(settings, site) for site in sites] == acts


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_uses_can_change_its_plans(method, sites):
    used = [p for p in Settings.parameters() if not p.methods or method in p.methods]
    start = Settings(
        method=method, in_depth_decay=0.2, out_depth_decay=0.2, keep_middle=False,
        in_k_blend=0.5, in_v_blend=0.5, out_k_blend=0.5, out_v_blend=0.5,
        in_slothful=12, out_slothful=12, rounding="smooth", global_ratio=0.3,
        plain_tile_size=64, plain_scale_depth=False, merge_ratio=0.4,
        merge_max_downsample=8, merge_stride_x=5, merge_stride_y=5, downsample_depth_2=2,
        downsample_depth_3=2, downsample_mode="area",
    )  # fmt: skip
    before = plans(start, sites)
    for parameter in used:
        if parameter.name in IN_THE_APPLICATION or parameter.name == "method":
            continue
        tries = [
            start.replace(**{parameter.name: value})
            for value in _some_values(parameter)
            if not parameter.name.startswith("merge_ratio") or value <= merge_limit(start)
        ]
        assert any(plans(settings, sites) != before for settings in tries), parameter.name


def _some_values(parameter):
    if parameter.kind == "bool":
        return [True, False]
    if parameter.kind == "choice":
        return parameter.choices
    if parameter.kind == "weights":
        return [{"IN01": 0}]
    generator = random.Random(parameter.name)
    values = [
        generator.uniform(parameter.least or parameter.minimum, parameter.maximum) for _ in range(5)
    ]
    return [round(value) for value in values] if parameter.kind == "int" else values


@pytest.mark.parametrize("rounding", ["stride", "smooth"])
def test_the_smallest_global_ratio_keeps_one_key_of_the_whole_picture(sites, rounding):
    settings = Settings(method="Near-sighted Tile", global_ratio=5e-324, rounding=rounding)
    plan = plan_site(settings, Moment(600.0, 0.4), sites[0], (64, 64))
    assert len(plan.global_reduction) == 1
