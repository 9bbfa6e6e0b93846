"""The study of effects: its sweeps, its resumable pictures, its cost and its front."""

from __future__ import annotations

import dataclasses
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import slothful
from benchmarks.effects import variants
from benchmarks.effects.__main__ import PARTS, main
from benchmarks.effects.cost import attention_left, peer_left
from benchmarks.effects.peers import PEERS, padded_tiles
from benchmarks.effects.runs import FIRST_PROMPT, Conditions, Study, StudyError, borders, read_rows
from benchmarks.effects.sweeps import sweeps
from benchmarks.effects.table import Interval
from benchmarks.effects.variants import Variant, plain
from benchmarks.pictures.contestants import PEERS_SHOWN, contestants
from benchmarks.pictures.front import Point, front
from benchmarks.pictures.quality import Row, points
from benchmarks.pictures.sampling import picture
from benchmarks.pictures.variants import PRESETS
from slothful import METHODS, Moment, Settings
from slothful.planning.planner import plan_site
from slothful.planning.site import grid_of
from standalone.checkpoint import SMALL, load
from tests.unets import make_unet, run

CONDITIONS = Conditions("", 1, "Euler", 4.0, 0.6, FIRST_PROMPT, 5, 1)
SOFT = Variant("soft", {"in_v_blend": 1, "in_slothful": 50, "in_depth_decay": 0}, size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the rows of one variant and one prompt."""
    out = tmp_path_factory.mktemp("study")
    Study(SMALL, out, CONDITIONS).run(SOFT, plain(64), "txt2img", 0)
    return out


def test_every_parameter_has_a_sweep_with_its_default():
    swept: dict[str, set[str]] = {}
    for variant in sweeps():
        swept.setdefault(variant.parameter, set()).add(variant.value)
    for parameter in Settings.parameters():
        assert parameter.format(parameter.default) in swept[parameter.name], parameter.name
        assert len(swept[parameter.name]) > 1, parameter.name


BESIDE_PLANS = {
    "merge_ratio_img2img", "merge_ratio_hires", "sleep_every_img2img", "sleep_every_hires",
    "time_axis", "vae_tiles", "vae_tile_size", "sleep_forecast", "sleep_threshold", "agent_every",
    "negative_form", "negative_scale", "negative_tau", "negative_alpha", "negative_strength",
    "mix", "mix_amount", "mix_peak_time", "mix_time_decay",
}  # fmt: skip
"""What acts elsewhere than in the plans of a txt2img pass whose steps are even in noise."""


def test_the_values_of_a_sweep_do_different_things_in_the_studys_steps():
    shape = slothful.shape_of(make_unet("sd1"))
    done: dict[str, set] = {}
    for variant in sweeps():
        settings = Settings.from_mapping(dict(variant.settings))
        made = picture("Euler", 8, (variant.size, variant.size))
        grids = {e.site: grid_of(variant.size, variant.size, e.site.level) for e in shape.sites}
        calls = []
        for call in range(8):
            moment = made.moment(call, settings.time_axis == "noise level")
            plans = [plan_site(settings, moment, *each) for each in grids.items()]
            calls.append((slothful.is_one_sided(settings, moment), *plans))
        done.setdefault(variant.parameter, set()).add(tuple(calls))
    assert {name for name, each in done.items() if len(each) == 1} == BESIDE_PLANS


def test_names_tell_variants_apart_and_settings_are_valid():
    listed = [variant for part in PARTS.values() for variant in part()]
    assert len({variant.name for variant in listed}) == len(listed)
    for variant in listed:
        Settings.from_mapping(variant.settings or {})
        assert variant.reference == variants.OFF or any(
            other.name == variant.reference for other in listed
        )


def test_every_peer_takes_part():
    used = {variant.peer for part in PARTS.values() for variant in part()} | {*PEERS_SHOWN}
    assert used == {"", *PEERS}


def test_what_is_shown_by_itself_is_part_of_the_claims():
    names = {variant.name for variant in variants.claims()}
    for shown in variants.HIGHLIGHTS.values():
        assert names.issuperset(shown)


def test_equal_settings_share_their_pictures_whatever_they_are_called():
    default = Variant("a", {}, size=256)
    assert default.key == Variant("b", {"peak_time": 0.4}, size=256).key
    assert default.key != Variant("c", {"peak_time": 0.5}, size=256).key
    assert default.key != plain(256).key != plain(384).key


def test_a_row_compares_the_picture_with_the_one_without_the_effect(folder):
    study = Study(SMALL, folder, CONDITIONS)
    (row,) = study.rows.values()
    seed = study.seeds(0)[0]
    ours = np.asarray(Image.open(study.path(SOFT, "txt2img", 0, seed)))
    off = np.asarray(Image.open(study.path(plain(64), "txt2img", 0, seed)))
    assert ours.shape == off.shape == (64, 64, 3)
    assert (ours != off).any()
    assert float(row["ssim"]) < 1
    assert float(row["contrast"]) / (1 + float(row["contrast_change"])) == pytest.approx(
        _luminance(off).std(), rel=1e-6
    )


def _luminance(picture):
    return picture.astype(float) @ (0.2125, 0.7154, 0.0721) / 255


def test_finished_pictures_are_not_made_again(folder):
    study = Study(SMALL, folder, CONDITIONS)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert study.missing(SOFT, "txt2img", 0) == []
    study.run(SOFT, plain(64), "txt2img", 0)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    del before[folder / "conditions.json"], after[folder / "conditions.json"]
    assert after == before


def test_a_row_that_was_lost_is_measured_from_its_picture(folder, tmp_path):
    lines = (folder / "effects.csv").read_text().splitlines(keepends=True)
    copy = tmp_path / "study"
    subprocess.run(["cp", "-r", folder, copy], check=True)
    (copy / "effects.csv").write_text(lines[0] + lines[1][:40])  # cut off in the middle
    study = Study(SMALL, copy, CONDITIONS)
    assert study.rows == {}
    study.run(SOFT, plain(64), "txt2img", 0)
    assert study.rows == read_rows(folder / "effects.csv")


def test_another_study_needs_another_folder(folder, tmp_path):
    with pytest.raises(StudyError, match=r"steps 1 instead of 7.*--out"):
        Study(SMALL, folder, dataclasses.replace(CONDITIONS, steps=7))
    (tmp_path / "effects.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match=r"effects\.csv: not a table of this study"):
        Study(SMALL, tmp_path, CONDITIONS)


def test_bad_input_is_told_in_one_line(tmp_path, capsys):
    assert main(["--model", str(tmp_path / "none.safetensors"), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "none.safetensors: no such checkpoint" in told
    assert told.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["--seeds", "0"])
    assert "whole number of at least 1, got '0'" in capsys.readouterr().err


_LIMITED = """
import resource, sys
from benchmarks.effects.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_refuses_ends_the_study_with_a_message(tmp_path):
    """A limit on the size of files refuses as a full disk does, in the middle of a picture."""
    arguments = ["--only", "presets", "--prompts", "1", "--seeds", "1", "--steps", "1"]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED.format(limit=4000), *arguments, "--out", tmp_path],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "finished images and rows are kept" in done.stderr
    assert not [path for path in tmp_path.rglob("*.png") if ".part" not in path.name]


