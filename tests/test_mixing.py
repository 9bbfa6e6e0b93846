"""Keys mixed between the two halves of a batch."""

import itertools

import pytest
import torch

import slothful
from slothful import PassClock, Row, Settings
from slothful.settings.methods import AGENTS, COMPARING, NO_METHOD
from slothful.unet import obstacles
from slothful.unet.foreign import OwnHook
from tests.halves import mixing, played, replaced, slow_mixed
from tests.negatives import Sides, step
from tests.sleeping import PARTS, STEPS
from tests.test_negative import REQUESTS, interrupt
from tests.unets import make_unet, module_state

FEW = STEPS[::4]
ROUGHLY = dict(rtol=1e-4, atol=1e-4)
MIXES = ("push", "share", "repel")
BATCH = REQUESTS["shuffled"]


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


def at_work(method, **changes) -> dict:
    """A method that is at work at each site of a small U-Net."""
    return dict(
        method=method, time_decay=0, in_slothful=4, out_slothful=4, tile_size=16, base_tile_size=16,
        peak_tile_size=16, tiling_max_depth=2, plain_tile_size=32, plain_max_depth=2,
        downsample_depth_1=2, downsample_depth_2=2, merge_ratio=0.5, merge_max_downsample=2,
        only_where_it_pays=False, min_size=0, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(
    ("layout", "rows"), [("sd1", BATCH), ("sdxl", REQUESTS["joined"]), ("sd1", REQUESTS["AND"])]
)
@torch.no_grad()
def test_it_is_what_a_loop_over_rows_and_heads_gives(layout, rows, mix):
    unet, slow, request = make_unet(layout), make_unet(layout), Sides(layout, *rows)
    weights = {"OUT04": 0.5, "OUT05": 0.0}
    settings = mixing(mix, block_weights=weights, mix_peak_time=1, mix_time_decay=1)
    outputs, application = played(unet, settings, request, FEW)
    for timestep, output in zip(FEW, outputs):
        moment = slothful.Moment(timestep, 1 - timestep / 1000)
        amounts = {
            attention: slothful.mixed_amount(settings, moment, modules.site)
            for modules in slothful.find_sites(slow)
            for attention in modules.attentions
        }
        assert len({round(each, 6) for each in amounts.values()}) == 3
        with replaced(slow, "attn1", slow_mixed(mix, amounts, request)):
            torch.testing.assert_close(output, request.run(slow, timestep), **ROUGHLY)
        assert (output - request.run(slow, timestep)).abs().max() > 1e-3
    names = [modules.site.name for modules in slothful.find_sites(unet)]
    assert application.applied_sites == tuple(name for name in names if name != "OUT05")
    assert (application.notes, application.mix_notes) == ({}, ())


PAIRS = [*zip(COMPARING, itertools.cycle(MIXES))]


@pytest.mark.parametrize(("method", "mix"), PAIRS)
@torch.no_grad()
def test_an_amount_of_0_changes_no_bit(unet, method, mix):
    request = Sides("sd1", *REQUESTS["batch"], size=(24, 24))
    plain, _ = played(unet, Settings(**at_work(method)), request, FEW)
    nothing, application = played(
        unet, Settings(**at_work(method, mix=mix, mix_amount=0)), request, FEW
    )
    assert all(map(torch.equal, nothing, plain))
    assert application.mix_notes == ()


@torch.no_grad()
def test_outside_its_limits_nothing_is_mixed(unet):
    request = Sides("sd1", *REQUESTS["batch"])
    outputs, application = played(unet, mixing("share", passes="hires"), request, FEW)
    plain = [request.run(unet, timestep) for timestep in FEW]
    assert all(map(torch.equal, outputs, plain))
    assert (application.mix_notes, application.applied_sites) == ((), ())


@pytest.mark.parametrize(
    "also",
    [dict(kept_token="merged"), dict(kept_token="first"), dict(channels_depth_1=0.5)],
    ids=str,
)
@pytest.mark.parametrize("method", COMPARING)
@torch.no_grad()
def test_with_each_method_sides_that_are_the_same_stay_what_they_are(unet, method, also):
    """Where both have the same keys, pushing moves nothing and sharing changes no weight; what is
    repelled is smaller by a known factor.
    """
    request = Sides("sd1", *REQUESTS["batch"], size=(24, 24))
    request.keywords["context"][2:] = request.keywords["context"][:2]
    values = at_work(method, keep_middle=False, **also)
    plain, application = played(unet, Settings(**values), request, FEW)
    assert bool(application.applied_sites) == (method != NO_METHOD or "kept_token" not in also)
    for mix in ("push", "share"):
        outputs, application = played(unet, Settings(**values, mix=mix), request, FEW)
        for output, expected in zip(outputs, plain):
            torch.testing.assert_close(output, expected, **ROUGHLY)
        assert not application.notes
    answers = first_answers(unet, request, Settings(**values))
    repelled = first_answers(unet, request, Settings(**values, mix="repel", mix_amount=0.6))
    torch.testing.assert_close(repelled, answers * (1 - 0.6) / (1 + 0.6), **ROUGHLY)


@pytest.mark.parametrize("mix", MIXES)
@torch.no_grad()
def test_keys_of_fewer_channels_are_mixed_too(unet, mix):
    request = Sides("sd1", *REQUESTS["batch"], size=(24, 24))
    changes = []
    for share in (1, 0.9):
        values = at_work(NO_METHOD, keep_middle=False, channels_depth_1=share)
        plain, _ = played(unet, Settings(**values), request, FEW)
        outputs, application = played(unet, Settings(**values, mix=mix), request, FEW)
        assert not application.notes
        changes.append(torch.stack(outputs) - torch.stack(plain))
    assert (changes[1] - changes[0]).norm() < 0.5 * changes[0].norm()


@pytest.mark.parametrize("mix", MIXES)
@torch.no_grad()
def test_agents_see_keys_that_were_pushed_and_no_others(unet, mix):
    request = Sides("sd1", *REQUESTS["batch"], size=(24, 24))
    values = at_work(AGENTS, keep_middle=False, agent_every=2)
    plain, _ = played(unet, Settings(**values), request, FEW)
    outputs, application = played(unet, Settings(**values, mix=mix), request, FEW)
    looked = set() if mix == "push" else {obstacles.AGENTS_LOOK}
    assert set(application.notes.values()) == looked
    assert not any(map(torch.equal, outputs, plain))  # where no agents are, keys are mixed


@torch.no_grad()
def first_answers(unet, request, settings):
    """What enters to_out of the first self-attention."""
    attention, seen = slothful.find_sites(unet)[0].attentions[0], []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        record = OwnHook(lambda module, args: seen.append(args[0]))
        handle = attention.to_out[1].register_forward_pre_hook(record)
        step(application, unet, request, FEW[0])
        handle.remove()
    bias = attention.to_out[0].bias
    return seen[0] - bias


@pytest.mark.parametrize(
    ("method", "mix"), [*PAIRS, ("Sleep only", "share"), ("Sleep only", "repel")]
)
@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch_or_on_the_order_of_rows(unet, method, mix):
    answers = []
    settings = Settings(**at_work(method, mix=mix, keep_middle=False, merge_random=False))
    for name in ("joined", "negative first", "batch", "shuffled"):
        request = Sides("sd1", *REQUESTS[name], size=(24, 24))
        places = [request.rows.index(Row(0)), request.rows.index(Row(0, negative=True))]
        outputs, application = played(unet, settings, request, FEW)
        answers.append(torch.stack([each[places] for each in outputs]))
        assert not application.notes
    for other in answers[1:]:
        torch.testing.assert_close(other, answers[0], **ROUGHLY)


@torch.no_grad()
def test_token_merging_takes_the_others_keys_at_the_places_of_its_own(unet):
    """By the mean over what each row has merged, token by token."""
    settings = Settings(**at_work("Token Merging", mix="push", mix_amount=1, merge_random=False))
    request, seen = Sides("sd1", *REQUESTS["joined"], size=(24, 24)), {}
    modules = slothful.find_sites(unet)[0]
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        hooks = application._site_hooks[modules.site.name][0].attentions[0]
        keys = OwnHook(lambda module, args, output: seen.update(pushed=output))
        handle = modules.attentions[0].to_k.register_forward_hook(keys)
        before = OwnHook(lambda module, args, output: seen.update(plain=output))
        other = modules.attentions[0].to_k.register_forward_hook(before, prepend=True)
        ends = OwnHook(lambda *_: seen.update(match=hooks._kind._match))
        third = modules.attentions[0].to_v.register_forward_hook(ends)
        step(application, unet, request, FEW[0])
        for each in (handle, other, third):
            each.remove()
    plain, pushed, match = seen["plain"], seen["pushed"], seen["match"]
    places = match._joined[..., 0]  # of each token the number of its key
    for key in range(plain.shape[1]):
        own = (places[0] == key).nonzero()[:, 0]
        theirs = plain[1, places[1, own]].mean(dim=0)
        expected = plain[0, key] + (plain[0, key] - theirs)
        torch.testing.assert_close(pushed[0, key], expected, **ROUGHLY)
    assert torch.equal(pushed[1], plain[1])


@pytest.mark.parametrize(
    ("part", "mix", "method"), [*zip(PARTS, itertools.cycle(MIXES), COMPARING)]
)
@torch.no_grad()
def test_with_sleep(unet, part, mix, method):
    """What sleeps is what the schedule says, and gives what it gave with mixed keys."""
    values = dict(sleep=part, sleep_every=2, sleep_first=0, sleep_last=0, sleep_min_steps=1,
                  sleep_forecast="last", keep_middle=False)  # fmt: skip
    request, state = Sides("sd1", *REQUESTS["batch"], size=(24, 24)), module_state(unet)
    settings = Settings(**at_work(method, mix=mix, **values))
    outputs, application = played(unet, settings, request)
    awake, _ = played(unet, settings.replace(sleep="nothing"), request)
    assert application.asleep_steps == 3
    assert torch.equal(outputs[0], awake[0])
    assert not application.notes
    assert module_state(unet) == state


def kept_off(unet, request, settings, told=None):
    """Why keys were mixed in no call."""
    with torch.no_grad(), slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        for timestep in FEW:
            application.begin_step()
            application.expect_rows(request.rows if told is None else told)
            assert torch.equal(request.run(unet, timestep), request.run(make_unet("sd1"), timestep))
    assert application.applied_sites == ()
    assert application.why_nothing() == application.mix_notes[0]
    return application.mix_notes


@pytest.mark.parametrize("mix", MIXES)
def test_where_it_cannot_be_done_it_is_left_out_and_said(unet, mix):
    half = Sides("sd1", (0, 1), (1, 2))
    assert kept_off(unet, half, mixing(mix)) == (obstacles.ONE_HALF,)
    some = Sides("sd1", (0, 1), (1, 2), (1, 0))
    assert kept_off(unet, some, mixing(mix)) == (obstacles.ONE_HALF,)
    both = Sides("sd1", *REQUESTS["joined"])
    assert kept_off(unet, both, mixing(mix), told=[]) == (obstacles.UNKNOWN_ROWS,)


@torch.no_grad()
def test_where_the_negative_side_sleeps_nothing_is_mixed_and_nothing_said(unet):
    request = Sides("sd1", *REQUESTS["batch"])
    values = dict(negative="asleep", negative_first=0, negative_last=0, sleep_min_steps=1)
    outputs, application = played(unet, mixing("push", **values), request)
    mixed, _ = played(unet, mixing("push"), request)
    assert (application.one_sided_steps, application.mix_notes) == (3, ())
    for index, (output, other) in enumerate(zip(outputs, mixed)):
        if index % 2 == 0:
            assert torch.equal(output, other)
        else:
            plain = request.run(make_unet("sd1"), STEPS[index])
            torch.testing.assert_close(output[:2], plain[:2], **ROUGHLY)


@torch.no_grad()
def test_a_site_that_others_keep_is_skipped_and_said(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    modules = slothful.find_sites(unet)[0]
    handle = modules.attentions[0].to_k.register_forward_hook(lambda *_: None)
    _, application = played(unet, mixing("share"), request, FEW)
    handle.remove()
    assert application.notes == {modules.site.name: obstacles.HOOKED}
    assert modules.site.name not in application.applied_sites
    assert application.applied_sites


@pytest.mark.parametrize("mix", MIXES)
@torch.no_grad()
def test_nothing_is_left_after_a_fault_and_it_is_mixed_again(unet, mix):
    request, state = Sides("sd1", *REQUESTS["joined"]), module_state(unet)
    settings = mixing(mix)
    expected = played(unet, settings, request, FEW)[0][1]
    attention = slothful.find_sites(unet)[2].attentions[0]
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        fails = attention.to_v.register_forward_pre_hook(OwnHook(interrupt))
        with pytest.raises(InterruptedError):
            step(application, unet, request, FEW[0])
        fails.remove()
        assert torch.equal(step(application, unet, request, FEW[1]), expected)
        fails = attention.to_v.register_forward_pre_hook(OwnHook(interrupt))
        with pytest.raises(InterruptedError):
            step(application, unet, request, FEW[0])
        fails.remove()
    assert module_state(unet) == state


@pytest.mark.parametrize("mix", MIXES)
def test_the_estimate_and_the_count_of_what_was_made_agree(unet, mix):
    settings, shape = Settings(**at_work("Slothful Attention", mix=mix)), slothful.shape_of(unet)
    request, moments = Sides("sd1", *REQUESTS["batch"], size=(24, 24)), []
    with torch.no_grad(), slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        for timestep in FEW:
            step(application, unet, request, timestep)
            moments.append(application.moment)
        made = slothful.cost_of(settings, shape, application.take_calls())
    planned = slothful.estimate(settings, shape, 192, 192, moments)
    alone = slothful.estimate(settings.replace(mix="nothing"), shape, 192, 192, moments)
    assert made.total_share == pytest.approx(planned.total_share)
    assert (planned.total_share > alone.total_share) == (mix != "push")
