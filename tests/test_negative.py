"""The negative side asleep: only positive rows run, and the negative ones follow from them."""

import itertools
import random

import pytest
import torch

import slothful
from slothful import PassClock, Row, Settings
from slothful.unet import obstacles
from slothful.unet.foreign import OwnHook
from tests.negatives import Sides, SlowNegative, one_sided, step
from tests.sleeping import PARTS, STEPS
from tests.unets import make_unet, module_state

REQUESTS = {
    "joined": [(0, 1), (0, 0)],
    "negative first": [(0, 0), (0, 1)],
    "batch": [(0, 1), (1, 2), (0, 0), (1, 0)],
    "AND": [(0, 1), (0, 3), (1, 2), (0, 0), (1, 0)],
    "shuffled": [(1, 0), (0, 1), (1, 2), (0, 0)],
}


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


def computed_rows(unet, call):
    """With how many rows the U-Net's first block is called in each call."""
    counts = []
    handle = unet.input_blocks[0].register_forward_hook(
        lambda module, args, output: counts.append(len(output))
    )
    result = call()
    handle.remove()
    return counts, result


@pytest.mark.parametrize(
    ("layout", "rows"),
    [*(("sd1", rows) for rows in REQUESTS.values()), ("sdxl", REQUESTS["AND"])],
)
@torch.no_grad()
def test_every_other_step_is_what_a_loop_over_rows_gives(layout, rows):
    unet = make_unet(layout)
    slow, request = SlowNegative(make_unet(layout)), Sides(layout, *rows)
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS):
            counts, output = computed_rows(
                unet, lambda timestep=timestep: step(application, unet, request, timestep)
            )
            expected, asleep = slow.run(request, timestep, index)
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
            assert counts == [len(rows) - len(request.pairs) if asleep else len(rows)]
    assert (application.one_sided_steps, application.step_count) == (3, 7)
    assert application.negative_notes == ()


@torch.no_grad()
def test_where_both_sides_are_always_computed_the_images_are_the_same_to_the_bit(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    plain = [request.run(unet, timestep) for timestep in STEPS]
    never = (dict(negative_every=1), dict(negative_first=1), dict(passes="hires"),
             dict(sleep_min_steps=50), dict(negative="computed"))  # fmt: skip
    for changes in never:
        with slothful.applied(unet, one_sided(**changes)) as application:
            application.begin_pass("base", PassClock(STEPS))
            for timestep, expected in zip(STEPS, plain):
                assert torch.equal(step(application, unet, request, timestep), expected)
        assert application.one_sided_steps == 0


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch_or_on_the_order_of_rows(unet):
    answers = []
    for name in ("joined", "negative first", "batch", "shuffled"):
        request = Sides("sd1", *REQUESTS[name])
        place = request.rows.index(Row(0, negative=True))
        with slothful.applied(unet, one_sided()) as application:
            application.begin_pass("base", PassClock(STEPS))
            answers.append([step(application, unet, request, t)[place] for t in STEPS])
    for other in answers[1:]:
        torch.testing.assert_close(
            torch.stack(other), torch.stack(answers[0]), rtol=1e-4, atol=1e-4
        )


def test_rows_that_are_not_what_was_told_are_all_computed(unet):
    """By their latents, or by their texts where the host has told them."""
    images = Sides("sd1", (0, 1), (1, 1), (0, 0), (1, 0))
    images.latent = images.latent[[0, 1, 3, 2]]
    texts = Sides("sd1", *REQUESTS["joined"])
    told = texts.keywords["context"]
    texts.keywords = {"context": told.flip(0)}
    for request, text in ((images, None), (texts, told)):
        reasons = said(unet, request, text)
        assert reasons == (obstacles.OTHER_ROWS,)


def said(unet, request, texts=None, rows=None, size=None, settings=None):
    """Why both sides were computed in all steps."""
    with torch.no_grad(), slothful.applied(unet, settings or one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS), size)
        for timestep in STEPS[:2]:
            application.begin_step()
            application.expect_rows(request.rows if rows is None else rows, texts)
            output = request.run(unet, timestep)
    assert application.one_sided_steps == 0
    assert torch.equal(output, request.run(unet, timestep))
    assert application.why_nothing() == application.negative_notes[0]
    return application.negative_notes


