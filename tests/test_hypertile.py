"""Where the webui's HyperTile splits a self-attention, compared with HyperTile itself."""

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slothful_webui.hypertile import hypertile_acts
from tests.webui import NEEDS_WEBUI


def marked(width, height, depth=0, enabled=True, limit=256):
    """An attn1 of a U-Net as HyperTile marks it for an image of a size in pixels."""
    tile = 1
    while width % (2 * tile) == 0 and height % (2 * tile) == 0 and 2 * tile <= limit:
        tile *= 2
    parameters = SimpleNamespace(
        enabled=enabled, tile_size=tile, aspect_ratio=width / height, depth=depth, swap_size=3
    )
    attention = torch.nn.Identity()
    attention.to_q = torch.nn.Identity()
    setattr(attention, "__webui_hypertile_params", parameters)
    return attention


def grid_of(width, height, depth):
    return -(-height // (8 * 2**depth)), -(-width // (8 * 2**depth))


@pytest.mark.parametrize(("side", "acts"), [(64, False), (128, False), (256, True), (512, True)])
def test_it_needs_an_image_that_is_larger_than_its_smallest_tile(side, acts):
    attention = marked(side, side, limit=128)
    assert bool(hypertile_acts(attention, grid_of(side, side, 0))) == acts


def test_it_does_nothing_where_it_is_switched_off_or_was_never_on():
    assert hypertile_acts(marked(512, 512, enabled=False), (64, 64)) is None
    assert hypertile_acts(torch.nn.Identity(), (64, 64)) is None


@NEEDS_WEBUI
@given(
    st.integers(8, 160), st.integers(8, 160), st.integers(0, 3), st.sampled_from([128, 256, 512])
)
def test_it_is_said_to_act_exactly_where_it_splits(columns, rows, depth, limit):
    width, height = 8 * columns, 8 * rows
    attention = marked(width, height, depth, limit=limit)
    grid = grid_of(width, height, depth)
    seen = []
    parameters = getattr(attention, "__webui_hypertile_params")
    parameters.swap_size = 1  # it takes the most tiles that it may
    parameters.forward = lambda x: (seen.append(len(x)), x)[1]
    theirs().self_attn_forward(parameters)(torch.zeros(1, grid[0] * grid[1], 1))
    assert bool(hypertile_acts(attention, grid)) == (seen[0] > 1)


def theirs():
    """The module of HyperTile in the webui."""
    path = Path(os.environ["WEBUI_DIR"]) / "extensions-builtin" / "hypertile" / "hypertile.py"
    spec = importlib.util.spec_from_file_location("webuis_hypertile", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module
