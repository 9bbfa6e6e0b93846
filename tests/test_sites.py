"""Names, levels and depths of the sites of each model family."""

import pytest

from slothful import FAMILY_SITES, UnsupportedModelError, find_sites, shape_of
from tests.unets import make_unet

SD1 = {
    "IN01": 1, "IN02": 1, "IN04": 2, "IN05": 2, "IN07": 4, "IN08": 4, "M00": 8,
    "OUT03": 4, "OUT04": 4, "OUT05": 4, "OUT06": 2, "OUT07": 2, "OUT08": 2,
    "OUT09": 1, "OUT10": 1, "OUT11": 1,
}  # fmt: skip
SDXL = {
    "IN04": 2, "IN05": 2, "IN07": 4, "IN08": 4, "M00": 4,
    "OUT00": 4, "OUT01": 4, "OUT02": 4, "OUT03": 2, "OUT04": 2, "OUT05": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "family", "levels", "finest", "layers"),
    [
        ("sd1", "SD1, SD2", SD1, 1, 1),
        ("sd2", "SD1, SD2", SD1, 1, 1),
        ("sdxl", "SDXL", SDXL, 2, 3),
    ],
)
def test_sites_of_each_family(layout, family, levels, finest, layers):
    sites = [found.site for found in find_sites(make_unet(layout))]
    assert {site.name: site.level for site in sites} == levels
    assert FAMILY_SITES[family] == tuple(site.name for site in sites)
    assert all(site.depth == site.level // finest for site in sites)
    assert all(site.layers == layers for site in sites)


def test_blocks_whose_self_attention_is_disabled_are_no_sites():
    unet = make_unet("sd1")
    for module in unet.modules():
        if hasattr(module, "disable_self_attn"):
            module.disable_self_attn = True
    with pytest.raises(UnsupportedModelError, match="UNetModel has no self-attention"):
        find_sites(unet)


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_a_unet_may_have_no_middle_block(layout):
    """Small distilled models have none."""
    unet = make_unet(layout)
    expected = [
        (f.site.name, f.site.level, f.site.depth) for f in find_sites(unet) if f.site.name != "M00"
    ]
    cost = shape_of(unet)
    unet.middle_block = None
    assert [(f.site.name, f.site.level, f.site.depth) for f in find_sites(unet)] == expected
    without = shape_of(unet)
    assert len(without.sites) == len(cost.sites) - 1
    rest = [sum(each.per_position for each in of.rest) for of in (without, cost)]
    assert rest[0] < rest[1]
