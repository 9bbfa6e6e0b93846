"""Training stages: reproducible, resumable, begun anew or from a checkpoint; their curves."""

from __future__ import annotations

import functools
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from standalone.model import autoencoder_stage, curve, loop
from standalone.model.autoencoder import Autoencoder
from standalone.model.autoencoder_start import start_as_resampling
from standalone.model.captioned import captioned, captioned_chunk
from standalone.model.curve import read_losses
from standalone.model.export import assemble, checkpoint_weights
from standalone.model.export import main as export
from standalone.model.latents import Latents
from standalone.model.noise import SCALE_FACTOR, add_noise, alphas_cumprod, timesteps_for
from standalone.model.scenes import random_simple_scene
from standalone.model.scenes.drawing import draw_batch
from standalone.model.scenes.sprites import load_sprites
from standalone.model.streams import Stream
from standalone.model.text_stage import train_text
from standalone.model.train import begin_from, new_networks
from standalone.model.train import main as train
from standalone.model.unet_stage import train_unet
from tests.networks import random_weights

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("sprites")


@pytest.fixture(scope="module")
def pictures(sprites):
    """(4, 3, 64, 64) in [-1, 1]."""
    return draw_batch(captioned_chunk(4, 0, 0).drawn, 64) * 2 - 1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "begun.safetensors"
    save_file(checkpoint_weights(random_weights()), path)
    return path


def unet_of(work, *, steps, seed=0, rate=1e-3, sizes=(64,)):
    """The state after so many steps in a folder."""
    work.mkdir(exist_ok=True)
    train_unet(
        **new_networks(seed), work=work, budget=loop.Budget(steps), sizes=sizes, batches=[2] *
        len(sizes), shares=[1 / len(sizes)] * len(sizes), rate=rate, hold=0.4, seed=seed, workers=0,
        device=CPU, begun=False, pool=8,
    )  # fmt: skip
    return torch.load(work / "unet.pt")


def flat(weights):
    return torch.cat([weight.flatten() for weight in weights.values()])


def test_the_untrained_autoencoder_averages_and_enlarges(pictures):
    autoencoder = new_networks(0)["autoencoder"]
    with torch.no_grad():
        start_as_resampling(autoencoder, pictures)
        latents = autoencoder.encode(pictures)
        rebuilt = autoencoder.decode(latents)
    coarse = torch.nn.functional.avg_pool2d(pictures, 8)
    enlarged = torch.nn.functional.interpolate(coarse, scale_factor=8)
    assert (rebuilt - pictures).abs().mean() < 2 * (enlarged - pictures).abs().mean()
    assert latents.mean((0, 2, 3)).abs().max() < 0.2
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.3


def test_folding_the_scale_changes_units_only(pictures):
    autoencoder = new_networks(0)["autoencoder"]
    pool = ((pictures + 1) * 127.5).round().to(torch.uint8)
    values = pool.float() / 127.5 - 1
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(values))
        autoencoder_stage.fold_scale(autoencoder, pool)
        latents = autoencoder.encode(values) * SCALE_FACTOR
        assert torch.allclose(autoencoder.decode(latents / SCALE_FACTOR), before, atol=1e-3)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_the_autoencoder_stage_goes_on_where_it_was(tmp_path, capsys):
    options = dict(
        rate=1e-3, seed=0, workers=0, device=CPU, sizes=(32, 64), pictures=8, piece=16, pieces=4
    )

    def trained(work, *stops):
        work.mkdir()
        for steps in stops:
            autoencoder = new_networks(0)["autoencoder"]
            stage = functools.partial(autoencoder_stage.train_autoencoder, autoencoder, work)
            stage(loop.Budget(steps), **options)
        return torch.load(work / "autoencoder.pt")

    state = trained(tmp_path / "twice", 2, 4)
    assert "autoencoder.pt: resumed at step 2" in capsys.readouterr().out
    assert state["step"] == 4
    assert flat(state["autoencoder"]).isfinite().all()


