"""The reader: what it is asked, how it learns, and how different it finds two pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from standalone.model.judges import judge_composed
from standalone.model.reader import QUESTIONS, SIDE, Reader, distance, read, what_is_shown
from standalone.model.reader_stage import degraded, labelled, loss_of, main
from standalone.model.scenes import KINDS, draw, random_scene
from standalone.model.scenes.drawing import draw_batch
from standalone.model.scenes.related import PlacedShape, RelatedScene
from standalone.model.scenes.things import THINGS


def scenes(kind, count):
    return [KINDS[kind][1](np.random.default_rng(seed)) for seed in range(count)]


def test_what_a_scene_shows_does_not_depend_on_how_it_is_put():
    left = PlacedShape("circle", "red", (0.27, 0.5), 0.18, 0.0)
    right = PlacedShape("star", "white", (0.73, 0.52), 0.18, 0.0)
    one = RelatedScene((left, right), "left of", "blue", "{things}")
    other = RelatedScene((right, left), "right of", "blue", "{things}")
    shown = what_is_shown(one)
    assert shown == what_is_shown(other)
    assert (shown["first"], shown["last"], shown["arrangement"]) == ("circle", "star", "row")
    assert shown["colours"] == {"blue"}


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_shown_has_an_answer(kind):
    for scene in scenes(kind, 60):
        shown = what_is_shown(scene)
        for name, answer in shown.items():
            wanted = answer if name == "colours" else [answer]
            assert set(wanted) <= set(QUESTIONS[name]), (name, answer)
        assert (shown["arrangement"] == "alone") == (shown["count"] == 1) == ("last" not in shown)
        in_land = kind != "simple" and "colours" not in shown
        assert in_land == (shown["ground"] in ("meadow", "beach", "snow", "sunset", "night"))


def test_rows_columns_and_grids_are_told_apart():
    for scene in scenes("several", 60):
        assert what_is_shown(scene)["arrangement"] == scene.relation
    for scene in scenes("pair", 60):
        across = scene.relation in ("left of", "right of")
        assert what_is_shown(scene)["arrangement"] == ("row" if across else "column")


def test_a_reader_learns_a_few_pictures_by_heart(sprites):
    """So that every question has a way to its answer."""
    drawn = [random_scene(np.random.default_rng(seed)) for seed in range(12)]
    batch, answers = labelled(drawn)
    pictures = draw_batch(batch, SIDE)
    wanted = {name: torch.from_numpy(values) for name, values in answers.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = Reader().train()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=3e-3)
    with torch.enable_grad():
        first = None
        for _ in range(40):
            loss = loss_of(reader(pictures), wanted)
            first = first if first is not None else loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.1 * first


def test_degraded_pictures_follow_from_the_generator_and_stay_pictures():
    pictures = torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    one, again = (degraded(pictures, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, again)
    assert one.shape == pictures.shape
    assert one.min() >= 0
    assert one.max() <= 1
    assert 0.01 < (one - pictures).abs().mean() < 0.3


def test_training_writes_weights_and_figures(sprites, tmp_path):
    options = ["--steps", "2", "--batch", "4", "--pool", "64", "--held-out", "8", "--workers", "0"]
    with torch.enable_grad():
        assert main([*options, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "reader.safetensors").stat().st_size < 2**20
    figures = (tmp_path / "reader.json").read_text()
    assert all(f'"{name}"' in figures for name in QUESTIONS)


def test_training_goes_on_from_weights(sprites, tmp_path):
    options = ["--steps", "1", "--batch", "4", "--pool", "64", "--held-out", "8", "--workers", "0"]
    begun, on = tmp_path / "begun", tmp_path / "on"
    with torch.enable_grad():
        main([*options, "--out", str(begun)])
        start = begun / "reader.safetensors"
        main([*options, "--seed", "1", "--from", str(start), "--out", str(on)])
    before, after = (load_file(each / "reader.safetensors") for each in (begun, on))
    name = "places"  # random at first, with another seed other numbers
    assert 0 < (after[name] - before[name]).abs().max() < 0.01 < before[name].abs().max()


def test_training_needs_an_end(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])
    assert "--seconds or --steps" in capsys.readouterr().err


def test_it_reads_simple_and_related_scenes_at_any_size():
    for size in (128, 256, 512):  # things are told less surely: the card has the figures
        drawn = [*scenes("simple", 12), *scenes("related", 12)]
        answers = read([draw(scene, size) for scene in drawn])
        right = []
        for index, scene in enumerate(drawn):
            for name, wanted in what_is_shown(scene).items():
                best = QUESTIONS[name][answers[name][index].argmax()]
                right.append(best in wanted if name == "colours" else best == wanted)
        assert np.mean(right) > 0.85


def test_the_distance_grows_with_the_change():
    picture = draw(scenes("simple", 3)[2], 128)
    noise = np.random.default_rng(0).normal(0, 1, picture.shape)
    changed = [
        np.clip(picture + strength * noise, 0, 255).astype(np.uint8) for strength in (2, 8, 32)
    ]
    found = [distance(picture, each) for each in (picture, *changed)]
    assert found[0] == 0
    assert all(less < more for less, more in zip(found, found[1:]))
    assert distance(changed[1], picture) == pytest.approx(found[2])


def test_the_judge_compares_what_is_read_with_what_is_wanted(monkeypatch):
    """With the reader's answers given: that it reads well is measured, with real sprites."""
    scene = next(s for s in scenes("pair", 99) if s.relation == "right of" and s.ground.colours)
    right = what_is_shown(scene)

    def judged(**changes):
        shown = right | changes
        logits = {name: np.zeros((1, len(answers))) for name, answers in QUESTIONS.items()}
        for name, answer in shown.items():
            for each in answer if name == "colours" else [answer]:
                logits[name][0, QUESTIONS[name].index(each)] = 1
        monkeypatch.setattr("standalone.model.judges.read", lambda pictures: logits)
        parts = judge_composed(scene, np.zeros((8, 8, 3), np.uint8)).parts
        return {name for name, fine in parts.items() if not fine}

    assert judged() == set()
    assert judged(style="flat" if scene.style == "3d" else "3d") == {"style"}
    assert judged(count=3) == {"count"}
    assert judged(arrangement="column") == {"relation"}
    assert judged(ground="beach") == {"background"}
    swapped = judged(first=right["last"], last=right["first"])
    assert swapped == {"thing", "relation"}
    another = next(t.name for t in THINGS if t.name not in (right["first"], right["last"]))
    assert "thing" in judged(first=another)
