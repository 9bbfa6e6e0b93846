"""Each kind of scene shows what its caption says, at any size."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from standalone.model.scenes import KINDS, draw, random_scene
from standalone.model.scenes.canvas import COLOURS, colour_of
from standalone.model.scenes.depth import DepthScene, Light
from standalone.model.scenes.faces import FaceScene
from standalone.model.scenes.gradients import COURSES, GradientScene
from standalone.model.scenes.lines import LineScene
from standalone.model.scenes.textures import WEAVES, TextureScene
from standalone.model.scenes.wording import NUMBERS, PLAIN_WORDING
from standalone.model.text_stage import QUESTIONS

FACE = FaceScene(
    mood="smiling",
    colour="yellow",
    hair="no",
    background="blue",
    centre=(0.5, 0.52),
    width=0.27,
    height=0.33,
    eye_distance=0.42,
    hair_length=0.5,
    wording=PLAIN_WORDING,
)
LINES_SCENE = LineScene("parallel", "black", "white", 0.1, 0.008, 0.3, PLAIN_WORDING)
TEXTURE = TextureScene("striped", "red", "white", period=1 / 16, angle=0.0, speckles=1)


def scenes(kind: str, count: int) -> list:
    return [KINDS[kind][1](np.random.default_rng(seed)) for seed in range(count)]


def part_of(picture: np.ndarray, colour: str, other: str) -> np.ndarray:
    """How much of each pixel has the first of two colours, 0 to 1."""
    step = colour_of(colour) - colour_of(other)
    return (picture - colour_of(other)) @ step / (step @ step)


def has_colour(picture: np.ndarray, colour: str) -> np.ndarray:
    return (abs(picture - colour_of(colour)) <= 2).all(-1)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_scene_depends_on_its_seed_only_and_names_its_parts(kind, seed):
    scene, again = (KINDS[kind][1](np.random.default_rng(seed)) for _ in range(2))
    assert scene == again
    assert (draw(scene, 32) == draw(again, 32)).all()
    for answer in scene.parts.values():
        # one is said by an article, and what is plain is not said
        word = {1: "an?", "plain": ""}.get(answer, NUMBERS.get(answer, answer))
        assert re.search(rf"\b{word}s?\b", scene.caption), (word, scene.caption)


def test_every_question_is_asked_and_every_answer_is_known():
    given_answers = {name: set() for name in QUESTIONS}
    for kind in KINDS:
        for scene in scenes(kind, 150):
            for name, answer in scene.parts.items():
                given_answers[name].add(answer)
    assert given_answers == {name: set(answers) for name, answers in QUESTIONS.items()}


def test_kinds_come_as_often_as_declared():
    assert sum(part for part, _ in KINDS.values()) == pytest.approx(1)
    generator = np.random.default_rng(4)
    classes = Counter(type(random_scene(generator)) for _ in range(1500))
    for kind, (part, random_of_kind) in KINDS.items():
        found = classes[type(random_of_kind(generator))] / 1500
        assert found == pytest.approx(part, abs=4 * (part / 1500) ** 0.5), kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_picture_is_the_larger_one_seen_from_afar(kind):
    for scene in scenes(kind, 5):
        afar = scene.paint(256).reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert abs(afar - scene.paint(128)).mean() < 2, scene.caption


@pytest.mark.parametrize("size", [96, 256])  # 0.8 and 2 pixels thick
@pytest.mark.parametrize(
    ("arrangement", "length"),
    # a wave's length over its height: the mean of sqrt(1 + (0.3 * 2 pi / 2.5 * cos)^2)
    [("parallel", 1.0), ("concentric", 1.0), ("crossing", 2.0), ("wavy", 1.13)],
)
def test_thin_lines_cover_their_width_of_each_period(arrangement, length, size):
    scene = dataclasses.replace(LINES_SCENE, arrangement=arrangement)
    cover = part_of(scene.paint(size), "black", "white")
    line = scene.width / scene.period
    crossings = line**2 if arrangement == "crossing" else 0
    assert cover.mean() == pytest.approx(length * line - crossings, rel=0.08)


def test_radiating_lines_run_outwards_and_are_equally_thick_all_along():
    cover = part_of(
        dataclasses.replace(LINES_SCENE, arrangement="radiating").paint(256), "black", "white"
    )
    y, x = np.indices(cover.shape) - 127.5
    radius = np.hypot(x, y)
    rings = [(radius > low) & (radius <= low + 20) for low in (40, 60, 80, 100)]
    assert np.ptp([cover[ring].sum() for ring in rings]) < 0.1 * cover[rings[0]].sum()


@pytest.mark.parametrize(
    ("weave", "periods"), [("striped", 1), ("checked", 1), ("woven", 2), ("bricked", 2)]
)
def test_a_texture_repeats_with_its_period(weave, periods):
    picture = dataclasses.replace(TEXTURE, weave=weave).paint(256)
    shift = periods * 256 // 16
    assert abs(picture[:, shift:] - picture[:, :-shift]).max() < 2
    assert abs(picture[shift:] - picture[:-shift]).max() < 2
    assert abs(picture[:, shift // 2 :] - picture[:, : -shift // 2]).mean() > 20


@pytest.mark.parametrize("weave", WEAVES)
def test_a_texture_has_both_of_its_colours_and_blends_of_them(weave):
    picture = dataclasses.replace(TEXTURE, weave=weave).paint(256)
    part = part_of(picture, "red", "white")
    assert (part > 0.9).mean() > 0.15
    assert (part < 0.1).mean() > 0.15
    blend = colour_of("white") + part[..., None] * (colour_of("red") - colour_of("white"))
    assert abs(picture - blend).max() < 1


def test_speckles_have_no_order_but_a_seed():
    speckled = dataclasses.replace(TEXTURE, weave="speckled")
    picture, other = speckled.paint(256), dataclasses.replace(speckled, speckles=2).paint(256)
    assert abs(picture - other).mean() > 20
    assert abs(picture[:, 16:] - picture[:, :-16]).mean() > 20


@pytest.mark.parametrize("hair", ["black", "no"])
@pytest.mark.parametrize("mood", QUESTIONS["mood"])
def test_a_face_is_the_same_left_and_right_but_for_its_nose(mood, hair):
    picture = dataclasses.replace(FACE, mood=mood, hair=hair).paint(256)
    difference = abs(picture - picture[:, ::-1]).max(-1)
    y, x = np.indices(difference.shape) / 256 - np.array([FACE.centre[1], 0.5])[:, None, None]
    nose = (abs(x) < 0.18 * FACE.width) & (abs(y - 0.1 * FACE.height) < 0.2 * FACE.height)
    assert difference[~nose].max() < 1
    assert difference[nose].max() > 100


def test_a_mouth_smiles_hangs_or_stands_open():
    def heights(mood):
        picture = dataclasses.replace(FACE, mood=mood).paint(256)
        top = int(256 * (FACE.centre[1] + 0.3 * FACE.height))
        y, x = np.nonzero(has_colour(picture, "black")[top:])
        middle, corners = y[abs(x - 127.5) < 6], y[abs(x - 127.5) > 20]
        return middle.mean() - corners.mean() if len(corners) else None

    assert heights("smiling") > 4
    assert heights("sad") < -4
    assert heights("surprised") is None


def test_hair_is_there_when_the_caption_says_so():
    for hair in ("red", "no"):
        picture = dataclasses.replace(FACE, hair=hair).paint(256)
        assert (has_colour(picture, "red").mean() > 0.02) == (hair == "red")


@pytest.mark.parametrize("course", COURSES)
def test_a_gradient_turns_from_the_first_colour_into_the_second(course):
    part = part_of(GradientScene(course, "red", "blue").paint(65), "blue", "red")
    along, across = {
        "vertical": (part[:, 20], part[20]),
        "horizontal": (part[20], part[:, 20]),
        "diagonal": (np.diag(part), np.diag(part[::-1])),
        "round": (np.diag(part)[32:], part[[22, 42, 32, 32], [32, 32, 22, 42]]),
    }[course]
    assert along[0] < 0.03
    assert along[-1] > 0.97
    assert (np.diff(along) >= 0).all()
    assert np.ptp(across) < 1e-5


def test_lights_are_blurred_and_the_object_is_sharp():
    light = Light(centre=(0.2, 0.5), radius=0.08, blur=0.06, strength=0.9)
    scene = DepthScene("circle", "red", "white", "black", (0.6, 0.5), 0.25, 0.0, (light,))
    row = scene.paint(256)[128]

    def soft(channel, part):
        """Pixels between a tenth and nine tenths, on one of two edges."""
        height = row[part, channel] - row[0, channel]
        height = height / height.max()
        return ((height > 0.1) & (height < 0.9)).sum() / 2

    # of a linear edge 0.06 of 256 pixels wide, four fifths
    assert soft(2, slice(0, 85)) == pytest.approx(0.8 * 0.06 * 256, abs=1.5)
    assert soft(0, slice(85, 256)) <= 1


def test_depth_scenes_have_lights_of_the_second_colour_behind_the_object():
    for scene in scenes("depth", 8):
        picture = scene.paint(128)
        bare = dataclasses.replace(scene, lights=()).paint(128)
        changed = abs(picture - bare).max(-1) > 25
        assert changed.mean() > 0.02, scene.caption
        nearer = np.linalg.norm(picture - colour_of(scene.second_colour), axis=-1) < np.linalg.norm(
            bare - colour_of(scene.second_colour), axis=-1
        )
        assert nearer[changed].mean() > 0.95, scene.caption
        assert not changed[has_colour(bare, scene.colour)].any(), scene.caption


def test_writing_has_as_many_lines_as_its_caption_says():
    for scene in scenes("writing", 12):
        ink = part_of(scene.paint(256), scene.colour, scene.background) > 0.3
        assert not ink[[0, -1]].any()
        assert not ink[:, [0, -1]].any()
        # the dot of an i is less than a letter's height above it, the next line is further away
        reach = int(0.35 * scene.height * 256)
        written = ndimage.binary_dilation(ink.any(1), iterations=reach)
        assert ndimage.label(written)[1] == len(scene.rows), scene.caption


def test_related_objects_lie_as_the_caption_says():
    # from the second object to the first, and from one object of three to the next
    left, right, up, down = (-1, 0), (1, 0), (0, -1), (0, 1)
    directions = {"left of": left, "right of": right, "above": up, "below": down}
    directions |= {"in a row": right, "in a column": down}
    for scene in scenes("related", 40):
        picture = draw(scene, 64)
        masks = [has_colour(picture, thing.colour) for thing in scene.objects]
        assert all(mask.mean() > 0.01 for mask in masks), scene.caption
        places = np.array([ndimage.center_of_mass(mask)[::-1] for mask in masks]) / 64
        steps = np.diff(places, axis=0) if len(places) == 3 else places[:1] - places[1:]
        along = directions[scene.relation]
        assert (steps @ along).min() > 0.2, scene.caption
        assert abs(steps @ along[::-1]).max() < 0.2, scene.caption


def test_all_colours_of_a_scene_differ():
    for kind in KINDS:
        for scene in scenes(kind, 30):
            colours = [answer for answer in scene.parts.values() if answer in COLOURS]
            assert len(set(colours)) == len(colours) >= 2, scene.caption
