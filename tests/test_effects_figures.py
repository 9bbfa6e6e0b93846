"""What the study measures, and how it judges the claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, stats

from benchmarks.effects.claims import CLAIMS, as_markdown, judge_claims
from benchmarks.effects.metrics import fidelity, likeness, looks, seam_energy
from benchmarks.effects.table import Table, interval
from standalone.model.scenes import KINDS, draw, random_simple_scene

SCENE = random_simple_scene(np.random.default_rng(3))
PICTURE = draw(SCENE, 192)


def blurred(picture, sigma=2.0):
    return ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0)).astype(np.uint8)


def test_blur_takes_sharpness_and_high_frequencies():
    sharp, soft = looks(PICTURE), looks(blurred(PICTURE))
    assert soft["sharpness"] < 0.5 * sharp["sharpness"]
    assert soft["high_frequency"] < 0.7 * sharp["high_frequency"]


def test_contrast_and_saturation_follow_their_scaling():
    gray = np.full_like(PICTURE, 128)
    half = (PICTURE.astype(float) / 2 + 64).astype(np.uint8)
    assert looks(half)["contrast"] == pytest.approx(looks(PICTURE)["contrast"] / 2, rel=0.03)
    assert looks(gray) == dict.fromkeys(looks(gray), 0.0)
    pale = np.repeat(PICTURE.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    assert looks(pale)["saturation"] == 0


def test_high_frequency_is_the_energy_of_short_waves():
    x = np.arange(192)
    for period, share in ((4, 1.0), (32, 0.0)):
        wave = 128 + 60 * np.sin(2 * np.pi * x / period)
        picture = np.broadcast_to(wave[None, :, None], (192, 192, 3)).astype(np.uint8)
        assert looks(picture)["high_frequency"] == pytest.approx(share, abs=0.02)


def test_a_picture_is_like_itself_and_less_like_others():
    # MS-SSIM is computed in single precision
    assert likeness(PICTURE, PICTURE) == pytest.approx(
        dict(ssim=1, ms_ssim=1, mask_iou=1, distance=0), abs=1e-3
    )
    little, much = (likeness(blurred(PICTURE, sigma), PICTURE) for sigma in (1, 6))
    assert much["ssim"] < little["ssim"] < 1
    assert much["ms_ssim"] < little["ms_ssim"] < 1
    assert much["distance"] > little["distance"] > 0
    moved = likeness(np.roll(PICTURE, 40, axis=1), PICTURE)
    assert moved["mask_iou"] < 0.7


def test_a_drawn_scene_is_true_to_its_caption_and_to_no_other():
    assert fidelity(PICTURE, SCENE) == dict(colour=1, shape=1, count=1, caption=1)
    for seed in range(4, 10):
        other = random_simple_scene(np.random.default_rng(seed))
        if other.parts != SCENE.parts:
            assert fidelity(draw(other, 192), SCENE)["caption"] == 0
    for kind in ("related", "landscape", "thing"):
        scene = KINDS[kind][1](np.random.default_rng(0))
        found = fidelity(PICTURE, scene, kind)
        assert found.pop("caption") == 0
        assert all(math.isnan(value) for value in found.values())


def test_seam_energy_rises_with_a_step_at_the_border():
    generator = np.random.default_rng(0)
    noise = generator.integers(100, 110, (192, 192, 1)).repeat(3, 2)
    assert seam_energy(noise.astype(np.uint8), ((64,), (64, 128))) == pytest.approx(1, abs=0.1)
    stepped = noise.copy()
    stepped[64:] += 40
    assert seam_energy(stepped.astype(np.uint8), ((64,), ())) > 5
    assert math.isnan(seam_energy(PICTURE, ((), ())))


def test_the_interval_is_near_the_one_of_normal_errors():
    values = np.random.default_rng(1).normal(3.0, 2.0, 200)
    found = interval([*values, math.nan])
    low, high = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (found.mean, found.count) == (pytest.approx(values.mean()), 200)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))
    assert interval([*values, math.nan]) == found
    assert math.isnan(interval([1.0]).low)
    assert interval([2.0, 2.0]).low == interval([2.0, 2.0]).high == 2


def rows(variant, spread=0.01, **measures):
    """Six pictures; a measure's values are spread around the given one."""
    around = np.linspace(-spread, spread, 6)
    return [
        {"task": "txt2img", "variant": variant, "prompt": str(i), "seed": "1",
         **{name: str(value + around[i]) for name, value in measures.items()}}
        for i in range(6)
    ]  # fmt: skip


def verdict(found, text):
    return next(claim.verdict for claim in found if claim.text == text)


def test_a_claim_is_answered_by_the_side_on_which_its_intervals_lie():
    softens = "The average on values softens the image"
    changes = [
        (dict(sharpness_change=-0.3, high_frequency_change=-0.1), "yes"),
        (dict(sharpness_change=-0.3, high_frequency_change=0.1), "depends"),
        (dict(sharpness_change=0.3, high_frequency_change=0.0), "no"),
        # certainly too small to be seen, then as small, but a larger one is not excluded
        (dict(sharpness_change=-0.02, high_frequency_change=0.0), "no"),
        (dict(sharpness_change=-0.02, high_frequency_change=0.0, spread=0.1), "undecided"),
    ]
    for measures, expected in changes:
        names = [f"{d} AVG on V{when}" for d in ("1D", "2D") for when in ("", ", every step")]
        table = Table([row for name in names for row in rows(name, **measures)])
        found = judge_claims(table)
        assert verdict(found, softens) == expected
        assert verdict(found, "Zero-padded tiles hurt") == "not tested"
        assert f"| {softens} | **{expected}** |" in as_markdown(found)
    assert len(judge_claims(Table([]))) == len(CLAIMS)


def test_differences_are_between_pictures_of_the_same_prompt_and_seed():
    """The prompts differ by far more than the tiles do; the pairs tell them apart all the same."""
    table = Table([
        {"task": "txt2img", "variant": name, "prompt": str(i), "seed": "1", "seam_energy": str(e)}
        for i, level in enumerate((1.0, 5.0, 9.0, 20.0))
        for name, e in (("tiles 16, global 0", level),
                        ("tiles 16, global 0, alternating shift", level - 0.2 - 0.01 * i),
                        ("tiles 16, global 0, random shift", level - 0.1 - 0.01 * i))
    ])  # fmt: skip
    claim = next(c for c in judge_claims(table) if c.text.startswith("Shifting"))
    assert claim.verdict == "yes"
    assert claim.comparisons[0].found.mean == pytest.approx(-0.215)
