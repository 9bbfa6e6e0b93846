"""The benchmark compares what it says: its textbook forms compute what ours compute."""

import contextlib
import copy
import dataclasses
import importlib.util
import random

import numpy as np
import pytest
import torch

import slothful
from benchmarks.speed import models, peers, targets
from benchmarks.speed.__main__ import main as benchmark
from benchmarks.speed.__main__ import variants
from benchmarks.speed.allowed import allowed_share
from benchmarks.speed.report import Conditions, as_table
from benchmarks.speed.timing import (
    FIRST,
    FLOOR,
    NONE,
    Timing,
    at_one_pace,
    measure,
    part_by_part,
    rows,
)  # fmt: skip
from slothful import Moment, Settings, find_sites
from slothful.settings.methods import SLOTHFUL, SUBSAMPLING
from tests.unets import inputs, make_unet, module_state, run

SIZE = dict(height=64, width=96)  # tokens; large enough for default tiles at two levels


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


@pytest.mark.parametrize("method", SUBSAMPLING)
def test_the_textbook_forms_give_what_ours_give(unet, method):
    settings = Settings(method=method, kept_token="first")
    before, plain = module_state(unet), run(unet, batch=1, **SIZE)
    with peers.textbook(unet, settings, Moment(600.0, 0.4)):
        expected = run(unet, batch=1, **SIZE)
    assert module_state(unet) == before
    with slothful.applied(unet, settings):
        result = run(unet, batch=1, **SIZE)
    assert (result - plain).abs().max() > 1e-3
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_plain_tiles_are_near_sighted_tiles_without_global_keys(unet):
    settings = Settings(method="Near-sighted Tile", global_ratio=0, tile_size=32)
    with peers.plain_tiles(unet, tile_size=32, max_depth=2):
        expected = run(unet, batch=1, **SIZE)
    with slothful.applied(unet, settings):
        result = run(unet, batch=1, **SIZE)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_downsampled_keys_are_a_constant_stride(unet):
    """A strength of 4 is a stride of 2 by 2; the deeper levels are left out by their weights."""
    settings = Settings(
        in_slothful=4, out_slothful=4, in_depth_decay=0, out_depth_decay=0, time_decay=0,
        kept_token="first",
        block_weights=dict.fromkeys(["IN07", "IN08", "OUT03", "OUT04", "OUT05"], 0),
    )  # fmt: skip
    with peers.downsampled_keys(unet, factor=2, max_depth=2):
        expected = run(unet, batch=1, **SIZE)
    with slothful.applied(unet, settings):
        result = run(unet, batch=1, **SIZE)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_the_floor_keeps_the_queries_projections(unet):
    with peers.floor(unet):
        attention = unet.input_blocks[1][1].transformer_blocks[0].attn1
        x = torch.randn(2, 6, attention.to_q.in_features)
        run(unet, batch=1)  # tells every attention its grid
        assert torch.equal(attention(x), attention.to_out(attention.to_q(x)))


def test_the_share_is_of_the_time_between_no_patch_and_the_floor():
    # outside, in a block, outside, in three rounds; what disturbs one part of one does not count
    timings = {
        NONE: Timing(((1.0, 3.0, 0.5), (1.0, 9.0, 0.5), (7.0, 3.0, 0.5))),
        FLOOR: Timing(((1.0, 1.0, 0.5),) * 3),
        "x": Timing(((1.5, 1.2, 8.0), (1.5, 1.2, 0.5), (1.5, 6.0, 0.5)), peak_memory=3 * 2**20),
    }
    table = {row.variant: row for row in rows(timings)}
    assert table["x"].speedup == pytest.approx(4.5 / 3.2)
    assert table["x"].share == pytest.approx((4.5 - 3.2) / (4.5 - 2.5))
    assert table["x"].share_in_blocks == pytest.approx((3.0 - 1.2) / (3.0 - 1.0))
    assert (table[NONE].share, table[FLOOR].share) == (0, 1)
    # whole calls took 10.7, 3.2 and 8 seconds
    assert table["x"].spread == pytest.approx(((10.7 + 8) / 2 - (3.2 + 8) / 2) / 2 / 8)
    assert table[FLOOR].spread == 0
    line = next(line for line in as_table(list(table.values())).splitlines() if "| x |" in line)
    assert line.startswith("| x | 3.2 |")
    assert line.endswith("| 3 |")