@torch.no_grad()
def test_what_is_not_known_is_computed_and_said(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    assert said(unet, request, rows=[]) == (obstacles.UNKNOWN_ROWS,)
    assert said(unet, request, rows=request.rows[:1]) == (obstacles.UNKNOWN_ROWS,)
    # a tile of the image
    assert said(unet, request, size=(256, 256)) == (obstacles.UNKNOWN_ROWS,)
    assert said(unet, Sides("sd1", (0, 1), (0, 0)), rows=[Row(0, True), Row(1)]) == (
        obstacles.APART,
    )


def sides_apart():
    """The same rows in two calls, and what tells of them."""
    both, positive, negative = (Sides("sd1", (0, 1), (0, 0)) for _ in range(3))
    for request, place in ((positive, slice(0, 1)), (negative, slice(1, 2))):
        request.latent = request.latent[place]
        request.keywords = {"context": request.keywords["context"][place]}
    return both.rows, positive, negative


@torch.no_grad()
def test_a_negative_side_whose_prompt_comes_later_is_computed_and_said(unet):
    rows, positive, negative = sides_apart()
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS[:2]:
            application.begin_step()
            application.expect_rows(rows[::-1])
            outputs = [each.run(unet, timestep) for each in (negative, positive)]
    assert application.negative_notes == (obstacles.APART,)
    for output, request in zip(outputs, (negative, positive)):
        assert torch.equal(output, request.run(unet, timestep))


@pytest.mark.parametrize("also", [{}, dict(sleep="whole calls"), dict(sleep="attention")])
@torch.no_grad()
def test_a_call_that_runs_nothing_leaves_nothing_behind(unet, also):
    """Also where it fails, or another image's latent comes in the meantime."""
    rows, positive, negative = sides_apart()
    settings = one_sided(**also, sleep_first=0, sleep_last=0, keep_middle=False)
    state, made = module_state(unet), []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS):
            application.begin_step()
            application.expect_rows(rows)
            positive.run(unet, timestep)
            if index == 3:
                fails = unet.register_forward_pre_hook(OwnHook(interrupt))
                with pytest.raises(InterruptedError):
                    negative.run(unet, timestep)
                fails.remove()
                continue
            if index == 5:
                negative.latent = negative.latent + 1
            output = negative.run(unet, timestep)
            made.append(application.take_calls()[-1].asleep)
            if not made[-1] and not also:
                alone = make_unet("sd1")
                torch.testing.assert_close(output, negative.run(alone, timestep))
    # after the fault nothing is known; the other latent is not that of the image
    assert made == [0, 1, 0, 0, 0, 0]
    assert application.negative_notes == (obstacles.OTHER_ROWS,)
    assert module_state(unet) == state


def interrupt(*args):
    raise InterruptedError


@torch.no_grad()
def test_more_calls_than_were_told_are_computed(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS[:2]:
            step(application, unet, request, timestep)
            again = request.run(unet, timestep)
    assert application.negative_notes == (obstacles.UNKNOWN_ROWS,)
    assert torch.equal(again, request.run(unet, timestep))


def replaced_forward(unet):
    forward = unet.forward
    unet.forward = lambda *args, **kwargs: forward(*args, **kwargs)
    return lambda: delattr(unet, "forward")


def hooked_before(unet):
    return unet.register_forward_pre_hook(lambda module, args: None).remove


def hooked_after(unet):
    return unet.register_forward_hook(lambda *_: None, prepend=True).remove


def cross_attention(unet):
    attention = unet.middle_block[1].transformer_blocks[0].attn2
    return attention.register_forward_hook(lambda *_: None).remove


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replaced_forward, obstacles.UNET_REPLACED),
        (hooked_before, obstacles.UNET_HOOKED),
        (hooked_after, obstacles.UNET_HOOKED),
        (cross_attention, obstacles.CROSS_CHANGED),
    ],
)
@torch.no_grad()
def test_where_others_look_at_rows_both_sides_are_computed(unet, change, reason):
    request = Sides("sd1", *REQUESTS["joined"])
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        undo = change(unet)
        for timestep in STEPS[:2]:
            step(application, unet, request, timestep)
        undo()
        assert application.negative_notes == (reason,)
        assert application.one_sided_steps == 0
        for timestep in STEPS[2:4]:
            step(application, unet, request, timestep)
        assert application.one_sided_steps == 1


