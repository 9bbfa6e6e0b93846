"""The negative prompt in cross-attention: negative rows are never run."""

import pytest
import torch

import slothful
from slothful import PassClock, Prompt, Row
from slothful.unet import obstacles
from slothful.unet.foreign import OwnHook
from standalone.attention import attention_by, sdpa_attention
from tests.halves import attending, played, slow_attended
from tests.negatives import Sides, step
from tests.sleeping import PARTS, STEPS
from tests.test_negative import REQUESTS, computed_rows, interrupt, replaced_forward, sides_apart
from tests.unets import make_unet, module_state, plain_attention

FEW = STEPS[::2]
ROUGHLY = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def unet():
    return make_unet("sd1")


@pytest.mark.parametrize("form", ["NAG", "VSF"])
@pytest.mark.parametrize(
    ("layout", "rows"),
    [*(("sd1", rows) for rows in REQUESTS.values()), ("sdxl", REQUESTS["AND"])],
)
@torch.no_grad()
def test_it_is_what_a_loop_over_rows_heads_and_tokens_gives(layout, rows, form):
    unet, request, settings = make_unet(layout), Sides(layout, *rows), attending(negative_form=form)
    request.rows = [Row(*key, weight) for key, weight in zip(
        ((row.image, row.negative, row.prompt) for row in request.rows), (1, 0.6, 1.4, 1, 0.5)
    )]  # fmt: skip
    slow = make_unet(layout)
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        for timestep in FEW[:2]:
            counts, output = computed_rows(
                unet, lambda timestep=timestep: step(application, unet, request, timestep)
            )
            expected = slow_attended(slow, request, timestep, settings)
            torch.testing.assert_close(output, expected, **ROUGHLY)
            assert counts == [len(rows) - len(request.pairs)]
            plain = request.run(slow, timestep)
            assert (output - plain).abs().max() > 1e-3
    assert (application.one_sided_steps, application.negative_notes) == (2, ())


@torch.no_grad()
def test_marked_prompts_have_the_weights_that_were_told_of_their_texts(unet):
    """The host marks the rows of each call by their sides and takes the last prompt first."""
    request = Sides("sd1", *((image, prompt) for prompt in (0, 2, 1) for image in (0, 1)))
    request.rows = [*(Row(image, True) for image in (0, 1)),
                    *(Row(image, False, number, weight) for number, weight in ((0, 0.6), (1, 1.4))
                      for image in (0, 1))]  # fmt: skip
    texts = request.keywords["context"].split(2)
    prompts = [Prompt(weight, text) for weight, text in zip((0.6, 1.4), texts[1:])]
    settings, marks = attending(), {"cond_or_uncond": [1, 0, 0]}
    expected = slow_attended(make_unet("sd1"), request, FEW[0], settings)
    cases = [(prompts, ()), (prompts[::-1], (obstacles.OTHER_ROWS,)),
             (prompts[:1], (obstacles.UNKNOWN_ROWS,))]  # fmt: skip
    for told, reason in cases:
        with slothful.applied(unet, settings) as application:
            application.begin_pass("base", PassClock(FEW))
            application.begin_step()
            application.expect_rows(prompts=told)
            with_marks = {**request.keywords, "transformer_options": marks}
            output = unet(request.latent, torch.full((6,), FEW[0]), **with_marks)
        same = torch.allclose(output, expected, **ROUGHLY)
        assert (same, application.negative_notes) == (not reason, reason)


@torch.no_grad()
def test_both_sides_are_computed_as_ever_at_the_ends_of_a_pass(unet):
    request = Sides("sd1", *REQUESTS["batch"])
    outputs, application = played(
        unet, attending(negative_first=0.25, negative_last=0.25), request, STEPS
    )
    plain = [request.run(unet, timestep) for timestep in STEPS]
    same = [torch.equal(one, other) for one, other in zip(outputs, plain)]
    assert same == [True, True, False, False, False, True, True]
    assert application.one_sided_steps == 3
    assert [call.attends for call in application.take_calls()] == [not each for each in same]


