"""Training stages: reproducible, resumable, begun anew or from a checkpoint; their curves."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from slothful import LATENT_FACTOR
from standalone.checkpoint import SMALL, build, load
from standalone.model import curve, evaluate, loop
from standalone.model.autoencoder_stage import fold_scale, train_autoencoder
from standalone.model.curve import read_losses
from standalone.model.export import checkpoint_weights
from standalone.model.latent_code import latent_code
from standalone.model.resampling import start_as_resampling
from standalone.model.scenes import random_scene, random_simple_scene
from standalone.model.text_stage import train_text
from standalone.model.train import CONFIG
from standalone.model.train import main as train
from standalone.model.unet_stage import _timesteps, train_unet


@pytest.fixture(scope="module")
def pictures():
    scenes = [random_simple_scene(np.random.default_rng(seed)) for seed in range(4)]
    return loop.pictures(scenes, 128)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint in SD1's units whose autoencoder has been changed by training."""
    model = build(CONFIG)
    start_as_resampling(model.first_stage_model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    fold_scale(model.first_stage_model, model.scale_factor)
    path = tmp_path_factory.mktemp("checkpoint") / "begun.safetensors"
    save_file(checkpoint_weights(model), path)
    shutil.copy(CONFIG, path.with_suffix(".yaml"))
    return path


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


def test_the_unet_stage_depends_on_its_seed_only(tmp_path):
    def trained(name, seed):
        (tmp_path / name).mkdir()
        model, options = build(CONFIG), dict(sizes=[64], batches=[2], until=2, rate=1e-3)
        train_unet(model, tmp_path / name, seed=seed, **options)
        average = torch.load(tmp_path / name / "unet-64.pt")["average"]
        return torch.cat([weight.flatten() for weight in average.values()])

    first, again, other = trained("first", 0), trained("again", 0), trained("other", 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_rate_rises_holds_and_falls():
    optimizer = loop.make_optimizer(torch.nn.Linear(1, 1))

    def rates(hold, start=0):
        steps = loop.steps(start, 300, optimizer, 0.5, hold)
        return {step: optimizer.param_groups[0]["lr"] for step in steps}

    held = rates(2 / 3)
    assert held[25] == pytest.approx(0.25)
    assert {held[step] for step in range(51, 194)} == {0.5}
    assert held[250] == pytest.approx(0.5 * (0.02 + 0.98 * 0.5))
    falling = rates(0)
    assert falling[150] == pytest.approx(0.5 * (0.02 + 0.98 * 0.5))
    assert all(falling[step] > falling[step + 1] for step in range(60, 300))
    assert rates(0, start=200) == {step: falling[step] for step in range(201, 301)}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--hold", "1"], "--hold must be in [0, 1), got 1"),
        (["--seed", "-1"], "--seed must be 0 or more, got -1"),
    ],
)
def test_a_stage_refuses_options_out_of_range(option, told, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(["unet", "--work", str(tmp_path / "work"), "--steps", "1", *option])
    assert told in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_sizes_are_trained_in_turn_and_watched_apart(tmp_path):
    model = build(CONFIG)
    seen = []
    model.model.diffusion_model.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].shape[-1])
    )
    options = dict(sizes=[64, 128], batches=[2, 1], rate=0.0)
    train_unet(model, tmp_path, until=1, **options)
    assert seen[0] == 128 // LATENT_FACTOR, "step 1 takes the second size"
    once = read_losses(tmp_path / "losses.csv")
    train_unet(build(CONFIG), tmp_path, until=2, **options)
    twice = read_losses(tmp_path / "losses.csv")
    for stage in ("unet held out 64 px", "unet held out 128 px"):
        # nothing is learned at a rate of 0, so the same pictures and noise give the same loss
        assert [loss for _, loss in twice[stage]] == [once[stage][0][1]] * 2


def test_held_out_pictures_are_seen_with_the_averaged_weights(tmp_path):
    """And training goes on with its own: these have moved further than their average."""
    model = build(CONFIG)
    weight = model.model.diffusion_model.out[2].weight
    start = weight.detach().clone()
    train_unet(model, tmp_path, sizes=[64], batches=[2], until=1, rate=1e-3)
    average = torch.load(tmp_path / "unet-64.pt")["average"]["0.out.2.weight"]
    moved, averaged = (w - start for w in (weight, average))
    assert 0 < averaged.norm() < moved.norm()


def test_each_size_needs_a_batch(tmp_path, capsys):
    options = ["--steps", "1", "--size", "64", "128", "256", "--batch", "1", "2"]
    with pytest.raises(SystemExit):
        train(["unet", "--work", str(tmp_path), *options])
    assert "--batch: give one or 3, as --size; got 2" in capsys.readouterr().err


def begin(stage, checkpoint, work, *more):
    """One step of a stage with a rate of zero, from a checkpoint."""
    options = ["--steps", "1", "--batch", "1", "--size", "64", "--rate", "0", *more]
    return train([stage, "--begin-from", str(checkpoint), "--work", str(work), *options])


def weights_below(path, prefix):
    weights = load_file(path)
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def assert_same(state, weights, rtol=0.0):
    wanted = {name: w.float() for name, w in weights.items() if not name.endswith("position_ids")}
    assert state.keys() == wanted.keys()
    for name, weight in state.items():
        assert torch.allclose(weight, wanted[name], atol=0, rtol=rtol), name


