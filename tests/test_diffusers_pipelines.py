"""Whole pipelines of diffusers, with tiny models: schedules, adapters, offloading, the README."""

import contextlib
import re
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import slothful
import slothful_diffusers
from slothful import Settings
from slothful.unet.obstacles import NO_NEGATIVE, UNKNOWN_ROWS
from standalone.model.tokenizer import TEXT_MODEL, ensure_tokenizer
from tests.halves import attending
from tests.negatives import one_sided
from tests.sleeping import sleeping
from tests.test_hooks import STRONG
from tests.twins import make_empty
from tests.unets import module_state

ROOT = Path(__file__).resolve().parents[1]
TRAINED = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    """A pipeline of SD1's layout, images of 64x64; random weights."""
    tokenizer = ensure_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    sizes = dict(hidden_size=24, intermediate_size=24, projection_dim=24, num_hidden_layers=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = StableDiffusionPipeline(
            AutoencoderKL(
                block_out_channels=[32] * 4,
                down_block_types=["DownEncoderBlock2D"] * 4,
                up_block_types=["UpDecoderBlock2D"] * 4,
                latent_channels=4,
            ),
            CLIPTextModel(CLIPTextConfig(**{**TEXT_MODEL, **sizes})),
            CLIPTokenizer.from_pretrained(tokenizer),
            make_empty("sd1", sample_size=8),
            DDIMScheduler(**TRAINED, set_alpha_to_one=False, steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextlib.contextmanager
def scheduled(pipe, kind, **changes):
    before = pipe.scheduler
    pipe.scheduler = kind.from_config(before.config, **changes)
    yield pipe
    pipe.scheduler = before


def generate(pipe, steps=5, **arguments) -> torch.Tensor:
    """A latent; the same every time."""
    generator = torch.Generator().manual_seed(0)
    return pipe(
        "a cat", num_inference_steps=steps, generator=generator, output_type="latent", **arguments
    ).images


def moments_of(pipe, application, **arguments):
    """The moment of each step."""
    moments = []

    def note(pipe, step, timestep, values):
        moments.append(application.moment)
        return values

    generate(pipe, callback_on_step_end=note, **arguments)
    return moments


@pytest.mark.parametrize(
    "kind",
    [
        DDIMScheduler,
        PNDMScheduler,
        EulerDiscreteScheduler,
        HeunDiscreteScheduler,
        DPMSolverMultistepScheduler,
    ],
)
def test_every_scheduler_runs_from_the_first_step_to_the_last(pipe, kind):
    settings = sleeping("self-attention", time_axis="pass progress")
    with (
        scheduled(pipe, kind, skip_prk_steps=True) as pipe,
        slothful_diffusers.applied(pipe, settings) as application,
    ):
        for steps in (5, 3):  # a pass after another
            moments = moments_of(pipe, application, steps=steps)
            expected = torch.linspace(0, 1, steps).tolist()
            assert sorted({m.time for m in moments}) == pytest.approx(expected)
            assert {m.pass_name for m in moments} == {"base"}
            assert all(m.times == pytest.approx(expected) for m in moments)
        assert application.asleep_steps > 1


def test_image_to_image_is_a_pass_of_its_own(pipe):
    settings = Settings(**STRONG, time_axis="pass progress")
    other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    with slothful_diffusers.applied(other, settings) as application:
        image = torch.zeros(1, 3, 64, 64)
        moments = moments_of(other, application, steps=6, image=image, strength=0.5)
    assert [m.pass_name for m in moments] == ["img2img"] * 3
    assert [m.time for m in moments] == [0, 0.5, 1]


def test_the_negative_side_of_a_pipeline_sleeps(pipe):
    counts = []
    handle = pipe.unet.conv_in.register_forward_hook(
        lambda module, args, output: counts.append(len(output))
    )
    with slothful_diffusers.applied(pipe, one_sided()) as application:
        generate(pipe, num_images_per_prompt=2)
        generate(pipe, guidance_scale=1.0)  # has none
    handle.remove()
    assert counts == [4, 2, 4, 2, 4] + [1] * 5
    assert application.one_sided_steps == 2
    assert application.negative_notes == ()


def test_a_negative_prompt_acts_at_a_guidance_scale_of_1(pipe):
    settings = attending(negative_alpha=1.0)
    plain = generate(pipe, guidance_scale=1.0)
    with slothful_diffusers.applied(pipe, settings) as application:
        assert torch.equal(generate(pipe, guidance_scale=1.0), plain)
    assert application.negative_notes == (NO_NEGATIVE,)
    images = []
    for text in ("a dog", "rain"):
        embeds = pipe.encode_prompt(text, "cpu", 1, False)[0]
        with slothful_diffusers.applied(pipe, settings, negative_prompt_embeds=embeds) as applied:
            images.append(generate(pipe, guidance_scale=1.0))
        assert applied.one_sided_steps == applied.step_count == 5
    assert not any(torch.equal(*pair) for pair in ((images[0], plain), images))
    # what the pipeline has itself acts alike
    with slothful_diffusers.applied(pipe, settings):
        both = generate(pipe, negative_prompt="rain", guidance_scale=7.0)
    torch.testing.assert_close(both, images[1], rtol=1e-3, atol=1e-3)


def test_where_a_pipeline_does_not_tell_of_rows_both_sides_are_computed(pipe):
    class Guided(StableDiffusionPipeline):
        """Guides by an image as well."""

        image_guidance_scale = 1.5

    other = Guided(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    with slothful_diffusers.applied(other, one_sided()) as application:
        generate(other)
    assert application.one_sided_steps == 0
    assert application.negative_notes == (UNKNOWN_ROWS,)


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_whole_calls_that_sleep_repeat_the_denoised_image(pipe, kind, prediction):
    """Whatever the model predicts, and however the scheduler scales latents."""
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(1, 7, 24, generator=generator)
    with scheduled(pipe, kind, prediction_type=prediction) as pipe:
        scheduler, unet = pipe.scheduler, pipe.unet
        scheduler.set_timesteps(6)
        latent = torch.randn(1, 4, 16, 16, generator=generator) * scheduler.init_noise_sigma
        denoised = []
        with slothful_diffusers.applied(pipe, sleeping("whole calls")) as application:
            for timestep in scheduler.timesteps:
                given = scheduler.scale_model_input(latent, timestep)
                output = unet(given, timestep, encoder_hidden_states=context).sample
                step = scheduler.step(output, timestep, latent)
                latent = step.prev_sample
                denoised.append(step.pred_original_sample)
    assert application.asleep_steps == 3
    for awake, asleep, following in zip(denoised[::2], denoised[1::2], denoised[2::2]):
        scale = float(awake.abs().max())
        assert float((asleep - awake).abs().max()) < 1e-4 * scale
        assert float((following - awake).abs().max()) > 1e-3 * scale


def test_whole_calls_need_a_known_prediction(pipe):
    with pytest.raises(slothful.SettingsError, match="FlowMatchEulerDiscreteScheduler"):
        slothful_diffusers.prediction_of(FlowMatchEulerDiscreteScheduler())
    before = module_state(pipe.unet)
    with (
        scheduled(pipe, DDIMScheduler, prediction_type="flow") as pipe,
        pytest.raises(slothful.SettingsError, match="prediction_type 'flow'"),
        slothful_diffusers.applied(pipe, sleeping("whole calls")),
    ):
        pass
    assert module_state(pipe.unet) == before


@pytest.mark.parametrize("settings", [Settings(**STRONG), sleeping("deep blocks")])
def test_offloaded_models_give_the_same_image(pipe, settings):
    with slothful_diffusers.applied(pipe, settings):
        expected = generate(pipe, steps=3)
    assert not torch.equal(expected, generate(pipe, steps=3))
    pipe.enable_model_cpu_offload(device="cpu")
    with slothful_diffusers.applied(pipe, settings) as application:
        assert torch.equal(generate(pipe, steps=3), expected)
    pipe.remove_all_hooks()
    assert application.notes == {}


OFFLOADED = {
    "pooled": Settings(**STRONG),
    "merged": Settings(method="Token Merging", merge_cross=True, merge_mlp=True),
    "asleep": sleeping("transformers"),
}


@pytest.mark.parametrize("settings", OFFLOADED.values(), ids=OFFLOADED)
def test_weights_may_be_elsewhere_until_their_layer_is_called(settings):
    """As `enable_sequential_cpu_offload` has those of a pipeline's U-Net."""
    unet = make_empty("sd1")
    latent, context = torch.ones(1, 4, 16, 16), torch.ones(1, 7, 24)

    def run():
        with slothful.applied(unet, settings) as application:
            application.begin_pass("base", slothful.PassClock((900.0, 600.0, 300.0)))
            output = [unet(latent, step, context).sample for step in (900.0, 600.0, 300.0)][-1]
        assert application.why_nothing() is None
        assert application.notes == {}
        return output

    expected = run()
    cpu_offload(unet, torch.device("cpu"))
    assert all(weight.device.type == "meta" for weight in unet.parameters())
    assert torch.equal(run(), expected)


def test_lora_acts_as_if_it_were_in_the_weights():
    unet = make_empty("sd1")
    latent, context = torch.ones(1, 4, 24, 32), torch.ones(1, 7, 24)
    tiles = Settings(method="Near-sighted Tile", tile_size=16, kept_token="jittered")
    outputs = [unet(latent, 600, context).sample]
    parts = ["to_q", "to_k", "to_v", "to_out.0"]
    with torch.random.fork_rng():
        unet.add_adapter(LoraConfig(r=4, target_modules=parts, init_lora_weights=False))
    for _ in range(2):
        with slothful.applied(unet, tiles) as application:
            outputs.append(unet(latent, 600, context).sample)
        assert application.applied_sites
        assert application.notes == {}
        unet.fuse_lora()
    plain, beside, inside = outputs
    assert float((beside - plain).abs().max()) > 1e-3
    assert float((beside - inside).abs().max()) < 1e-5


def test_ip_adapter_composes_and_keeps_its_regions():
    unet = make_empty("sd1")
    generator = torch.Generator().manual_seed(0)
    weights = {
        "image_proj": {
            "proj.weight": torch.randn(4 * 24, 16, generator=generator),
            "proj.bias": torch.zeros(4 * 24),
            "norm.weight": torch.ones(24),
            "norm.bias": torch.zeros(24),
        },
        "ip_adapter": {},
    }
    crosses = [name for name in unet.attn_processors if "attn2" in name]
    for index, name in enumerate(crosses):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("k", "v"):
            key = f"{2 * index + 1}.to_{part}_ip.weight"
            weights["ip_adapter"][key] = torch.randn(width, 24, generator=generator)
    unet._load_ip_adapter_weights([weights])
    latent = torch.randn(1, 4, 16, 16, generator=generator)
    context = torch.randn(1, 7, 24, generator=generator)

    def run(image, **attention):
        conditions = {"image_embeds": [torch.full((1, 1, 16), image)]}
        return unet(
            latent, 600, context, added_cond_kwargs=conditions, cross_attention_kwargs=attention
        ).sample

    masks = [torch.ones(1, 1, 32, 32)]
    with slothful.applied(unet, Settings(**STRONG)) as application:
        first = run(1.0)
        assert not torch.equal(first, run(-1.0))
        run(1.0, ip_adapter_masks=masks)
    assert not torch.equal(first, run(1.0))
    assert application.notes == {}
    merging = Settings(method="Token Merging", merge_cross=True)
    with slothful.applied(unet, merging) as application:
        run(1.0)
        assert application.notes == {}
        expected = run(1.0, ip_adapter_masks=masks)
    assert set(application.notes.values()) == {"another extension changes its cross-attention"}
    assert torch.equal(run(1.0, ip_adapter_masks=masks), expected)


def test_the_readme_example_runs(pipe, tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?slothful_diffusers.*?)```", readme, re.DOTALL)[1]
    assert len(code.splitlines()) == 5
    pipe.save_pretrained(tmp_path / "model")
    name = re.search(r'from_pretrained\("([^"]*)"\)', code)[1]
    monkeypatch.chdir(tmp_path)
    exec(code.replace(name, str(tmp_path / "model")), {})
    assert (tmp_path / "cat.png").is_file()
