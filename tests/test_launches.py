"""How many kernels a GPU would be told to start, counted on torch's device "meta"."""

import pytest
import torch

from benchmarks.speed.launches import counting, more_launches, variants
from benchmarks.speed.models import blank_unet

LAYOUTS = ("sd15", "sdxl")
SIZES = ((512, 512), (1024, 1024))


@pytest.fixture(scope="module", params=LAYOUTS)
def unet(request):
    return request.param, blank_unet(request.param).half()


def more(unet, variant, size):
    return set(more_launches(unet, variants()[variant], size).values())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_similar_tokens_are_found_in_few_steps(unet, size):
    """Where a site has one layer; several share what was found."""
    layout, unet = unet
    found = more(unet, "Slothful Attention", size)
    assert found == ({9.0} if layout == "sd15" else {5.0, 1.8})


def test_tiles_in_which_similar_tokens_are_found_start_more(unet):
    layout, unet = unet
    found = more(unet, "Near-sighted Attention", (1024, 1024))
    assert max(found) <= (23 if layout == "sd15" else 15)
    found = more(unet, "Near-sighted Tile", (512, 512))
    assert max(found) <= (17 if layout == "sd15" else 11.5)


def test_tiles_move_queries_and_answers_and_pick_keys_and_values_once(unet):
    assert more(unet[1], "Near-sighted Tile, first token", (1024, 1024)) == {4.0}


def test_a_tile_whose_keys_are_its_own_moves_none(unet):
    """Its queries and its answers are moved, or where it fills the image's width, nothing."""
    layout, unet = unet
    # SDXL has no self-attention where Plain Tiles act by default
    assert more(unet, "Plain Tiles", (1024, 1024)) == ({0.0, 2.0} if layout == "sd15" else set())


@pytest.mark.parametrize("variant", ["Slothful Attention", "Token Downsampling"])
@pytest.mark.parametrize("kept", ["first", "jittered"])
def test_a_token_that_nobody_joins_starts_one_more(unet, variant, kept):
    """The one that picks it."""
    assert more(unet[1], f"{variant}, {kept} token", (512, 512)) == {1.0}


def test_views_and_empty_memory_start_nothing():
    tokens = torch.empty(2, 16, 4, device="meta")
    with counting() as launches:
        tokens.transpose(1, 2)[:, :2].unflatten(2, (4, 4)).new_empty(3)
        assert launches.count == 0
        torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        assert launches.count == 1
        tokens.transpose(1, 2).contiguous()
        tokens.add_(1)
    assert launches.count == 3