@pytest.mark.parametrize("form", ["NAG", "VSF"])
@torch.no_grad()
def test_it_acts_where_there_is_no_negative_side(unet, form):
    """As at a CFG scale of 1: the host tells the negative prompts, or one for all."""
    settings, both = attending(negative_form=form), Sides("sd1", *REQUESTS["batch"])
    request, texts = Sides("sd1", (0, 1), (1, 2)), both.keywords["context"][2:]
    texts[1] += 1  # another one for each image
    expected = slow_attended(make_unet("sd1"), both, FEW[0], settings)[:2]
    with slothful.applied(unet, settings) as application:
        for negatives, same in ((texts, True), (texts[:1], False)):
            application.begin_pass("base", PassClock(FEW))
            application.begin_step()
            application.expect_rows(request.rows, negatives=negatives)
            output = request.run(unet, FEW[0])
            torch.testing.assert_close(output[0], expected[0], **ROUGHLY)
            assert torch.allclose(output[1], expected[1], **ROUGHLY) == same
            call = application.take_calls()[-1]
            assert (call.asleep, call.attends) == (0, True)
    assert application.one_sided_steps == 2
    assert application.why_nothing() is None


@torch.no_grad()
def test_sides_in_separate_calls(unet):
    """The negative prompt's call runs nothing, and gives what the prompt's gave."""
    rows, positive, negative = sides_apart()
    settings, texts = attending(), negative.keywords["context"]
    expected = slow_attended(make_unet("sd1"), Sides("sd1", (0, 1), (0, 0)), FEW[0], settings)
    ran = []
    inner = unet.middle_block[0].in_layers  # which a block that is replaced never calls
    handle = inner.register_forward_hook(lambda *_: ran.append(1))
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(FEW))
        application.begin_step()
        application.expect_rows(rows, negatives=texts)
        outputs = [each.run(unet, FEW[0]) for each in (positive, negative)]
    handle.remove()
    assert len(ran) == 1
    assert torch.equal(outputs[1], outputs[0])
    torch.testing.assert_close(outputs[0], expected[:1], **ROUGHLY)
    assert [call.asleep for call in application.take_calls()] == [0, 1]


@torch.no_grad()
def test_marks_tell_of_sides_in_separate_calls_as_well(unet):
    """Whether a negative call follows is not known then; the first time it is computed."""
    _, positive, negative = sides_apart()
    with slothful.applied(unet, attending()) as application:
        application.begin_pass("base", PassClock(FEW))
        for timestep in FEW[:2]:
            application.begin_step()
            application.expect_rows(negatives=negative.keywords["context"])
            outputs = []
            for mark, each in ((0, positive), (1, negative)):
                each.keywords["transformer_options"] = {"cond_or_uncond": [mark]}
                options = each.keywords.pop("transformer_options")
                times = torch.full((1,), timestep)
                outputs.append(
                    unet(each.latent, times, **each.keywords, transformer_options=options)
                )
            assert torch.equal(*outputs)
        assert [call.asleep for call in application.take_calls()] == [0, 0, 0, 1]
    assert application.negative_notes == ()


@torch.no_grad()
def test_what_comes_before_its_prompt_is_computed_and_so_is_the_prompt(unet):
    rows, positive, negative = sides_apart()
    with slothful.applied(unet, attending()) as application:
        application.begin_pass("base", PassClock(FEW))
        application.begin_step()
        application.expect_rows(rows[::-1], negatives=negative.keywords["context"])
        outputs = [each.run(unet, FEW[0]) for each in (negative, positive)]
    assert application.negative_notes == (obstacles.APART,)
    for output, request in zip(outputs, (negative, positive)):
        assert torch.equal(output, request.run(unet, FEW[0]))


@torch.no_grad()
def test_values_that_move_nothing(unet):
    request = Sides("sd1", *REQUESTS["joined"])
    plain = [request.run(unet, timestep)[0] for timestep in FEW]
    for values in (dict(negative_alpha=0), dict(negative_scale=1)):
        outputs, _ = played(unet, attending(**values), request, FEW)
        for output, expected in zip(outputs, plain):
            torch.testing.assert_close(output[0], expected, **ROUGHLY)