def test_targets_are_judged_by_what_a_run_shows():
    timings = {
        NONE: Timing(((1.0, 3.0),), kernels=2.0, started=1000),
        FLOOR: Timing(((1.0, 1.0),), kernels=1.0, started=900),
        SLOTHFUL: Timing(((1.0, 2.0),), kernels=1.1, started=1050),
        "Near-sighted Tile": Timing(((1.0, 3.2),), kernels=2.1, started=1100),
        SLOTHFUL + FIRST: Timing(((1.0, 2.0),), kernels=1.0, started=1010),
    }
    table = [dataclasses.replace(row, attentions=10) for row in rows(timings)]
    size = Conditions("sd15", 1024, 1024, 2, "cuda", "fp16", "sdpa", 1, "a GPU")
    found = targets.verdicts([(size, row) for row in table])
    said = {(each.variant, each.wanted.split(">")[0].split("<")[0].strip()): each for each in found}
    assert {key: each.holds for key, each in said.items()} == {
        (SLOTHFUL, "speed by kernels"): True,
        (SLOTHFUL, "speed by the clock"): True,
        (SLOTHFUL, "share of kernels"): True,
        (SLOTHFUL, "kernels more an attention"): True,
        ("Near-sighted Tile", "speed by kernels"): False,
        ("Near-sighted Tile", "speed by the clock"): False,
        (SLOTHFUL + FIRST, "kernels more an attention"): False,
    }
    assert said[SLOTHFUL, "share of kernels"].measured == pytest.approx(0.9)
    assert said[SLOTHFUL, "kernels more an attention"].measured == 5
    lines = targets.as_table(found).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:5]] == ["does not hold |"] * 3


