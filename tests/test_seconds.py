"""The seconds of an image: what was measured, put together for other sizes and settings.

The clock of these tests is the arithmetic that PyTorch counts, at a rate of its own: it never
differs from run to run, and what an image takes by it can be counted beside the estimate.
"""

import functools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slothful
from benchmarks.effects.cost import flop_counter
from slothful import MachineCosts, Moment, Rates, Settings
from slothful.planning.fitting import nonnegative_fit
from slothful.planning.seconds import on_line
from slothful_webui.costs import CostsFile, Machine
from tests.unets import inputs, make_unet, module_state

RATE = 1e-9
LAYOUTS = ("sd1", "sdxl")
unet_of = functools.cache(make_unet)
NONE = Settings(method="Sleep only")
MACHINE = Machine("GPU", "2.0", "default", "float32")


def call_of(unet, width, height, rows=1):
    """(latent, timesteps, keyword arguments) with a prompt of 77 tokens."""
    _, timesteps, keywords = inputs(unet, batch=rows)
    context = torch.randn(rows, 77, 24, generator=torch.Generator().manual_seed(0))
    keywords["context"] = [context] * 3 if isinstance(keywords["context"], list) else context
    return torch.zeros(rows, 4, height // 8, width // 8), timesteps, keywords


@functools.cache
def measured(layout, **options):
    """The costs of a small U-Net by the arithmetic that it does."""
    unet = unet_of(layout)
    latent, timesteps, keywords = call_of(unet, 64, 64, rows=2)
    with flop_counter() as counter:
        return slothful.measure(
            unet, (latent, timesteps), keywords, sizes=(128, 192, 256),
            clock=lambda: RATE * counter.get_total_flops(), **options,
        )  # fmt: skip


def counted(unet, settings, moment, size, rows=1):
    """What a call takes by that clock."""
    latent, timesteps, keywords = call_of(unet, *size, rows)
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", slothful.PassClock([600.0, 599.0]), size)
        for timestep in (600.0, 599.0):
            with flop_counter() as counter:
                unet(latent, timesteps.fill_(timestep), **keywords)
    return RATE * counter.get_total_flops()


def moment_of(size):
    """The second of two steps."""
    return Moment(599.0, 0.401, 1, size=size, times=(0.4, 0.401), index=1)


@pytest.mark.parametrize("options", [{}, dict(budget=1e-9)], ids=["enough time", "little time"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(method="Slothful Attention", time_decay=0.0),
        dict(method="Near-sighted Attention", time_decay=0.0),
        dict(sleep="deep blocks"),
        dict(sleep="transformers"),
        dict(sleep="attention"),
        dict(sleep="whole calls"),
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "nothing",
)
def test_a_size_that_was_not_measured_takes_what_is_told(layout, changes, options):
    unet, size = unet_of(layout), (384, 320)
    settings = Settings(**{"method": "Sleep only", "sleep_min_steps": 1, **changes})
    shape, moment, costs = slothful.shape_of(unet), moment_of(size), measured(layout, **options)
    told = slothful.estimate_seconds(settings, shape, costs, *size, [moment], rows=1)
    whole = counted(unet, NONE, moment, size)
    assert told.without == pytest.approx(whole, rel=0.03)
    # 5 % of the whole, for little is left where nearly all sleeps
    assert told.left == pytest.approx(counted(unet, settings, moment, size), abs=0.05 * whole)


def test_measuring_leaves_the_unet_as_it_was_and_says_how_far_it_is():
    unet, shares = make_unet("sd1"), []
    before = module_state(unet)
    latent, timesteps, keywords = call_of(unet, 64, 64)
    slothful.measure(unet, (latent, timesteps), keywords, shares.append, sizes=(64, 128))
    assert module_state(unet) == before
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_measuring_that_is_stopped_leaves_the_unet_as_it_was():
    unet = make_unet("sd1")
    before = module_state(unet)
    latent, timesteps, keywords = call_of(unet, 64, 64)

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slothful.measure(unet, (latent, timesteps), keywords, stop, sizes=(64, 128))
    assert module_state(unet) == before


def test_what_sleeps_is_never_longer_than_what_is_awake():
    shape, costs = slothful.shape_of(unet_of("sd1")), measured("sd1")
    moments = [
        Moment(1000 - 50 * i, i / 20, i, times=tuple(j / 20 for j in range(20)), index=i)
        for i in range(20)
    ]
    left = [
        slothful.estimate_seconds(
            NONE.replace(sleep="deep blocks", sleep_every=every), shape, costs, 512, 512, moments
        ).left
        for every in (1, 2, 3, 4, 6)
    ]
    assert left == sorted(left, reverse=True)
    half = NONE.replace(negative="asleep")
    one_sided = slothful.estimate_seconds(half, shape, costs, 512, 512, moments)
    assert 0.5 * one_sided.without < one_sided.left < one_sided.without


# -- lines and fits


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(1e-3, 10)), min_size=1, max_size=5),
    st.floats(0.01, 1e8),
)
def test_a_line_never_falls_below_nothing_nor_grows_faster_than_in_proportion(points, amount):
    operations = sorted({x for x, _ in points})
    seconds = sorted(y for _, y in points)
    line = tuple(zip(operations, seconds))
    (first, low), (last, most) = line[0], line[-1]
    value = on_line(line, amount)
    if amount <= first:
        assert low * amount / first * 0.999 <= value <= low * 1.001
    elif amount >= last:
        assert most * 0.999 <= value <= most * amount / last * 1.001
    else:
        assert low * 0.999 <= value <= most * 1.001


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.integers(0, 10**6))
def test_a_fit_finds_what_made_the_numbers(truth, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.rand(12, 3, generator=generator) + 0.1).double()
    rows[:, 1] *= 1e6  # units differ
    sought = rows @ torch.tensor(truth, dtype=torch.float64)
    found = nonnegative_fit(rows.tolist(), sought.tolist())
    assert min(found) >= 0
    again = rows @ torch.tensor(found, dtype=torch.float64)
    assert torch.allclose(again, sought, rtol=1e-3, atol=1e-3)