@torch.no_grad()
def test_a_tensor_whose_rows_are_not_known_keeps_both_sides_awake(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    request.keywords["extra"] = torch.zeros(3, 5)
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS[:2]:
            step(application, unet, request, timestep)
    assert application.negative_notes == (obstacles.MORE_ROWS,)


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_with_sleep_each_row_is_what_it_is_alone(unet, part):
    """Positive rows do not see that the negative side sleeps, where both schedules are one."""
    request, alone = Sides("sd1", *REQUESTS["batch"]), Sides("sd1", (0, 1), (1, 2))
    values = dict(sleep=part, sleep_first=0, sleep_last=0, keep_middle=False)
    outputs = []
    for each in (request, alone):
        with slothful.applied(unet, one_sided(**values, sleep_every=3, negative_every=3)) as both:
            both.begin_pass("base", PassClock(STEPS))
            outputs.append([step(both, unet, each, t)[:2] for t in STEPS])
        assert both.asleep_steps == 4
    for together, apart in zip(*outputs):
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("part", "forecast"), [*zip(PARTS, itertools.cycle(["last", "linear", "curve"]))]
)
@torch.no_grad()
def test_what_sleeps_is_what_the_schedule_says_beside_a_negative_side_that_sleeps(
    unet, part, forecast
):
    request = Sides("sd1", *REQUESTS["joined"])
    settings = one_sided(
        sleep=part, sleep_every=2, sleep_first=0, sleep_last=0, negative_every=3,
        sleep_forecast=forecast, keep_middle=False,
    )  # fmt: skip
    planned, found = [], []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS:
            step(application, unet, request, timestep)
            (call,) = application.take_calls()
            kinds = {type(plan).__name__ for plan in application.plans.values() if plan}
            found.append((kinds == {"Sleep"}, call.asleep == 1))
            moment = application.moment
            asleep = slothful.asleep_since(settings, moment) is not None
            planned.append((asleep, slothful.is_one_sided(settings, moment)))
    assert found == planned
    # 0 and 3 with both sides: at 3 nobody knows what the negative rows gave in step 2
    assert planned[:4] == [(False, False), (True, True), (False, True), (False, False)]


@pytest.mark.parametrize("seed", range(2))
@torch.no_grad()
def test_whatever_calls_follow_each_other_it_is_what_a_slow_formulation_gives(unet, seed):
    chance, slow = random.Random(seed), SlowNegative(make_unet("sd1"))
    usual, *others = (Sides("sd1", *rows) for rows in REQUESTS.values())
    others += [Sides("sd1", (0, 2), (0, 0)), Sides("sd1", (0, 1), (0, 0), size=(8, 16))]
    state, index, slept = module_state(unet), 0, []
    with slothful.applied(unet, one_sided()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for _ in range(20):
            event = chance.choice(["next"] * 8 + ["same", "back", "pass", "fault"])
            before, index = index, (index + (event == "next")) % len(STEPS)
            if event == "back":
                index = chance.randrange(len(STEPS))
            if event == "pass":
                application.begin_pass("base", PassClock(STEPS))
            if event == "fault":
                fail(application, unet, usual, STEPS[index])
            if index < before or event in ("pass", "fault"):
                slow.forget()
            request = chance.choice([*[usual] * 5, *others])
            expected, asleep = slow.run(request, STEPS[index], index)
            output = step(application, unet, request, STEPS[index])
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
            call = application.take_calls()[-1]
            assert call.asleep == (len(request.pairs) if asleep else 0)
            slept.append(asleep)
    assert 3 <= sum(slept) < 10
    assert module_state(unet) == state


def fail(application, unet, request, timestep):
    handle = unet.middle_block[0].register_forward_pre_hook(interrupt)
    with pytest.raises(InterruptedError):
        step(application, unet, request, timestep)
    handle.remove()


@torch.no_grad()
def test_methods_are_applied_to_what_is_computed(unet):
    request = Sides("sd1", *REQUESTS["batch"])
    method = dict(method="Slothful Attention", in_slothful=6, out_slothful=6, time_decay=0)
    with slothful.applied(unet, Settings(**method)):
        alone = [request.run(unet, timestep) for timestep in STEPS]
    with slothful.applied(unet, one_sided(**method)) as application:
        application.begin_pass("base", PassClock(STEPS))
        outputs = [step(application, unet, request, timestep) for timestep in STEPS]
    for output, expected in zip(outputs, alone):
        torch.testing.assert_close(output[:2], expected[:2], rtol=1e-4, atol=1e-4)
    assert application.one_sided_steps == 3


def test_the_estimate_and_the_count_of_what_was_made_agree(unet):
    settings, shape = one_sided(negative_every=3), slothful.shape_of(unet)
    request = Sides("sd1", *REQUESTS["batch"])
    moments = []
    with torch.no_grad(), slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS:
            step(application, unet, request, timestep)
            moments.append(application.moment)
        made = slothful.cost_of(settings, shape, application.take_calls())
    planned = slothful.estimate(settings, shape, 64, 64, moments)
    assert made.total_share == pytest.approx(planned.total_share)
    # of 7 steps 4 compute half
    assert planned.total_share == pytest.approx((3 + 4 / 2) / 7)