@torch.no_grad()
def test_a_negative_prompt_is_projected_once(unet):
    request, other = Sides("sd1", *REQUESTS["AND"]), Sides("sd1", *REQUESTS["AND"])
    other.keywords["context"][3:] += 1
    projection, seen = unet.middle_block[1].transformer_blocks[0].attn2.to_k, []
    record = OwnHook(lambda module, args: seen.append(len(args[0])))
    handle = projection.register_forward_pre_hook(record)
    with slothful.applied(unet, attending()) as application:
        application.begin_pass("base", PassClock(STEPS))
        for asked, timestep in zip([request, request, other, other, request], STEPS):
            step(application, unet, asked, timestep)
        application.begin_pass("hires", PassClock(STEPS))
        step(application, unet, request, STEPS[0])
    handle.remove()
    # three prompts in each step, and two negative ones whenever these are new
    assert seen == [2, 3, 3, 2, 3, 3, 2, 3, 2, 3]


@torch.no_grad()
def test_whatever_computes_attention(unet):
    """Also what changes the context on its way to the keys, as a hypernetwork."""
    request, settings = Sides("sd1", *REQUESTS["AND"]), attending()
    expected = slow_attended(make_unet("sd1"), request, FEW[0], settings)
    with sdpa_attention():
        torch.testing.assert_close(played(unet, settings, request, FEW)[0][0], expected, **ROUGHLY)

    def network(module, x, context=None, mask=None, **kwargs):
        context = x if context is None else context.flip(2) * 1.1
        return plain_attention(module, x, context)

    with attention_by(network):
        outputs = played(unet, settings, request, FEW)[0]
    changed = Sides("sd1", *REQUESTS["AND"])
    changed.keywords["context"] = changed.keywords["context"].flip(2) * 1.1
    expected = slow_attended(make_unet("sd1"), changed, FEW[0], settings)
    torch.testing.assert_close(outputs[0], expected, **ROUGHLY)


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch_or_on_the_order_of_rows(unet):
    answers = []
    for name in ("joined", "negative first", "batch", "shuffled"):
        request = Sides("sd1", *REQUESTS[name])
        place = request.rows.index(Row(0))
        answers.append([each[place] for each in played(unet, attending(), request, FEW)[0]])
    for other in answers[1:]:
        torch.testing.assert_close(torch.stack(other), torch.stack(answers[0]), **ROUGHLY)


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_with_sleep_and_a_method_each_row_is_what_it_is_alone(unet, part):
    values = dict(sleep=part, sleep_every=2, sleep_first=0, sleep_last=0, keep_middle=False,
                  sleep_min_steps=1, method="Slothful Attention", in_slothful=6)  # fmt: skip
    both = Sides("sd1", *REQUESTS["batch"])
    alone_, texts = Sides("sd1", (0, 1), (1, 2)), both.keywords["context"][2:]
    outputs, application = played(unet, attending(**values), both)
    assert application.asleep_steps == 3
    with slothful.applied(unet, attending(**values)) as application:
        application.begin_pass("base", PassClock(STEPS))
        for output, timestep in zip(outputs, STEPS):
            application.begin_step()
            application.expect_rows(alone_.rows, negatives=texts)
            torch.testing.assert_close(output[:2], alone_.run(unet, timestep), **ROUGHLY)


@torch.no_grad()
def test_token_merging_before_cross_attention(unet):
    values = dict(method="Token Merging", merge_cross=True, merge_mlp=True, time_decay=0)
    request, state = Sides("sd1", *REQUESTS["batch"], size=(16, 16)), module_state(unet)
    outputs, application = played(unet, attending(**values), request, FEW)
    plain, _ = played(unet, attending(**values, negative_alpha=0), request, FEW)
    assert application.applied_sites
    assert not application.notes
    assert (outputs[0] - plain[0]).abs().max() > 1e-4
    assert module_state(unet) == state