def test_an_interrupted_study_keeps_what_is_finished(tmp_path):
    arguments = ["--only", "presets", "--prompts", "1", "--seeds", "1", "--steps", "1"]
    study = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.effects", *arguments, "--out", tmp_path],
        cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True,
        # what starts the tests may ignore Ctrl-C, and children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    table = tmp_path / "effects.csv"
    while study.poll() is None and not (table.exists() and table.read_text().count("\n") > 2):
        time.sleep(0.2)
    study.send_signal(signal.SIGINT)
    told = study.communicate(timeout=900)[1]
    assert study.returncode == 130, told
    assert f"stopped; what is finished is kept in {tmp_path}" in told
    kept = read_rows(table)
    assert len(kept) == table.read_text().count("\n") - 1 >= 2


def test_the_arithmetic_left_is_what_the_estimate_says():
    model = load(SMALL)
    shape = slothful.shape_of(model.model.diffusion_model)
    conditions = dataclasses.replace(CONDITIONS, steps=2)
    for settings in ({"time_decay": 0}, {"method": "Token Merging", "time_decay": 0}):
        variant = Variant("x", settings, size=128)
        counted = attention_left(model, variant, conditions)
        estimate = slothful.estimate(
            Settings.from_mapping(settings), shape, 128, 128, [Moment(999, 0.0), Moment(1, 1.0)]
        )
        assert counted == pytest.approx(estimate.attention_share, rel=0.02)
    assert attention_left(model, plain(128), conditions) == 1
    assert 0 < attention_left(model, Variant("t", peer="tomesd 0.5", size=128), CONDITIONS) < 1