def test_what_only_a_gpu_can_tell_is_said(tmp_path, monkeypatch, capsys):
    only = (SLOTHFUL, SLOTHFUL + FIRST)
    for name, value in dict(MODELS=["narrow"], SIZES=["256x256"], ONLY=only).items():
        monkeypatch.setattr(targets, name, value)
    assert benchmark(["--targets", "--rounds", "1", "--batch", "1", "--out", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "narrow 256x256 |" in line]
    assert {line.split(" | ")[1] for line in lines} == {SLOTHFUL, SLOTHFUL + FIRST}
    assert all(("needs a GPU" in line) == ("kernels" in line) for line in lines)
    assert benchmark(["--targets", "--json"]) == 2
    assert "--json" in capsys.readouterr().err


def test_a_machine_that_slows_down_favours_no_variant():
    takes = {"slow": np.array([2.0, 6.0, 1.0]), "quick": np.array([2.0, 3.0, 1.0])}
    pace = np.random.default_rng(0).uniform(1, 3, (5, 3))  # of each part in each round
    found = at_one_pace({name: [tuple(each * own) for each in pace] for name, own in takes.items()})
    for name, own in takes.items():
        np.testing.assert_allclose(found[name], np.tile(np.median(pace, 0) * own, (5, 1)))


def test_calls_in_step_are_whole_and_each_part_is_its_own(unet):
    """By a clock that only the blocks move, each by a time of its own in each of the U-Nets."""
    slow, plain = copy.deepcopy(unet), copy.deepcopy(unet)
    now, answers, taken = 0.0, {}, {"slow": [], "plain": []}

    def takes(name, seconds):
        def work(*_):
            nonlocal now
            now += seconds

        taken[name] += [0.0, seconds]
        return work

    for name, own in {"slow": slow, "plain": plain}.items():
        layers = [layer for site in find_sites(own) for layer in site.layers]
        for number, layer in enumerate(layers, 1):
            seconds = number if name == "plain" else 100 * number
            layer.attn1.register_forward_pre_hook(takes(name, seconds))
        own.register_forward_hook(
            lambda module, args, output, name=name: answers.setdefault(name, output)
        )
    states = [(own, module_state(own)) for own in (slow, plain)]
    latent, timesteps, keywords = inputs(unet, batch=1)
    call = ((latent, timesteps), keywords)
    with torch.inference_mode():
        found = dict(
            part_by_part({"slow": slow, "plain": plain}, call, random.Random(0), lambda: now)
        )
    assert found == {name: (*parts, 0.0) for name, parts in taken.items()}
    assert torch.equal(answers["slow"], answers["plain"])
    assert all(module_state(own) == before for own, before in states)


def test_what_settings_allow_is_what_they_remove_of_the_arithmetic(unet):
    shape, moment = slothful.shape_of(unet), Moment(600.0, 0.4)
    values = {"Near-sighted Tile": dict(tile_size=16), "Slothful Attention": dict(in_slothful=0)}
    shares = {
        name: allowed_share(Settings(method=name, **more), shape, 768, 512, moment)
        for name, more in values.items()
    }
    assert 0 < shares["Slothful Attention"] < shares["Near-sighted Tile"] < 1
    nothing = Settings(in_slothful=0, out_slothful=0)
    assert allowed_share(nothing, shape, 768, 512, moment) == 0
    # of one token as the only key, all but its projections is gone
    everything = Settings(
        in_slothful=50, out_slothful=50, in_depth_decay=0, out_depth_decay=0, keep_middle=False
    )
    assert 0.9 < allowed_share(everything, shape, 768, 512, moment) < 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "Slothfull"], "--only: no variant begins with 'Slothfull'; there are no patch"),
        (["--size", "500x512"], "size must be WIDTHxHEIGHT in multiples of 64, got '500x512'"),
        (["--device", "cpu", "--dtype", "fp16"], "--dtype must be fp32 on a CPU, got 'fp16'"),
        (["--settings", '{"in_slothful": 51}'], "in_slothful must be between 0 and 50, got 51"),
    ],
)
def test_wrong_input_is_told_in_one_line(options, told, capsys):
    assert benchmark(options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_each_round_is_a_step_of_its_own(unet):
    """So that what a method makes anew at each step is measured."""
    latent, timesteps, keywords = inputs(unet, batch=1)
    seen = []

    @contextlib.contextmanager
    def noted(own):
        handle = own.register_forward_pre_hook(lambda _, args: seen.append(float(args[1])))
        yield
        handle.remove()

    measure(unet, ((latent, timesteps), keywords), {NONE: noted}, 3, watch_memory=False)
    assert len(set(seen)) == len(seen) == 4  # with the warm-up
    # too near for the schedule to differ
    assert max(seen) - min(seen) < 0.1
    assert timesteps.tolist() == [600.0]


def test_a_full_size_layout_is_measured_with_its_memory():
    unet = models.make_unet("narrow", torch.device("cpu"), torch.float32)
    moment = Moment(600.0, 0.4)
    call = models.make_inputs(unet, 64, 64, 1, moment.timestep)
    chosen = variants(Settings(), moment, [SLOTHFUL])
    timings = measure(unet, call, {name: chosen[name] for name in (NONE, FLOOR, SLOTHFUL)}, 1)
    tracks = importlib.util.find_spec("torch.distributed._tools.mem_tracker") is not None
    for timing in timings.values():
        assert 0 < timing.in_blocks < timing.seconds
        assert (timing.peak_memory is not None) == tracks
    without = measure(unet, call, {NONE: chosen[NONE]}, 1, watch_memory=False)
    assert without[NONE].peak_memory is None