def test_stages_can_begin_from_the_weights_of_a_checkpoint(checkpoint, tmp_path):
    assert begin("text", checkpoint, tmp_path / "text") == 0
    state = torch.load(tmp_path / "text" / "text.pt")["text_model"]
    assert_same(state, weights_below(checkpoint, "cond_stage_model.transformer."))
    assert begin("unet", checkpoint, tmp_path / "unet") == 0
    average = torch.load(tmp_path / "unet" / "unet-64.pt")["average"]
    unet = {n.removeprefix("0."): w for n, w in average.items() if n.startswith("0.")}
    assert_same(unet, weights_below(checkpoint, "model.diffusion_model."))


def test_an_autoencoder_is_trained_on_in_the_units_of_the_code(checkpoint, tmp_path):
    model = load(checkpoint)
    autoencoder, folded = model.first_stage_model, weights_below(checkpoint, "first_stage_model.")
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        code = model.encode_first_stage(pictures)
        decoded = model.decode_first_stage(code)
        train_autoencoder(model, tmp_path, until=0, rate=0.0, begun=True)
        assert torch.allclose(autoencoder.encode(pictures).mode(), code, atol=1e-4)
        assert torch.allclose(autoencoder.decode(code), decoded, atol=1e-4)
    fold_scale(autoencoder, model.scale_factor)
    assert_same(autoencoder.state_dict(), folded, rtol=1e-3)


def test_only_the_branches_of_a_begun_autoencoder_learn(checkpoint, tmp_path):
    assert begin("autoencoder", checkpoint, tmp_path, "--rate", "1e-2") == 0
    state = torch.load(tmp_path / "autoencoder.pt")["autoencoder"]
    weights = weights_below(checkpoint, "first_stage_model.")
    assert torch.equal(state["decoder.conv_in.weight"], weights["decoder.conv_in.weight"].float())
    branch = "decoder.mid.block_1.conv2.weight"
    assert not torch.equal(state[branch], weights[branch].float())


def test_a_checkpoint_that_is_missing_is_refused_in_one_line(tmp_path, capsys):
    assert begin("text", tmp_path / "none.safetensors", tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_sample_depends_on_its_caption_and_seed_only():
    model = build(CONFIG)
    seeds = range(3, 6)
    scenes = [random_scene(np.random.default_rng(seed)) for seed in seeds]
    together = evaluate.sample_all(model, scenes, seeds, 2, 4.0, size=64)
    (alone,) = evaluate.sample_all(model, scenes[1:2], seeds[1:2], 2, 4.0, size=64)
    assert [picture.shape for picture in together] == [(64, 64, 3)] * 3
    assert abs(together[1].astype(int) - alone).max() <= 2
    assert abs(together[0].astype(int) - alone).max() > 2


def test_a_larger_picture_is_trained_at_as_much_more_noise():
    """Up to the end of the schedule; pictures of 256 pixels and less as ever."""
    alphas = load(SMALL).alphas_cumprod
    noise = ((1 - alphas) / alphas).sqrt()
    small, smaller, large = (
        _timesteps(alphas, size, 500, torch.Generator().manual_seed(0)) for size in (256, 64, 512)
    )
    assert torch.equal(small, smaller)
    inside = large < 999
    assert 0.5 < inside.float().mean() < 1
    torch.testing.assert_close(noise[large[inside]], 2 * noise[small[inside]], rtol=0.1, atol=0.05)
    assert (2 * noise[small[~inside]] > noise[998]).all()


def test_losses_are_kept_and_the_later_of_two_runs_counts(tmp_path):
    progress = loop.Progress("text", tmp_path)
    for loss, step in ((4.0, 50), (3.0, 100), (2.5, 100), (1.0, 150)):
        progress.add(torch.tensor(loss))
        progress.add(torch.tensor(loss + 1))
        progress.report(step)
    progress = loop.Progress("unet 64 px", tmp_path)
    progress.add(torch.tensor(0.25))
    progress.report(25)
    assert curve.read_losses(tmp_path / "losses.csv") == {
        "text": [(50, 4.5), (100, 3.0), (150, 1.5)],
        "unet 64 px": [(25, 0.25)],
    }


def test_a_curve_has_a_panel_for_each_stage(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "losses.csv").write_text("text,50,2.0\ntext,100,1.0\n")
    out = tmp_path / "pictures" / "training.png"
    assert curve.main(["--work", str(tmp_path), "--out", str(out)]) == 0
    one = Image.open(out).size
    with (tmp_path / "losses.csv").open("a") as history:
        history.write("unet 64 px,25,0.5\n")
    assert curve.main(["--work", str(tmp_path), "--out", str(out)]) == 0
    assert Image.open(out).size == (2 * one[0], one[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file"),
        ("", "the file is empty"),
        ("text,50,2.0\ntext,100\n", "line 2: expected stage,step,loss, got 'text,100'"),
        ("stage,step,loss\n", "line 1"),
        ("text,50,much\n", "line 1"),
    ],
)
def test_losses_that_cannot_be_drawn_are_refused_in_one_line(text, reason, tmp_path, capsys):
    if text is not None:
        (tmp_path / "losses.csv").write_text(text)
    assert curve.main(["--work", str(tmp_path), "--out", str(tmp_path / "curve.png")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "curve.png").exists()