@pytest.mark.parametrize("peer", PEERS_SHOWN)
def test_what_a_peer_leaves_of_the_u_net_is_less_than_all_and_more_than_its_attention(peer):
    unet = load(SMALL).model.diffusion_model
    attention = attention_left(load(SMALL), Variant("t", peer=peer, size=256), CONDITIONS)
    assert attention < peer_left(unet, peer, (256, 256)) < 1


def test_padding_changes_nothing_where_tiles_fit_and_is_seen_where_not():
    unet = make_unet("sd1")
    ours = Settings(method="Near-sighted Tile", tile_size=16, global_ratio=0, tiling_max_depth=1)
    for side, fits in ((32, True), (40, False)):
        with padded_tiles(unet, 16):
            padded = run(unet, batch=1, height=side, width=side)
        with slothful.applied(unet, ours):
            expected = run(unet, batch=1, height=side, width=side)
        assert torch.allclose(padded, expected, atol=1e-4) == fits


def test_what_contends_is_a_peer_or_comes_as_it_is():
    rows = [
        Row("small", "Euler", "20", "256x256", name, "1", "0.5", "0.1", "0.1", "1")
        for name in contestants()
    ]
    kinds = {kind: set() for kind in ("steps", "peer", "default", "settings")}
    for point in points(rows, contestants()):
        kinds[point.standing].add(point.name)
    of_lazy = {f"Slothful Attention, {preset}" for preset in PRESETS[:2]}
    assert kinds["default"] == {*METHODS, *PRESETS, *of_lazy}
    assert {*PEERS_SHOWN, "DeepCache 3", "EasyCache"} <= kinds["peer"]
    assert "Token Merging 0.7" in kinds["settings"]
    assert all(name.endswith("of the steps") for name in kinds["steps"])


def test_nothing_on_the_front_is_beaten():
    generator = np.random.default_rng(4)
    kinds = ("peer", "default", "settings")
    points = [
        Point(
            str(i), left, Interval(change, change, change, 4), kinds[i % 3],
        )
        for i, (left, change) in enumerate(generator.integers(0, 8, (40, 2)) / 8)
    ]  # fmt: skip
    best = front(points)
    contending = [point for point in points if point.standing != "settings"]
    assert best < {point.name for point in contending}
    # settings that nothing else beats are there, and put nobody off the front
    assert front([dataclasses.replace(p, standing="default") for p in points]) != best
    for point in contending:
        beaten = [
            o for o in contending
            if (o.left < point.left and o.change.mean <= point.change.mean)
            or (o.left <= point.left and o.change.mean < point.change.mean)
        ]  # fmt: skip
        assert (point.name in best) == (not beaten)


def test_borders_are_where_the_tiles_of_the_plan_begin():
    tiles = Variant("x", {"method": "Near-sighted Tile", "tile_size": 16}, size=320)
    assert borders(tiles) == ((112, 224), (112, 224))
    assert borders(plain(256)) == ((128,), (128,))


@pytest.mark.slow
def test_the_quick_form_prints_one_object(capsys):
    assert main(["--quick", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    figures = printed["variants"]
    assert figures["off @256"]["change"] == 0
    assert 0 < figures["Slothful Attention"]["attention_left"] < 1
    assert figures["average on V"]["change"] > figures["Slothful Attention"]["change"] > 0