def test_a_text_stage_that_was_stopped_goes_on_where_it_was(tmp_path, capsys):
    def stage(steps):
        options = dict(rate=1e-3, seed=0, workers=0, device=CPU, batch=4)
        train_text(new_networks(0)["text"], tmp_path, loop.Budget(steps), **options)
        return torch.load(tmp_path / "text.pt")

    assert stage(2)["chunks"] == 2
    state = stage(3)
    assert "text.pt: resumed at step 2" in capsys.readouterr().out
    assert (state["step"], state["chunks"]) == (3, 3)


def test_the_unet_stage_depends_on_its_seed_only(tmp_path):
    torch.manual_seed(1)
    first = flat(unet_of(tmp_path / "first", steps=2)["average"])
    torch.manual_seed(2)
    again = flat(unet_of(tmp_path / "again", steps=2)["average"])
    other = flat(unet_of(tmp_path / "other", steps=2, seed=1)["average"])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_resumed_stage_takes_new_scenes_and_keeps_its_steps(tmp_path, capsys):
    before = unet_of(tmp_path, steps=1)
    after = unet_of(tmp_path, steps=2)
    assert "unet.pt: resumed at step 1" in capsys.readouterr().out
    assert (before["step"], after["step"]) == (1, 2)
    assert after["chunks"] > before["chunks"]


def test_sizes_take_their_shares_of_the_steps(tmp_path, monkeypatch):
    seen = []
    sample = Latents.sample
    monkeypatch.setattr(
        Latents, "sample", lambda self, *a: seen.append(self.size) or sample(self, *a)
    )
    unet_of(tmp_path, steps=4, rate=0.0, sizes=(64, 128))
    assert sorted(seen[:4]) == [64, 64, 128, 128]
    held_out = read_losses(tmp_path / "losses.csv")
    assert {"unet held out 64 px", "unet held out 128 px"} < set(held_out)


@pytest.fixture(scope="module")
def begun(checkpoint, tmp_path_factory):
    """The folder of a stage that began from a checkpoint and learned nothing."""
    folder = tmp_path_factory.mktemp("begun")
    options = ["--steps", "1", "--rate", "0", "--size", "64", "--batch", "2", "--share", "1"]
    assert train(["unet", "--from", str(checkpoint), "--work", str(folder), *options]) == 0
    return folder


