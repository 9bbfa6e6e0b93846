"""The simple scenes, and the judges that look at samples of them and of related objects."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from standalone.model import evaluate
from standalone.model.analyse import analyse, best_shape, object_mask, separate
from standalone.model.judges import JUDGES, figures, judge_related, judge_simple
from standalone.model.scenes import KINDS, SimpleScene, draw, random_simple_scene
from standalone.model.scenes.canvas import COLOURS, SHAPES, signed_distance
from standalone.model.scenes.related import PlacedShape, RelatedScene, random_related_scene
from standalone.model.scenes.wording import PLAIN_WORDING, WORDINGS

RED_CIRCLE = SimpleScene(
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
LEFT_OF = RelatedScene(
    objects=(
        PlacedShape("circle", "red", (0.27, 0.5), 0.18, 0.0),
        PlacedShape("star", "white", (0.73, 0.5), 0.18, 0.0),
    ),
    relation="left of",
    background="blue",
    wording=PLAIN_WORDING,
)


def test_captions_read_naturally():
    orange = dataclasses.replace(RED_CIRCLE, colour="orange", background="orange", shade=0.3)
    several = dataclasses.replace(RED_CIRCLE, count=3, texture="striped", wording=WORDINGS[3])
    assert RED_CIRCLE.caption == "a red circle on a blue background"
    assert orange.caption == "an orange circle on an orange gradient background"
    assert several.caption == "three striped red circles, blue background"


def test_most_captions_have_the_plain_form():
    scenes = [random_simple_scene(np.random.default_rng(seed)) for seed in range(500)]
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


def test_the_objects_of_a_picture_are_found_where_they_were_drawn():
    for scene in [random_simple_scene(np.random.default_rng(seed)) for seed in range(12)]:
        y, x = (np.indices((128, 128), np.float32) + 0.5) / 128
        inside = np.zeros((128, 128), bool)
        for centre_x, centre_y in scene.positions:
            cos, sin = np.cos(scene.angle), np.sin(scene.angle)
            across, down = x - centre_x, y - centre_y
            turned = cos * across + sin * down, cos * down - sin * across
            inside |= signed_distance(scene.shape, *(axis / scene.radius for axis in turned)) < 0
        mask = object_mask(draw(scene, 128))
        assert mask.dtype == bool
        assert (mask & inside).sum() / (mask | inside).sum() > 0.9, scene.caption
        parts = separate(mask)
        assert len(parts) == scene.count
        assert (np.sum(parts, axis=0) == mask).all()


def test_spots_and_slivers_are_no_objects():
    clean = draw(RED_CIRCLE, 128)
    soiled = clean.copy()
    soiled[8:14, 20:26] = soiled[110:112, 10:100] = 255
    assert (object_mask(soiled) == object_mask(clean)).all()
    assert analyse(soiled).count == 1


def test_a_flat_picture_has_no_objects():
    flat = np.full((40, 60, 3), 200, np.uint8)
    mask = object_mask(flat)
    assert mask.shape == (40, 60)
    assert mask.dtype == bool
    assert not mask.any()


@pytest.mark.parametrize("kind", ["simple", "related"])
def test_a_judge_is_right_about_drawn_scenes(kind):
    seeds = range(20_000_000, 20_000_040)
    scenes = [KINDS[kind][1](np.random.default_rng(seed)) for seed in seeds]
    verdicts = [JUDGES[kind](scene, draw(scene, 256)) for scene in scenes]
    assert figures(verdicts)["everything"] >= 97


@pytest.mark.parametrize(
    ("wrong", "change"),
    [
        ("background", {"background": "green"}),
        ("object colour", {"colour": "yellow"}),
        ("shape", {"shape": "square"}),
        ("count", {"count": 2, "radius": 0.18, "positions": ((0.27, 0.5), (0.73, 0.5))}),
    ],
)
def test_a_judge_finds_the_part_that_is_wrong(wrong, change):
    picture = draw(dataclasses.replace(RED_CIRCLE, **change), 128)
    parts = judge_simple(RED_CIRCLE, picture).parts
    assert [name for name, right in parts.items() if not right] == [wrong]


def test_the_judge_of_relations_looks_at_what_lies_where():
    first, second = LEFT_OF.objects

    def wrong(*objects):
        verdict = judge_related(LEFT_OF, draw(dataclasses.replace(LEFT_OF, objects=objects), 128))
        assert verdict.right == all(verdict.parts.values())
        return {name for name, right in (verdict.parts | verdict.further).items() if not right}

    def moved(thing, x, y):
        return dataclasses.replace(thing, centre=(x, y))

    colours = [
        dataclasses.replace(first, colour="white"),
        dataclasses.replace(second, colour="red"),
    ]
    assert wrong(first, second) == set()
    assert wrong(second, first) == set()  # it sees places, not the order of drawing
    assert wrong(*colours) == {"colours by place"}
    assert wrong(moved(first, 0.73, 0.5), moved(second, 0.27, 0.5)) == {
        "colours by place",
        "shapes by place",
    }
    assert wrong(moved(first, 0.49, 0.27), moved(second, 0.51, 0.73)) == {"colours by place"}
    assert "count" in wrong(first)
    assert "count" in wrong()


def test_objects_in_a_column_are_named_from_above():
    scene = next(
        scene
        for scene in (random_related_scene(np.random.default_rng(seed)) for seed in range(99))
        if scene.relation == "in a column"
    )
    assert judge_related(scene, draw(scene, 128)).right
    assert not judge_related(scene, draw(scene, 128)[::-1]).parts["colours by place"]


def test_figures_are_of_the_pictures_that_have_the_part():
    pair = dataclasses.replace(
        RED_CIRCLE, count=2, radius=0.18, positions=((0.27, 0.5), (0.73, 0.5))
    )
    picture = draw(RED_CIRCLE, 128)
    found = figures([judge_simple(RED_CIRCLE, picture), judge_simple(pair, picture)])
    assert found["count"] == found["everything"] == 50
    assert found["everything, one plain object"] == 100
    assert found["both colours"] == 100


@pytest.mark.parametrize("kind", ["simple", "related"])
def test_a_sheet_shows_pictures_and_figures_of_a_kind(kind, tmp_path, capsys):
    sheet = tmp_path / "new" / "sheet.png"
    options = ["--truth", "--kind", kind, "--captions", "3", "--sheet", str(sheet)]
    assert evaluate.main(options) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["captions"] == found[kind]["captions"] == 3
    assert found["all"]["everything"] == found[kind]["everything"] == 100
    shown = np.asarray(Image.open(sheet))
    first = draw(evaluate.held_out(evaluate.HELD_OUT_SEED, kind)[1], 128)
    assert abs(shown[:128, :128].astype(float) - first).mean() < 4
    assert shown[128:, :128].min() < 100  # the caption
    assert shown.shape[1] == 10 * 128


def test_without_a_kind_captions_are_as_in_training():
    kinds = Counter(evaluate.held_out(seed, None)[0] for seed in range(1000))
    for kind, (share, _) in KINDS.items():
        assert kinds[kind] / 1000 == pytest.approx(share, abs=4 * (share / 1000) ** 0.5), kind


def test_a_sheet_says_in_red_what_was_seen_instead():
    def red(verdict):
        sheet = np.asarray(evaluate.contact_sheet([picture], [RED_CIRCLE], [verdict])).astype(int)
        return (sheet[64:, :, 0] - sheet[64:, :, 1]).max() > 100

    picture = draw(RED_CIRCLE, 128)
    square = dataclasses.replace(RED_CIRCLE, shape="square")
    assert not red(judge_simple(RED_CIRCLE, picture))
    assert red(judge_simple(square, picture))


def test_what_cannot_be_evaluated_is_refused_in_one_line(tmp_path, capsys):
    assert evaluate.main(["--model", str(tmp_path / "none.safetensors"), "--captions", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--truth", "--captions", "0"])
    assert stopped.value.code == 2
    assert "--captions must be 1 or more, got 0" in capsys.readouterr().err