# -- the file


def test_costs_that_were_kept_are_found_for_the_same_machine_and_model_alone(tmp_path):
    shape, other = slothful.shape_of(unet_of("sd1")), slothful.shape_of(unet_of("sdxl"))
    kept = CostsFile(tmp_path)
    assert kept.load(MACHINE, shape) is None
    kept.save(MACHINE, shape, measured("sd1"))
    kept.save(MACHINE, other, measured("sdxl"))
    again = CostsFile(tmp_path)
    assert again.load(MACHINE, shape) == measured("sd1")
    assert again.load(MACHINE, other) == measured("sdxl")
    for name in ("device", "torch", "attention", "precision"):
        changed = {**vars(MACHINE), name: "another"}
        assert again.load(Machine(**changed), shape) is None
    assert again.problem is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"version": 2, "measured": []}', '{"version": 1, "measured": 3}',
     '{"version": 1, "measured": [3]}', '{"version": 1, "measured": [{"costs": 5}]}',
     "[" * 100_000],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_told_and_ignored(content, tmp_path, caplog):
    shape = slothful.shape_of(unet_of("sd1"))
    kept = CostsFile(tmp_path)
    kept.path.parent.mkdir()
    kept.path.write_text(content)
    for _ in range(2):  # the second time from what was read before
        assert kept.load(MACHINE, shape) is None
        text, values = kept.problem
        assert "costs.json" in text.format(**values)
    assert "costs.json" in caplog.text
    kept.save(MACHINE, shape, measured("sd1"))
    assert CostsFile(tmp_path).load(MACHINE, shape) == measured("sd1")


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "x", None, [], {}])
@pytest.mark.parametrize("name", ["hook", "blocks", "parts", "attention"])
def test_a_number_that_no_machine_has_is_told_and_the_entry_ignored(name, value, tmp_path):
    shape = slothful.shape_of(unet_of("sd1"))
    kept = CostsFile(tmp_path)
    path = kept.save(MACHINE, shape, measured("sd1"))
    content = json.loads(path.read_text())
    content["measured"][0]["costs"][name] = value
    path.write_text(json.dumps(content))
    assert kept.load(MACHINE, shape) is None
    assert kept.problem is not None


def test_costs_of_another_model_are_refused():
    shape = slothful.shape_of(unet_of("sd1"))
    costs = measured("sd1")
    strange = MachineCosts({}, {}, {"1x1": Rates(0, 0, 0)}, 0, 0, 0)
    with pytest.raises(ValueError, match="nothing was measured of"):
        slothful.check_costs(strange, shape)
    slothful.check_costs(costs, shape)
