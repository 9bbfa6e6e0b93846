"""Training stages: reproducible, resumable, and an autoencoder that starts near its goal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from standalone.checkpoint import build
from standalone.model import loop
from standalone.model.latent_code import latent_code
from standalone.model.resampling import start_as_resampling
from standalone.model.scenes import random_scene
from standalone.model.text_stage import train_text
from standalone.model.train import CONFIG
from standalone.model.unet_stage import train_unet


@pytest.fixture(scope="module")
def pictures():
    return loop.pictures([random_scene(np.random.default_rng(seed)) for seed in range(4)], 128)


@torch.no_grad()
def test_the_untrained_autoencoder_averages_and_enlarges(pictures):
    autoencoder = build(CONFIG).first_stage_model
    start_as_resampling(autoencoder)
    code = latent_code(pictures)
    moments = autoencoder.quant_conv(autoencoder.encoder(pictures))
    assert (moments[:, :3] - code[:, :3]).square().mean() < 0.02
    assert (autoencoder.decode(code) - pictures).abs().mean() < 0.08


def test_a_stage_that_was_stopped_goes_on_where_it_was(tmp_path, capsys):
    model = build(CONFIG)
    options = dict(batch=2, rate=1e-3)
    train_text(model, tmp_path, until=2, **options)
    train_text(build(CONFIG), tmp_path, until=3, **options)
    assert "text.pt: resumed at step 2" in capsys.readouterr().out
    assert torch.load(tmp_path / "text.pt")["step"] == 3


def test_the_unet_stage_gives_the_same_weights_each_time(tmp_path):
    def trained(folder):
        folder.mkdir(exist_ok=True)
        model = build(CONFIG)
        train_unet(model, folder, size=64, until=2, batch=2, rate=1e-3)
        return torch.load(folder / "unet-64.pt")["average"]

    first, second = trained(tmp_path), trained(tmp_path.joinpath("again"))
    assert all(torch.equal(first[name], second[name]) for name in first)
