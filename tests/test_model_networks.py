"""The networks that are trained compute what ldm and transformers compute with their weights."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from standalone.checkpoint import CheckpointError, load
from standalone.model.autoencoder import Autoencoder
from standalone.model.export import POSITIONS, TEXT, checkpoint_weights
from standalone.model.noise import SCALE_FACTOR, alphas_cumprod
from standalone.model.sampling import Sampler
from standalone.model.text_model import TextModel
from standalone.model.unet import UNet
from standalone.model.words import LENGTH, table, tokens_of, used_tokens, vocabulary, words_of
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from tests.networks import CONFIG, random_model

CAPTIONS = ["a fox in a meadow", "two mirrored butterflies, lavender background"]


@pytest.fixture(scope="module")
def theirs():
    return random_model()


@pytest.fixture(scope="module")
def tokens():
    return torch.tensor([tokens_of(caption)[0] for caption in CAPTIONS])


def test_the_text_model_is_clips(theirs, tokens):
    ours = TextModel()
    weights = theirs.cond_stage_model.transformer.state_dict()
    positions = POSITIONS.removeprefix(TEXT)
    ours.load_state_dict({name: w for name, w in weights.items() if name != positions})
    torch.testing.assert_close(ours(tokens), theirs.get_learned_conditioning(CAPTIONS))


def test_the_unet_is_ldms(theirs, tokens):
    ours = UNet()
    ours.load_state_dict(theirs.model.diffusion_model.state_dict())
    context = theirs.get_learned_conditioning(CAPTIONS)
    generator = torch.Generator().manual_seed(1)
    x, timesteps = torch.randn(2, 4, 16, 24, generator=generator), torch.tensor([10, 900])
    wanted = theirs.apply_model(x, timesteps, context)
    torch.testing.assert_close(ours(x, timesteps, context), wanted, rtol=1e-4, atol=1e-4)
    half = ours(x.bfloat16(), timesteps, context.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - wanted).norm() < 0.1 * wanted.norm()


def test_the_autoencoder_is_ldms(theirs):
    ours = Autoencoder()
    ours.load_state_dict(theirs.first_stage_model.state_dict())
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents = theirs.encode_first_stage(x)
    torch.testing.assert_close(ours.encode(x) * SCALE_FACTOR, latents, rtol=1e-4, atol=1e-4)
    decoded = theirs.decode_first_stage(latents)
    torch.testing.assert_close(ours.decode(latents / SCALE_FACTOR), decoded, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def checkpoint(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "random.safetensors"
    save_file(checkpoint_weights(theirs.state_dict()), path)
    shutil.copy(CONFIG, path.with_suffix(".yaml"))
    return path


def test_samples_are_those_of_the_host(checkpoint):
    options = dict(steps=3, cfg_scale=4.0, width=64, height=64, sampler_name="Euler")
    request = Processing(load(checkpoint), prompt=CAPTIONS[0], seed=7, **options)
    wanted = np.asarray(process_images(request, ScriptRunner()).images[0]).astype(int)
    (found,) = Sampler(checkpoint).sample(CAPTIONS[:1], [7], 64, 3, 4.0)
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() <= 2


def test_a_sample_depends_on_its_caption_and_seed_only(checkpoint):
    sampler = Sampler(checkpoint)
    together = sampler.sample([*CAPTIONS, CAPTIONS[0]], [3, 4, 5], 64, 2, 4.0)
    (alone,) = sampler.sample(CAPTIONS[1:], [4], 64, 2, 4.0)
    assert abs(together[1].astype(int) - alone).max() <= 2
    assert abs(together[0].astype(int) - alone).max() > 2
    assert abs(together[0].astype(int) - together[2]).max() > 2


def test_another_model_cannot_be_sampled(tmp_path):
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(4)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not the small model"):
        Sampler(tmp_path / "x.safetensors")


def test_the_schedule_is_the_loaded_models(theirs):
    torch.testing.assert_close(alphas_cumprod(), theirs.alphas_cumprod)


def test_captions_have_the_numbers_that_clips_tokenizer_gives(theirs):
    tokenizer = theirs.cond_stage_model.tokenizer
    captions = ["", *CAPTIONS, *vocabulary()[:200]]
    wanted = tokenizer(captions, truncation=True, max_length=LENGTH, padding="max_length")
    for caption, numbers in zip(captions, wanted["input_ids"]):
        found, length = tokens_of(caption)
        assert found == numbers, caption
        assert found.index(49407) == length - 1


def test_the_table_has_every_word_of_captions_and_no_other():
    words = {word for text in vocabulary() for word in words_of(text)}
    assert words == set(table())
    assert {number for word in words for number in table()[word]} < set(used_tokens())
    with pytest.raises(KeyError):
        tokens_of("a zeppelin")
