"""Tiles in the VAE: what they compute, and how long they last."""

import types

import numpy as np
import pytest
import torch
from ldm.modules.diffusionmodules.model import AttnBlock
from PIL import Image

import slothful
from slothful import Settings
from slothful.unet.foreign import HOOKED
from slothful_webui.vae_scope import close_vae, open_vae
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from tests.unets import module_state

TILED = {"vae_tiles": True, "vae_tile_size": 64}


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def attention_by_hand(block, normed, x):
    """The block's attention over one tile, whose normalised features are given."""
    query, key, value = (part(normed).flatten(2) for part in (block.q, block.k, block.v))
    scores = torch.softmax(query.transpose(1, 2) @ key * query.shape[1] ** -0.5, dim=-1)
    answers = (value @ scores.transpose(1, 2)).reshape(x.shape)
    return x + block.proj_out(answers)


def test_each_tile_attends_to_itself_and_all_are_normalised_together():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = AttnBlock(32).eval()
    vae = torch.nn.ModuleDict({"mid": block})
    x = torch.randn(2, 32, 16, 24, generator=torch.Generator().manual_seed(1))
    plain, before = block(x), module_state(vae)
    tiles = slothful.VaeTiles(Settings(**TILED))
    tiles.follow(vae)
    tiled = block(x)
    tiles.release()
    expected, normed = torch.empty_like(x), block.norm(x)
    for y in (slice(0, 8), slice(8, 16)):
        for x0 in (slice(0, 8), slice(8, 16), slice(16, 24)):
            part = attention_by_hand(block, normed[:, :, y, x0], x[:, :, y, x0])
            expected[:, :, y, x0] = part
    torch.testing.assert_close(tiled, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(tiled, plain, atol=1e-3)
    assert module_state(vae) == before
    assert torch.equal(block(x), plain)


def generate(model, args=None, **values):
    options = dict(prompt="a red circle on a blue background", width=192, height=128, steps=2)
    runner = ScriptRunner([args] if args is not None else None)
    return np.asarray(process_images(Processing(model, **{**options, **values}), runner).images[-1])


def test_decoding_and_encoding_are_tiled_and_the_vae_is_left_as_it_was(model):
    vae, seen = model.first_stage_model, []
    before = module_state(vae)
    norms = {vae.encoder.mid.attn_1.norm: "encoder", vae.decoder.mid.attn_1.norm: "decoder"}

    def look(module, args):
        if module in norms:
            seen.append((norms[module], args[0].shape[-2:]))

    # of all modules, for one on the block itself would keep ours away
    handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
    # acts in no block of the U-Net, so that a difference comes from the VAE
    options = {"method": "Near-sighted Tile", "tile_size": 64}
    picture = Image.radial_gradient("L").resize((192, 128)).convert("RGB")
    try:
        plain = generate(model, options, init_images=[picture])
        shapes = set(seen)
        seen.clear()
        tiled = generate(model, {**options, **TILED}, init_images=[picture], n_iter=2)
    finally:
        handle.remove()
    assert shapes == {(name, (16, 24)) for name in ("encoder", "decoder")}
    assert set(seen) == {(name, (8, 8)) for name in ("encoder", "decoder")}
    assert not np.array_equal(plain, tiled)
    assert module_state(vae) == before


@pytest.mark.parametrize("where", ["encode", "denoise", "decode"])
def test_a_failure_anywhere_leaves_the_vae_as_it_was(model, where):
    states = module_state(model.first_stage_model), module_state(model.model.diffusion_model)
    part = {
        "encode": model.first_stage_model.encoder,
        "denoise": model.model.diffusion_model.out,
        "decode": model.first_stage_model.decoder,
    }[where]

    def fail(module, args):
        raise MemoryError("out of memory")

    handle = part.register_forward_pre_hook(fail)
    try:
        with pytest.raises(MemoryError):
            generate(model, TILED, init_images=[Image.new("RGB", (64, 64))])
    finally:
        handle.remove()
    assert (
        module_state(model.first_stage_model), module_state(model.model.diffusion_model)
    ) == states  # fmt: skip


def test_what_a_request_left_ends_with_the_next_and_an_old_one_ends_only_its_own():
    vaes = [torch.nn.ModuleDict({"mid": AttnBlock(32)}) for _ in range(2)]
    states = [module_state(vae) for vae in vaes]
    requests = [Processing(None) for _ in range(2)]
    for request, vae in zip(requests, vaes):
        open_vae(request, Settings(**TILED), lambda vae=vae: vae)
    assert module_state(vaes[0]) == states[0]
    assert module_state(vaes[1]) != states[1]
    requests[0].close()
    assert module_state(vaes[1]) != states[1]
    requests[1].close()
    assert module_state(vaes[1]) == states[1]
    open_vae(requests[1], Settings(**TILED), lambda: vaes[1])
    close_vae()
    assert module_state(vaes[1]) == states[1]


def test_another_implementation_of_tiles_keeps_its_place(model):
    """HyperTile's smallest tile is 128 pixels: it splits the wide image and not the small one."""
    vae = model.first_stage_model
    blocks = [vae.encoder.mid.attn_1, vae.decoder.mid.attn_1]
    off = {"method": "Near-sighted Tile", "tile_size": 64}
    plain, wide = generate(model), generate(model, width=256)
    theirs = types.SimpleNamespace(enabled=True, tile_size=128)
    for block in blocks:
        setattr(block, "__webui_hypertile_params", theirs)
    try:
        assert np.array_equal(generate(model, {**off, **TILED}, width=256), wide)
        assert not np.array_equal(generate(model, {**off, **TILED}), plain)
    finally:
        for block in blocks:
            delattr(block, "__webui_hypertile_params")


@pytest.mark.parametrize("part", ["", "norm", "q", "proj_out"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_whoever_looks_into_the_vaes_attention_sees_the_whole_map(part, first):
    block, seen = AttnBlock(32).eval(), []
    vae = torch.nn.ModuleDict({"mid": block})
    x = torch.randn(1, 32, 16, 24, generator=torch.Generator().manual_seed(1))
    plain, tiles = block(x), slothful.VaeTiles(Settings(**TILED))
    if first == "ours":
        tiles.follow(vae)
        block(x)  # theirs comes while ours is at work
    module = block.get_submodule(part)
    module.register_forward_hook(lambda _, args, out: seen.append(out.shape[-2:]))
    tiles.follow(vae)
    assert torch.equal(block(x), plain)
    assert set(seen) == {(16, 24)}
    assert tiles.notes == {"mid": HOOKED}


def test_a_block_of_others_that_is_skipped_is_told(model):
    norm = model.first_stage_model.decoder.mid.attn_1.norm
    handle = norm.register_forward_hook(lambda module, args, output: None)
    request = Processing(
        model, prompt="a red circle on a blue background", width=192, height=128, steps=2
    )
    try:
        processed = process_images(request, ScriptRunner([TILED]))
    finally:
        handle.remove()
    assert any("skipped the VAE (another extension has hooks" in c for c in processed.comments)


@pytest.mark.parametrize("inner", [None, [TILED]], ids=["off", "tiled"])
def test_the_tiles_come_back_after_a_request_inside_the_sampling(model, inner):
    before, expected = module_state(model.first_stage_model), generate(model, TILED)
    untiled = generate(model, {})
    made = []
    request = Processing(
        model, prompt="a red circle on a blue background", width=192, height=128, steps=2
    )
    own = request.sample

    def sample(**details):
        samples = own(**details)
        other = Processing(model, prompt="a detail", width=192, height=128, steps=1)
        made.append(np.asarray(process_images(other, ScriptRunner(inner)).images[0]))
        return samples

    request.sample = sample
    picture = np.asarray(process_images(request, ScriptRunner([TILED])).images[0])
    assert np.array_equal(picture, expected)
    assert not np.array_equal(picture, untiled)
    alone = Processing(model, prompt="a detail", width=192, height=128, steps=1)
    assert np.array_equal(made[0], np.asarray(process_images(alone, ScriptRunner(inner)).images[0]))
    assert module_state(model.first_stage_model) == before
