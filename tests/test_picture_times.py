"""The benchmark of whole pictures runs the calls that samplers make, and adds up what it timed."""

import dataclasses
import json

import pytest
import torch
from ldm.modules.attention import CrossAttention

import slothful
from benchmarks.effects.cost import flop_counter, matrix_products
from benchmarks.pictures.__main__ import main
from benchmarks.pictures.report import Conditions, Row, against_targets, as_table, rows
from benchmarks.pictures.sampling import picture
from benchmarks.pictures.timing import Measured, Profiled, Timed, measure, script, total
from benchmarks.pictures.variants import NONE, Call, Ours, Variant, deep, held_bytes, variants
from tests.unets import inputs, make_unet

SIZE = (128, 128)


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


def request(unet):
    """Arguments of a call at `SIZE` of one image's halves, with prompts of usual length."""
    latent, timesteps, _ = inputs(unet, height=SIZE[1] // 8, width=SIZE[0] // 8)
    latent = latent[:1].repeat(2, 1, 1, 1)
    context = torch.randn(2, 77, 24, generator=torch.Generator().manual_seed(0))
    return (latent, timesteps), {"context": context}


@pytest.mark.parametrize(("sampler", "calls"), [("Euler", 20), ("DPM++ 2M", 20), ("DPM++ SDE", 39)])
def test_a_picture_has_the_calls_that_its_sampler_makes(sampler, calls):
    made = picture(sampler, 20, SIZE)
    assert len(made.calls) == calls
    assert made.calls == tuple(sorted(made.calls, reverse=True))
    assert set(made.schedule) <= set(made.calls)
    # DPM++ SDE calls twice in each step but the last
    steps = [made.moment(call).index for call in range(calls)]
    assert [steps.count(step) for step in range(20)] == [calls // 19] * 19 + [1]


def test_only_what_differs_is_run_and_what_it_looks_back_at():
    kinds = ["a", "a", "s", "a", "s", "s", "s", "a"]
    costs = [1.0, 1.0, 0.5, 1.0, 0.3, 0.4, 0.45, 1.0]
    calls = [Call(kind, cost, kind == "a") for kind, cost in zip(kinds, costs)]
    # the least, a middle and the greatest of the sleeping ones, and the awake ones before them
    assert script(calls, 1) == [1, 2, 3, 4, 5]
    assert script(calls, 2) == [0, 1, 2, 3, 4, 5]
    assert script(calls[:2], 1) == [0]


def test_what_was_not_run_lies_between_what_was():
    calls = [Call("a", 1.0), Call("a", 2.0), Call("a", 1.5), Call("b", 7.0), Call("b", 7.0)]
    run = [calls[0], calls[1], calls[3], calls[3]]
    assert total(calls, run, [10.0, 30.0, 4.0, 6.0], False) == 10 + 30 + 20 + 5 + 5
    assert total(calls, calls, [1.0, 2.0, 3.0, 4.0, 5.0], True) == 15


@pytest.mark.parametrize("name", {v.program: name for name, v in variants().items()}.values())
@torch.no_grad()
def test_what_is_counted_is_what_the_calls_that_are_timed_compute(unet, name, monkeypatch):
    monkeypatch.setattr(CrossAttention, "forward", matrix_products)
    variant, made = variants()[name], picture("Euler", 20, SIZE)
    latent, timesteps = request(unet)[0]

    def count(timestep):
        with flop_counter() as counter:
            unet(latent, timesteps.fill_(timestep), **request(unet)[1])
        return counter.get_total_flops()

    full = count(500.0)
    calls = variant.calls(slothful.shape_of(unet), made)
    with variant.playing(unet, made) as play:
        for index in script(calls, variant.history):
            play.prepare(index)
            assert count(made.calls[index]) / full == pytest.approx(calls[index].cost, abs=0.03)


@pytest.mark.parametrize("steps", [10, 13])
@torch.no_grad()
def test_what_sleeps_by_the_plan_sleeps_in_the_calls(unet, steps):
    made, variant = picture("DPM++ SDE", steps, SIZE), deep(3, 2)
    calls = variant.calls(slothful.shape_of(unet), made)
    ran, slept = [], []
    handle = unet.middle_block.register_forward_hook(
        lambda module, args, output: ran.append(type(output) is torch.Tensor)
    )
    with variant.playing(unet, made) as play:
        for index, timestep in enumerate(made.calls):
            play.prepare(index)
            (latent, timesteps), keywords = request(unet)
            unet(latent, timesteps.fill_(timestep), **keywords)
            slept.append(not ran.pop())
        kept = held_bytes(play.kept())
    handle.remove()
    assert slept == [not call.keeps for call in calls]
    assert any(slept)
    # what the last block that sleeps gave: 32 channels at each position of both rows, in fp32
    each = 2 * 32 * (SIZE[0] // 8) * (SIZE[1] // 8) * 4
    assert kept == variant.history * each


def test_every_variant_is_timed_in_each_round(unet):
    made = picture("Euler", 6, SIZE)
    shown = {NONE: Variant(), "ours": deep(2, 1), "again": deep(2, 1)}
    scripts = {name: range(6) for name in shown}
    now = iter(range(1000))
    measured = measure(unet, request(unet), shown, scripts, made, 2, lambda: float(next(now)))
    assert all(len(own.rounds) == 2 for own in measured.values())
    table = rows(slothful.shape_of(unet), made, made, shown, measured, every_call=True)
    # a clock that strikes once between the beginning and the end of every call
    assert [(row.relative, row.seconds) for row in table] == [(1.0, 6.0)] * 3


def test_a_table_says_the_median_of_the_rounds_and_as_many_steps_as_take_no_longer(unet):
    made, shape = picture("Euler", 20, SIZE), slothful.shape_of(unet)
    name = "deep blocks n = 3, 1 awake"
    shown: dict[str, Variant] = {NONE: Variant(), name: deep(3, 1)}
    calls = shown[name].calls(shape, made)
    asleep = next(i for i, call in enumerate(calls) if not call.keeps)
    full = sum(call.keeps for call in calls)

    def rounds(*seconds):
        return tuple((Timed(0, 1.0), Timed(asleep, each)) for each in seconds)

    measured = {
        NONE: Measured(((Timed(0, 1.0),),) * 3, 0, (Profiled(0, 0.5, 100),), 5 * 2**20),
        name: Measured(
            rounds(0.25, 0.5, 1.0), 3 * 2**20,
            (Profiled(0, 0.5, 110), Profiled(asleep, 0.1, 20)), 7 * 2**20,
        ),
    }  # fmt: skip
    none, fewer, ours = rows(shape, made, made, shown, measured, every_call=False)
    expected = (full + 0.5 * (20 - full)) / 20
    assert ours.relative == pytest.approx(expected)
    assert ours.spread == pytest.approx((0.75 - 0.375) / 2 * (20 - full) / 20)
    assert none.relative == 1
    kernels = full * 110 + (20 - full) * 20
    seconds = full * 0.5 + (20 - full) * 0.1
    assert (ours.kernels, none.kernels) == (kernels, 2000)
    assert (ours.kernel_seconds, ours.kernel_time) == pytest.approx((seconds, seconds / 10))
    line = next(line for line in as_table([none, fewer, ours]).splitlines() if name in line)
    assert line.endswith(f"| 3.0 | {seconds / 10:.1%} | {seconds:.4g} | {kernels} | 2.0 |")
    steps = int(expected * 20)
    assert (fewer.variant, fewer.relative) == (f"fewer steps: {steps}", steps / 20)
    assert fewer.kernels == 100 * steps


def test_targets_are_judged_by_the_clock_on_a_cpu_and_by_the_kernels_on_a_gpu():
    made = picture("Euler", 20, (512, 512))
    told = Conditions("sd15", 512, 512, 2, "cuda", "fp16", 1, "wall", 1, False, "a card")
    slow = Row("deep blocks n = 3, 1 awake", 0.6, 0.0, 0.45, "8 of 20", 1.0)
    (by_clock,) = against_targets(told, made, [slow])
    (by_kernels,) = against_targets(told, made, [dataclasses.replace(slow, kernel_time=0.4)])
    assert "60.0%, missed" in by_clock
    assert "40.0%, met" in by_kernels


def test_settings_that_differ_in_their_schedule_alone_are_one_program():
    programs = {name: variant.program for name, variant in variants().items()}
    assert programs["deep blocks n = 3, 1 awake"] == programs["preset asleep half"]
    assert programs["deep blocks n = 3, 3 awake"] != programs["deep blocks n = 3, 2 awake"]
    assert Ours().program != Ours(sleep="deep blocks").program


def test_one_json_object_holds_the_time_of_each_variant_relative_to_no_patch(capsys):
    arguments = "--model narrow --size 64x64 --steps 20 --sampler Euler --rounds 1 --json --only"
    assert main([*arguments.split(), "deep blocks n = 3, 3", "DeepCache 3"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["pictures"]
    found = made["variants"]
    assert found[NONE]["relative"] == 1
    assert {"DeepCache 3", "deep blocks n = 3, 3 awake"} < set(found)
    assert all(row["relative"] > 0 and 0 < row["counted"] <= 1 for row in found.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "3"], "--batch must be even"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--size", "500x500"], "size must be WIDTHxHEIGHT in multiples of 64"),
        (["--only", "nothing"], "--only: no variant begins with 'nothing'"),
    ],
)
def test_wrong_input_is_named(arguments, message, capsys):
    assert main([*arguments, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
