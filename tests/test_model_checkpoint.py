"""Checkpoints: what loads, what it answers, and what is refused in one line."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from standalone.checkpoint import CheckpointError, build, load
from standalone.model.autoencoder_stage import fold_scale
from standalone.model.export import checkpoint_weights, schedule_buffers
from standalone.model.install_into_webui import main as install
from standalone.model.latent_code import latent_code
from standalone.model.train import CONFIG


@pytest.fixture(scope="module")
def weights():
    return checkpoint_weights(build(CONFIG))


@pytest.fixture
def checkpoint(weights, tmp_path):
    """A checkpoint with random weights, its configuration beside it."""
    save_file(weights, tmp_path / "random.safetensors")
    shutil.copy(CONFIG, tmp_path / "random.yaml")
    return tmp_path / "random.safetensors"


def test_a_checkpoint_loads_without_touching_the_global_generator(checkpoint):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model = load(checkpoint)
    assert torch.equal(torch.rand(4), expected)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_parts_fit_together(checkpoint):
    model = load(checkpoint)
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = model.encode_first_stage(pictures)
        context = model.get_learned_conditioning(["a red circle on a blue background"])
        noise = model.apply_model(latents, torch.tensor([500]), context)
        decoded = model.decode_first_stage(latents)
    assert context.shape == (1, 77, 96)
    assert latents.shape == noise.shape == (1, 4, 8, 8)
    assert decoded.shape == pictures.shape


def test_the_file_has_the_names_and_the_schedule_of_sd1(weights):
    for name in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
        "first_stage_model.post_quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ):
        assert name in weights
    # SD1's betas: evenly spaced in their square roots
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(weights["betas"].double(), betas, atol=1e-6)
    assert torch.allclose(weights["alphas_cumprod"].double(), (1 - betas).cumprod(0), atol=1e-6)
    assert all(buffer.isfinite().all() for buffer in schedule_buffers(betas.cumsum(0)[:1]).values())


def test_folding_the_scale_changes_units_only():
    model = build(CONFIG)
    pictures = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        autoencoder = model.first_stage_model
        code = autoencoder.quant_conv(autoencoder.encoder(pictures))[:, :4]
        decoded = autoencoder.decode(code)
        fold_scale(autoencoder, model.scale_factor)
        assert torch.allclose(model.encode_first_stage(pictures), code, atol=1e-4)
        assert torch.allclose(model.decode_first_stage(code), decoded, atol=1e-4)


def test_the_code_of_a_flat_picture_is_flat():
    code = latent_code(torch.full((1, 3, 32, 32), 0.5))
    assert code.shape == (1, 4, 4, 4)
    assert torch.allclose(code, code[:, :, :1, :1].expand_as(code), atol=1e-5)


def test_what_is_not_an_sd1_checkpoint_is_refused_in_one_line(checkpoint, tmp_path):
    def reason(path):
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        return str(caught.value)

    assert "no such checkpoint" in reason(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("this is no checkpoint at all")
    assert "not a safetensors file" in reason(tmp_path / "text.safetensors")
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, tmp_path / "sdxl.safetensors")
    assert "not an SD1 checkpoint" in reason(tmp_path / "sdxl.safetensors")
    weights = load_file(checkpoint)
    weights["model.diffusion_model.out.2.bias"] = torch.zeros(5)
    save_file(weights, checkpoint)
    assert "'model.diffusion_model.out.2.bias' has shape (5,)" in reason(checkpoint)
    checkpoint.with_suffix(".yaml").unlink()
    assert ".yaml" in reason(checkpoint)


def test_the_tokenizer_gives_the_numbers_of_clip():
    encoded = build(CONFIG).cond_stage_model.tokenizer("a photo of a cat")["input_ids"]
    assert encoded == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_the_model_installs_into_a_webui_folder(checkpoint, tmp_path, capsys):
    assert install([str(tmp_path / "elsewhere"), "--model", str(checkpoint)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    target = tmp_path / "webui" / "models" / "Stable-diffusion"
    target.mkdir(parents=True)
    assert install([str(tmp_path / "webui"), "--model", str(checkpoint)]) == 0
    installed = load(target / "random.safetensors")
    assert installed.get_learned_conditioning(["a cat"]).shape == (1, 77, 96)
    assert str(target) in (target / "random.yaml").read_text()
