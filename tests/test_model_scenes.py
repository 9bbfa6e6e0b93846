"""The drawn pictures, their captions and the judge that looks at samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standalone.model.analyse import analyse, best_shape
from standalone.model.scenes import (
    COLOURS,
    PLAIN_WORDING,
    SHAPES,
    WORDINGS,
    Scene,
    draw,
    random_scene,
    signed_distance,
)

RED_CIRCLE = Scene(
    shape="circle",
    colour="red",
    background="blue",
    count=1,
    texture="plain",
    positions=((0.5, 0.5),),
    radius=0.3,
    angle=0.0,
    shade=0.0,
)


def test_captions_read_naturally():
    orange = dataclasses.replace(RED_CIRCLE, colour="orange", background="orange", shade=0.3)
    several = dataclasses.replace(RED_CIRCLE, count=3, texture="striped", wording=WORDINGS[3])
    assert RED_CIRCLE.caption == "a red circle on a blue background"
    assert orange.caption == "an orange circle on an orange gradient background"
    assert several.caption == "three striped red circles, blue background"


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_scene_names_what_it_draws_and_is_reproducible(seed):
    scene = random_scene(np.random.default_rng(seed))
    assert scene == random_scene(np.random.default_rng(seed))
    assert scene.colour != scene.background
    for word in (scene.colour, scene.background, scene.shape):
        assert word in scene.caption
    assert (draw(scene, 32) == draw(scene, 32)).all()


def test_most_captions_have_the_plain_form():
    scenes = [random_scene(np.random.default_rng(seed)) for seed in range(500)]
    assert np.mean([scene.wording == PLAIN_WORDING for scene in scenes]) >= 0.5


def test_edges_are_antialiased_and_the_rest_is_flat():
    picture = draw(RED_CIRCLE, 64)
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    flat = {tuple(colour) for colour, count in zip(colours, counts) if count > 100}
    assert flat == {COLOURS["red"], COLOURS["blue"]}
    assert len(colours) > 10


@pytest.mark.parametrize("shape", SHAPES)
def test_the_judge_knows_each_shape_at_any_size(shape):
    y, x = np.mgrid[0:120, 0:140].astype(float)
    for radius in (20, 45):
        mask = signed_distance(shape, (x - 70) / radius, (y - 60) / radius) < 0
        name, overlap = best_shape(mask)
        assert name == shape
        assert overlap > 0.95


def test_the_judge_finds_nothing_in_a_flat_picture():
    flat = np.broadcast_to(np.array(COLOURS["green"], np.uint8), (64, 64, 3))
    seen = analyse(flat)
    assert (seen.background, seen.count, seen.shape) == ("green", 0, "nothing")


def test_the_judge_is_right_about_drawn_scenes():
    scenes = [random_scene(np.random.default_rng(20_000_000 + seed)) for seed in range(60)]
    right = 0
    for scene in scenes:
        seen = analyse(draw(scene, 256))
        found = (seen.background, seen.colour, seen.shape, seen.count)
        right += found == (scene.background, scene.colour, scene.shape, scene.count)
    assert right / len(scenes) >= 0.97