def test_the_unets_stage_can_begin_from_a_checkpoint(begun):
    weights = random_weights()
    found = assemble(begun)
    assert {name.split(".")[0] for name in found} == {name.split(".")[0] for name in weights}
    for name, weight in found.items():
        wanted = weights[name].half().float()
        assert torch.allclose(weight, wanted, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("suffix", [".safetensors", ".pack"])
def test_what_has_been_trained_is_exported(suffix, begun, tmp_path, capsys):
    out = tmp_path / "new" / f"small{suffix}"
    assert export(["--work", str(tmp_path), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert export(["--work", str(begun), "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    again = new_networks(0)
    begin_from(again, out)
    trained = assemble(begun)["model.diffusion_model.out.2.weight"]
    torch.testing.assert_close(again["unet"].out[2].weight, trained, rtol=2**-8, atol=1e-6)


def test_a_stage_without_what_it_needs_is_refused_in_one_line(tmp_path, capsys):
    assert train(["unet", "--steps", "1", "--work", str(tmp_path)]) == 2
    assert "autoencoder.pt" in capsys.readouterr().err
    missing = ["--from", str(tmp_path / "none.pack")]
    assert train(["unet", "--steps", "1", "--work", str(tmp_path), *missing]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "give --steps or --seconds"),
        (["--steps", "1", "--hold", "1"], "--hold must be in [0, 1), got 1"),
        (["--steps", "1", "--size", "64", "128", "256"], "need as many numbers each"),
    ],
)
def test_a_stage_refuses_options_out_of_range(options, told, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(["unet", "--work", str(tmp_path / "work"), *options])
    assert told in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_the_rate_rises_holds_and_falls():
    optimizer = loop.make_optimizer(torch.nn.Linear(1, 1).parameters(), CPU)

    def rate(step, progress, hold):
        loop.set_rate(optimizer, 0.5, step, progress, hold)
        return optimizer.param_groups[0]["lr"]

    assert rate(25, 0.0, 0.4) == pytest.approx(0.125)
    assert {rate(step, 0.4, 0.4) for step in (100, 400)} == {0.5}
    falling = [rate(500, progress, 0.4) for progress in (0.5, 0.7, 0.9, 1.0)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(0.01)
    optimizer.param_groups[0]["share"] = 0.1
    assert rate(100, 0.0, 0.0) == pytest.approx(0.05)


def test_a_budget_ends_after_its_steps_or_its_seconds():
    assert list(loop.Budget(steps=3)) == [1, 2, 3]
    resumed = loop.Budget(steps=5)
    resumed.resume(3, 10.0)
    assert list(resumed) == [4, 5]
    spent = loop.Budget(seconds=0.05)
    for _ in spent:
        time.sleep(0.01)
    assert 1 <= spent.step <= 5
    assert spent.progress == 1


def test_scenes_are_the_same_however_many_processes_make_them():
    make = functools.partial(captioned_chunk, 3)
    streams = [Stream(make, 5, workers) for workers in (0, 2)]
    try:
        for _ in range(4):
            alone, shared = (stream.next() for stream in streams)
            assert (alone.tokens == shared.tokens).all()
            assert (alone.drawn.objects == shared.drawn.objects).all()
        later = Stream(make, 5, 0, first=3).next()
        assert (later.tokens == shared.tokens).all()
    finally:
        for stream in streams:
            stream.close()


def test_the_newest_latents_take_the_place_of_the_oldest():
    class Mean(Autoencoder):
        def encode(self, x):
            return torch.nn.functional.avg_pool2d(x, 8)[:, [0, 1, 2, 0]]

    pool, sprites = Latents(32, 4, CPU), load_sprites()
    scenes = [random_simple_scene(generator) for generator in map(np.random.default_rng, range(6))]
    for part in (scenes[:4], scenes[4:]):
        pool.add(captioned(part), Mean(), sprites, torch.float32)
    empty = torch.zeros(77, dtype=torch.long)
    latents, tokens = pool.sample(200, empty, torch.Generator().manual_seed(0))
    assert pool.added == 6
    wanted = {tuple(row) for row in captioned(scenes[2:]).tokens.tolist()}
    found = {tuple(row) for row in tokens.tolist()}
    assert found == wanted | {tuple(empty.tolist())}
    assert 0.02 < (tokens == empty).all(1).float().mean() < 0.2
    assert latents.shape == (200, 4, 4, 4)


def test_a_larger_picture_is_trained_at_as_much_more_noise_half_of_the_time():
    """Up to the end of the schedule; pictures of 256 pixels and less as ever."""
    alphas = alphas_cumprod()
    noise = ((1 - alphas) / alphas).sqrt()
    small, smaller, large = (
        timesteps_for(side, 2000, alphas, torch.Generator().manual_seed(0)) for side in (32, 8, 64)
    )
    assert torch.equal(small, smaller)
    moved = large != small
    assert 0.4 < moved.float().mean() < 0.55
    inside = moved & (large < 999)
    torch.testing.assert_close(noise[large[inside]], 2 * noise[small[inside]], rtol=0.1, atol=0.05)


def test_noise_has_the_schedules_share_and_an_offset_for_each_channel():
    generator = torch.Generator().manual_seed(0)
    alphas, latents = alphas_cumprod(), torch.ones(64, 4, 32, 32)
    timesteps = torch.full((64,), 600)
    noisy, noise = add_noise(latents, timesteps, alphas, generator)
    signal = alphas[600]
    assert torch.allclose(noisy, signal.sqrt() * latents + (1 - signal).sqrt() * noise)
    assert noise.var() == pytest.approx(1.01, abs=0.02)
    assert noise.mean((2, 3)).std() == pytest.approx((0.1**2 + 1 / 1024) ** 0.5, rel=0.15)


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
