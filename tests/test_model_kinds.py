"""Each kind of scene shows what its caption says, at any size, alone and in a batch."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from standalone.model.captioned import QUESTIONS
from standalone.model.fetch_sprites import sprite_of
from standalone.model.scenes import KINDS, draw, random_scene
from standalone.model.scenes.canvas import COLOURS, colour_of
from standalone.model.scenes.composed import ComposedScene, PlacedThing
from standalone.model.scenes.drawing import draw_scenes
from standalone.model.scenes.grounds import GROUND_COLOURS, GROUNDS, LANDS, Ground
from standalone.model.scenes.sprites import load_sprites
from standalone.model.scenes.things import STYLES, THINGS, random_things
from standalone.model.scenes.wording import NUMBERS
from tests.sprites import HEIGHT, colours_of

COMPOSED = ("thing", "landscape", "pair", "several", "mirrored")
PLAIN = Ground("plain", ("white",), "white")
pytestmark = pytest.mark.usefixtures("sprites")


def scenes(kind: str, count: int) -> list:
    return [KINDS[kind][1](np.random.default_rng(seed)) for seed in range(count)]


def has_colour(picture: np.ndarray, colour: np.ndarray, within: int = 12) -> np.ndarray:
    return (abs(picture.astype(int) - colour) <= within).all(-1)


def only(*placed: PlacedThing, ground: Ground = PLAIN) -> ComposedScene:
    return ComposedScene("3d", placed, "", ground, "")


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_scene_depends_on_its_seed_only_and_names_its_parts(kind, seed):
    scene, again = (KINDS[kind][1](np.random.default_rng(seed)) for _ in range(2))
    assert scene == again
    plurals = {thing.name: thing.plural for thing in THINGS}
    for name, answer in scene.parts.items():
        if name == "count":
            word = NUMBERS[answer] if answer > 1 and "second" not in str(scene.parts) else ""
        elif name in ("style", "ground", "relation") or answer == "plain":
            word = ""  # said in words of their own, or not at all
        else:
            word = f"({answer}|{plurals.get(answer, answer)})"
        assert re.search(rf"\b{word}", scene.caption), (name, answer, scene.caption)


def test_every_question_is_asked_and_every_answer_is_known():
    given_answers = {name: set() for name in QUESTIONS}
    for kind in KINDS:
        for scene in scenes(kind, 700):
            for name, answer in scene.parts.items():
                given_answers[name].add(answer)
    given_answers["ground"].add("shade")  # no caption asks for it apart from its colour
    assert given_answers == {name: set(answers) for name, answers in QUESTIONS.items()}


def test_kinds_come_as_often_as_declared():
    assert sum(part for part, _ in KINDS.values()) == pytest.approx(1)
    generator = np.random.default_rng(4)
    drawn = [random_scene(generator) for _ in range(1500)]
    classes = Counter(type(scene).__name__ for scene in drawn)
    for kind, name in (("simple", "SimpleScene"), ("related", "RelatedScene")):
        part = KINDS[kind][0]
        assert classes[name] / 1500 == pytest.approx(part, abs=4 * (part / 1500) ** 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_picture_is_the_larger_one_seen_from_afar(kind):
    for scene in scenes(kind, 4):
        afar = scene.paint(256).reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert abs(afar - scene.paint(128)).mean() < 2.5, scene.caption


def test_a_batch_shows_what_its_scenes_show_alone():
    drawn = [KINDS[kind][1](np.random.default_rng(seed)) for kind in KINDS for seed in range(6)]
    together = draw_scenes(drawn, 96)
    for scene, picture in zip(drawn, together):
        difference = abs(draw(scene, 96).astype(int) - picture)
        # a pixel at the very edge of a texture may fall on either side
        assert difference.mean() < 0.7, scene.caption
        assert (difference > 3).mean() < 0.02, scene.caption


def test_things_lie_where_they_are_placed_and_turn_with_their_flip():
    thing = random_things(np.random.default_rng(1))[0]
    left, right = colours_of(thing, 0)
    for flipped in (False, True):
        placed = PlacedThing(thing, 0.3, 0.6, 0.2, flipped=flipped)
        picture = draw(only(placed), 128)
        middles = [
            np.array(ndimage.center_of_mass(has_colour(picture, colour))) / 128
            for colour in ((right, left) if flipped else (left, right))
        ]
        # halves of a rectangle half as wide as the sprite, which is 0.4 wide
        assert middles[0] == pytest.approx([0.6, 0.25], abs=0.015)
        assert middles[1] == pytest.approx([0.6, 0.35], abs=0.015)


def test_what_stands_has_its_foot_on_the_ground_and_a_shadow_there():
    thing = random_things(np.random.default_rng(1))[0]
    left, _ = colours_of(thing, 0)
    picture = draw(only(PlacedThing(thing, 0.5, 0.8, 0.25, standing=True)), 128)
    rows = np.nonzero(has_colour(picture, left).any(1))[0]
    assert rows.max() / 128 == pytest.approx(0.8, abs=0.02)
    assert (rows.max() - rows.min()) / 128 == pytest.approx(0.5 * HEIGHT, abs=0.03)
    white = colour_of("white")
    assert (picture[int(0.81 * 128), 64] < white - 40).all()
    assert (abs(picture[int(0.5 * 128), 10].astype(int) - white) <= 2).all()


def test_the_styles_differ_and_are_told_in_captions():
    for scene in [scene for kind in COMPOSED for scene in scenes(kind, 40)]:
        assert (scene.style == "flat") == scene.caption.startswith("a flat "), scene.caption
    placed = PlacedThing(0, 0.5, 0.5, 0.4)
    solid, flat = (dataclasses.replace(only(placed), style=style) for style in STYLES)
    assert abs(draw(solid, 64).astype(int) - draw(flat, 64)).mean() > 5


def test_pairs_lie_as_the_caption_says_and_rows_in_one_line():
    steps = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
    for scene in scenes("pair", 60):
        places = np.array([(thing.x, thing.y) for thing in scene.things])
        along = np.array(steps[scene.relation])
        assert (places[0] - places[1]) @ along > 0.3, scene.caption
        names = [THINGS[thing.thing].name for thing in scene.things]
        first, second = (re.search(rf"\b{name}\b", scene.caption) for name in names)
        assert first.start() < second.start() or names[0] in names[1]
    for scene in scenes("several", 60):
        x, y = np.array([(thing.x, thing.y) for thing in scene.things]).T
        lines = {"row": (len(x), 1), "column": (1, len(x))}
        side = int(len(x) ** 0.5)
        wanted = lines.get(scene.relation, (side, side))
        assert (len(set(x.round(6))), len(set(y.round(6)))) == wanted, scene.caption


def test_a_mirrored_pair_is_the_same_from_left_to_right():
    for scene in scenes("mirrored", 6):
        picture = draw(dataclasses.replace(scene, ground=PLAIN), 128).astype(int)
        assert abs(picture - picture[:, ::-1]).mean() < 1, scene.caption


@pytest.mark.parametrize("kind", [kind for kind in GROUNDS if kind not in ("plain", "shade")])
def test_a_ground_has_its_colours_and_no_other_is_like_it(kind):
    found = [s.ground for k in ("thing", "landscape") for s in scenes(k, 400)]
    ground = next(each for each in found if each.kind == kind)
    picture = draw(only(ground=ground), 96)
    for name in ground.colours:
        assert has_colour(picture, np.array(GROUND_COLOURS[name]), 20).mean() > 0.02, name
    if kind in LANDS:
        sky, soil = (np.array(LANDS[kind].colours[place]) for place in (0, 3))
        assert has_colour(picture[:4], sky, 40).mean() > 0.5
        assert has_colour(picture[-4:], soil, 40).mean() > 0.5
    others = [each for each in found if each.kind not in (kind, "plain")]
    assert all(abs(draw(only(ground=o), 96).astype(int) - picture).mean() > 2 for o in others[:8])


def test_all_colours_of_a_scene_differ():
    for kind in ("simple", "related"):
        for scene in scenes(kind, 30):
            colours = [answer for answer in scene.parts.values() if answer in COLOURS]
            assert len(set(colours)) == len(colours) >= 2, scene.caption


def test_sprites_that_are_missing_are_told_with_what_fetches_them(monkeypatch, tmp_path):
    monkeypatch.setenv("SLOTHFUL_SPRITES", str(tmp_path / "none.zip"))
    with pytest.raises(FileNotFoundError, match="fetch_sprites"):
        load_sprites()
    draw(scenes("simple", 1)[0], 32)  # which needs none


def test_a_sprite_is_cut_out_and_centred():
    picture = np.zeros((100, 80, 4), np.uint8)
    picture[60:90, 5:65] = (200, 30, 60, 255)
    sprite, width, height = sprite_of(Image.fromarray(picture, "RGBA"))
    assert (width, height) == pytest.approx((0.95, 0.475), abs=0.01)
    values = np.asarray(sprite)
    y, x = ndimage.center_of_mass(values[..., 3])
    assert (y, x) == pytest.approx((191.5, 191.5), abs=4)
    assert (abs(values[192, 192].astype(int) - (200, 30, 60, 255)) <= 1).all()
