"""Token merging, plain tiles, downsampling and the VAE's tiles in the real webui, over its API."""

import numpy as np
import pytest

from tests.test_webui_faults import HIRES
from tests.test_webui_models import OPTIMIZATIONS, said_while
from tests.webui import MERGING, METHODS, NEEDS_WEBUI, PLAIN, encode
from tests.webui_hosts import NEEDS_HYPERTILE, NEEDS_OPTIMIZATIONS

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

OTHERS = {n: METHODS[n] for n in ("merging", "plain", "downsampled", "agents", "channels")}
VAE = {"vae_tiles": True, "vae_tile_size": 64}


@pytest.mark.parametrize("args", OTHERS.values(), ids=OTHERS)
def test_hires_fix_img2img_batches_and_odd_sizes(webui, off, args):
    for options in (
        HIRES,
        dict(init_images=[encode(off)], denoising_strength=0.6),
        dict(batch_size=3),
        dict(width=264, height=200),
    ):
        plain = webui.generate(**options)[0][0]
        assert not np.array_equal(webui.generate(args, **options)[0][0], plain)
        assert webui.hooks() == 0


def test_the_ratio_of_each_pass(webui, off):
    """A ratio for one pass changes that pass and no other."""

    def made(options, **ratios):
        return webui.generate([{**MERGING[0], **ratios}], **options)[0][0]

    img2img = dict(init_images=[encode(off)], denoising_strength=0.6)
    base = {options: made(dict(options)) for options in ((), tuple(HIRES.items()))}
    assert np.array_equal(made({}, merge_ratio_img2img=0.2, merge_ratio_hires=0.3), base[()])
    assert not np.array_equal(made(HIRES, merge_ratio_hires=0.3), base[tuple(HIRES.items())])
    assert np.array_equal(made(img2img, merge_ratio_img2img=0.2), made(img2img, merge_ratio=0.2))


def test_a_ratio_over_the_limit_is_told(webui):
    with pytest.raises(RuntimeError) as error:
        webui.generate([{**MERGING[0], "merge_ratio": 0.8}])
    said = "merge_ratio must be between 0 and 0.75 with strides of 2 x 2, got 0.8"
    assert said in str(error.value)


@NEEDS_OPTIMIZATIONS
def test_proportional_attention_under_every_optimization(webui):
    args = [{**MERGING[0], "merge_proportional": True, "merge_keys_only": True}]
    present = webui.get("/sdapi/v1/options")["cross_attention_optimization"]
    pictures = []
    try:
        for name in OPTIMIZATIONS:
            webui.post("/sdapi/v1/options", {"cross_attention_optimization": name})
            pictures.append(webui.generate(args)[0][0].astype(int))
    finally:
        webui.post("/sdapi/v1/options", {"cross_attention_optimization": present})
    for name, picture in zip(OPTIMIZATIONS, pictures):
        assert np.abs(picture - pictures[0]).max() <= 2, name


def test_nothing_is_merged_twice(webui):
    both = {"override_settings": {"token_merging_ratio": 0.5}}
    alone = webui.generate(**both)[0][0]
    picture, said = said_while(webui, MERGING, **both)
    assert np.array_equal(picture, alone)
    assert "built-in token merging); not applied anywhere" in said


@NEEDS_HYPERTILE
def test_nothing_is_tiled_twice(webui):
    overrides = {
        "hypertile_enable_unet": True, "hypertile_max_depth_unet": 0, "hypertile_enable_vae": True
    }  # fmt: skip
    options = dict(override_settings=overrides, width=512, height=512)
    alone = webui.generate(**options)[0][0]
    # tiles of the finest level only, which HyperTile has
    settings = {**PLAIN[0], **VAE, "plain_max_depth": 1}
    picture, said = said_while(webui, [settings], **options)
    assert np.array_equal(picture, alone)
    assert "skipped IN01, IN02, OUT09, OUT10, OUT11 (the webui's HyperTile is used there)" in said


def test_tiles_of_the_vae(webui, off):
    elsewhere = {"method": "Near-sighted Tile", "tile_size": 64}
    for options in ({}, HIRES, dict(init_images=[encode(off)], denoising_strength=0.3)):
        plain = webui.generate([elsewhere], **options)[0][0]
        assert np.array_equal(webui.generate(**options)[0][0], plain)
        tiled = webui.generate([{**elsewhere, **VAE}], **options)[0][0]
        assert not np.array_equal(tiled, plain)
        assert webui.hooks() == 0


@pytest.mark.parametrize("fault", ["encode", "unet 2", "decode"])
def test_a_fault_while_the_vae_is_tiled(webui, off, fault):
    options = dict(init_images=[encode(off)], denoising_strength=0.6)
    with pytest.raises(RuntimeError, match="planned fault"):
        webui.generate([VAE], fault=fault, **options)
    assert webui.hooks() == 0