def said(unet, request, settings=None, keywords=None, **told):
    request.keywords.update(keywords or {})
    with torch.no_grad(), slothful.applied(unet, settings or attending()) as application:
        application.begin_pass("base", PassClock(FEW))
        application.begin_step()
        application.expect_rows(request.rows, **told)
        output = request.run(unet, FEW[0])
    assert application.one_sided_steps == 0
    assert torch.equal(output, request.run(unet, FEW[0]))
    return application.negative_notes


@torch.no_grad()
def test_where_it_cannot_act_both_sides_are_computed_and_it_is_said_why(unet):
    joined = REQUESTS["joined"]
    assert said(unet, Sides("sd1", (0, 1))) == (obstacles.NO_NEGATIVE,)
    three, texts = Sides("sd1", (0, 1), (1, 2), (2, 3)), torch.zeros(2, 7, 24)
    assert said(unet, three, negatives=texts) == (obstacles.NO_NEGATIVE,)
    assert said(unet, Sides("sd1", *joined), reason="the host does it") == ("the host does it",)
    extra = dict(extra=torch.zeros(3, 5))
    assert said(unet, Sides("sd1", *joined), keywords=extra) == (obstacles.MORE_ROWS,)
    attention = unet.middle_block[1].transformer_blocks[0].attn2
    handle = attention.to_k.register_forward_hook(lambda *_: None)
    assert said(unet, Sides("sd1", *joined)) == (obstacles.CROSS_CHANGED,)
    handle.remove()
    undo = replaced_forward(unet)
    assert said(unet, Sides("sd1", *joined)) == (obstacles.UNET_REPLACED,)
    undo()


def test_what_others_do_to_cross_attention_in_forge_and_comfyui(unet):
    patched = {"patches": {"attn2_patch": [print]}}, {"patches_replace": {"attn2": {1: print}}}
    for options in patched:
        request = Sides("sd1", *REQUESTS["joined"])
        keywords = dict(transformer_options=options)
        assert said(unet, request, keywords=keywords) == (obstacles.CROSS_CHANGED,)
    harmless = {"patches": {"attn2_patch": []}, "patches_replace": {"attn1": {1: print}}}
    request = Sides("sd1", *REQUESTS["joined"])
    request.keywords["transformer_options"] = harmless
    assert played(unet, attending(), request, FEW)[1].negative_notes == ()
    masked = dict(encoder_mask=torch.ones(2, 7))
    assert said(unet, Sides("sd1", *REQUESTS["joined"]), keywords=masked) == (obstacles.MASK,)


@torch.no_grad()
def test_nothing_is_left_after_a_fault_and_it_acts_again(unet):
    request, state = Sides("sd1", *REQUESTS["joined"]), module_state(unet)
    expected = played(unet, attending(), request, FEW)[0][1]
    projection = unet.middle_block[1].transformer_blocks[0].attn2.to_v
    with slothful.applied(unet, attending()) as application:
        application.begin_pass("base", PassClock(FEW))
        for at in (unet.output_blocks[2], projection):
            fails = at.register_forward_pre_hook(OwnHook(interrupt))
            with pytest.raises(InterruptedError):
                step(application, unet, request, FEW[0])
            fails.remove()
        torch.testing.assert_close(step(application, unet, request, FEW[1]), expected)
    assert module_state(unet) == state


def test_the_estimate_and_the_count_of_what_was_made_agree(unet):
    settings, shape = attending(negative_first=0.3), slothful.shape_of(unet)
    request, moments = Sides("sd1", *REQUESTS["batch"]), []
    with torch.no_grad(), slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in STEPS:
            step(application, unet, request, timestep)
            moments.append(application.moment)
        made = slothful.cost_of(settings, shape, application.take_calls())
    planned = slothful.estimate(settings, shape, 64, 64, moments)
    assert made.total_share == pytest.approx(planned.total_share)
    # of 7 steps 4 compute half, and a little more in cross-attention
    assert (3 + 4 / 2) / 7 < planned.total_share < (3 + 4 / 2) / 7 + 0.02
