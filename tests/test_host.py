"""The embedded host: generation from the command line and from Python, on the small model."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from transformers import CLIPTokenizer

from slothful import METHODS
from standalone.__main__ import main
from standalone.checkpoint import SMALL, CheckpointError, load, text_model_of, unpacked
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from standalone.samplers import SAMPLERS
from tests.unets import module_state

STRONG = {"in_slothful": 12, "out_slothful": 9, "time_decay": 0}


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def generate(model, args=None, **values):
    """Pictures as arrays; small ones, a few steps."""
    options = dict(prompt="a red circle on a blue background", width=64, height=64, steps=3)
    request = Processing(model, **{**options, **values})
    processed = process_images(request, ScriptRunner([args] if args is not None else None))
    return [np.asarray(image) for image in processed.images], processed


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_is_reproducible_and_off_is_untouched(model, sampler):
    before = module_state(model.model.diffusion_model)
    state = torch.random.get_rng_state()
    plain = generate(model, sampler_name=sampler)[0][0]
    changed = generate(model, STRONG, sampler_name=sampler)[0][0]
    assert not np.array_equal(plain, changed)
    assert np.array_equal(generate(model, STRONG, sampler_name=sampler)[0][0], changed)
    off = {**STRONG, "enabled": False}
    assert np.array_equal(generate(model, off, sampler_name=sampler)[0][0], plain)
    assert module_state(model.model.diffusion_model) == before
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM++ 2M"])
def test_a_picture_does_not_depend_on_its_batch(model, sampler):
    options = dict(sampler_name=sampler, args=STRONG)
    batched = generate(model, batch_size=2, **options)[0]
    counted = generate(model, n_iter=2, **options)[0]
    alone = generate(model, seed=1, **options)[0][0]
    for pictures in (batched, counted):
        assert np.abs(pictures[1].astype(int) - alone.astype(int)).max() <= 1


def test_passes_are_told_apart(model):
    hires = dict(enable_hr=True, hr_scale=1.5, denoising_strength=0.7)
    made = [generate(model, **hires)[0][0]]
    made += [
        generate(model, {**STRONG, "passes": passes}, **hires)[0][0]
        for passes in ("base", "hires", "both")
    ]
    assert all(picture.shape == (96, 96, 3) for picture in made)
    assert all(not np.array_equal(a, b) for i, a in enumerate(made) for b in made[i + 1 :])


def test_the_pass_clock_gives_img2img_the_whole_schedule(model):
    """At a weak denoising strength the noise axis hardly reaches an early peak."""
    start = Image.fromarray(generate(model)[0][0])
    options = dict(init_images=[start], denoising_strength=0.3, steps=10)
    early = {**STRONG, "peak_time": 0, "time_decay": 4}
    plain, by_noise, by_pass = (
        generate(model, args, **options)[0][0]
        for args in (None, early, {**early, "time_axis": "pass progress"})
    )
    assert np.array_equal(plain, by_noise)  # the strength stays below 1 all the time
    assert not np.array_equal(plain, by_pass)


@pytest.mark.parametrize("kind", ["base", "hires", "img2img"])
def test_the_pass_clock_runs_without_the_denoisers_callback_too(model, kind, monkeypatch):
    """Extensions that replace the denoiser may not call it."""
    from modules import script_callbacks

    options = {"base": {}, "hires": dict(enable_hr=True, hr_scale=1.5, hr_second_pass_steps=2)}
    picture = Image.new("RGB", (64, 64), "red")
    options["img2img"] = dict(init_images=[picture], denoising_strength=0.6, steps=5)
    args = {**STRONG, "time_axis": "pass progress", "time_decay": 2, "peak_time": 0.5}
    told = generate(model, args, **options[kind])[0][0]
    monkeypatch.setattr(script_callbacks, "cfg_denoiser_callback", lambda params: None)
    assert np.array_equal(generate(model, args, **options[kind])[0][0], told)


def test_a_setting_that_is_not_allowed_fails_the_generation(model):
    with pytest.raises(RuntimeError, match="peak_time must be between 0 and 1, got 3"):
        generate(model, {"peak_time": 3})
    assert generate(model)  # and the next one works


def test_interrupting_returns_what_there_is(model):
    from modules import shared

    plain = generate(model)[0][0]
    shared.state.interrupted = True
    try:
        pictures, _ = generate(model, STRONG)
    finally:
        shared.state.interrupted = False
    assert pictures[0].shape == (64, 64, 3)
    assert np.array_equal(generate(model)[0][0], plain)


def test_sizes_that_the_levels_do_not_divide(model):
    picture = generate(model, STRONG, width=136, height=72)[0][0]
    assert picture.shape == (72, 136, 3)


# -- the command line


def run_cli(tmp_path, *arguments):
    return main([*arguments, "--out", str(tmp_path)])


def test_png_carries_the_infotext_where_the_webui_looks_for_it(tmp_path, capsys):
    prompt = "a fox in a meadow"
    options = ["--size", "64x64", "--steps", "2", "--enable", "--in-v-blend", "0.5"]
    assert run_cli(tmp_path, "txt2img", "--prompt", prompt, "--seed", "7", *options) == 0
    path = tmp_path / "txt2img-7.png"
    infotext = Image.open(path).text["parameters"]
    assert infotext.startswith(f"{prompt}\nSteps: 2, Sampler: Euler, ")
    assert "Seed: 7, Size: 64x64" in infotext
    assert infotext.endswith("Slothful Attention: v2; in_v_blend=0.5")
    assert infotext in capsys.readouterr().out
    again = ["--image", str(path), "--size", "64x64", "--steps", "4"]
    assert run_cli(tmp_path, "img2img", *again) == 0
    assert "Denoising strength: 0.7" in Image.open(tmp_path / "img2img-7.png").text["parameters"]


def test_the_grid_shows_every_method_with_its_time(tmp_path, capsys):
    assert run_cli(tmp_path, "grid", "--size", "64x64", "--steps", "1") == 0
    table = capsys.readouterr().out
    for name in ("off", *METHODS):
        assert name in table
        assert (tmp_path / f"grid-{name}.png").is_file()
    assert Image.open(tmp_path / "grid.png").size == (4 * 64, 2 * (64 + 24))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--in-k-blend", "1.7"], "in_k_blend must be between 0 and 1, got '1.7'"),
        (["--peak-time", "nan"], "peak_time must be between 0 and 1, got 'nan'"),
        (["--method", "Foo"], "method must be one of Slothful Attention, Near-sighted Tile"),
        (["--size", "100x96"], "width must be a multiple of 8, got 100"),
        (["--size", "big"], "size must be WIDTHxHEIGHT"),
        (["--size", "128x8000"], "height must be between 64 and 2048, got 8000"),
        (["--steps", "0"], "steps must be between 1 and 150, got 0"),
        (["--cfg-scale", "nan"], "cfg_scale must be between 1 and 30, got nan"),
        (["--sampler", "X"], "sampler must be one of Euler, Euler a"),
        (["--model", "nowhere.safetensors"], "nowhere.safetensors: no such checkpoint"),
        (["--model", __file__], "not a safetensors file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, message):
    assert run_cli(tmp_path, "txt2img", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert message in error


def test_an_unreadable_picture_is_one_line_and_status_2(tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    for path in (broken, tmp_path / "missing.png"):
        assert run_cli(tmp_path, "img2img", "--image", str(path)) == 2
        assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("config", ["{}", "{params: {version: openai/clip-vit-large-patch14}}"])
def test_published_configurations_get_clips_large_text_model(config, tmp_path):
    folder, shape = text_model_of(OmegaConf.create(config), tmp_path)
    assert (shape.hidden_size, shape.num_hidden_layers, shape.vocab_size) == (768, 12, 49408)
    assert list(tmp_path.iterdir()) == []
    tokens = CLIPTokenizer.from_pretrained(str(folder))("a photo of a cat")["input_ids"]
    assert tokens == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_checkpoints_of_other_families_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(unpacked(SMALL))
    (tmp_path / "x.yaml").write_text(SMALL.with_suffix(".yaml").read_text())
    path = tmp_path / "x.safetensors"
    key = "model.diffusion_model.out.2.weight"
    for change, message in (
        ({k: v for k, v in weights.items() if "cond_stage" not in k}, "not an SD1 checkpoint"),
        ({k: v for k, v in weights.items() if k != key}, f"it lacks '{key}'"),
        ({**weights, key: weights[key][:2].clone()}, f"'{key}' has shape"),
    ):
        save_file(change, path)
        with pytest.raises(CheckpointError, match=message):
            load(path)
    path.with_suffix(".yaml").unlink()
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"x\.yaml: no such configuration"):
        load(path)
