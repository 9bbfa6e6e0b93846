"""Sleep beside others in a U-Net: what they add and hook, and that nothing of ours is left."""

import copy
import gc
import weakref

import pytest
import torch
from ldm.modules.diffusionmodules.util import timestep_embedding

import slothful
from slothful import PassClock
from slothful.unet.obstacles import MERGED, REPEATED
from tests.sleeping import PARTS, STEPS, Request, SlowSleep, sleeping
from tests.unets import make_unet, module_state


@torch.no_grad()
def test_residuals_reach_the_blocks_that_are_awake():
    """As ControlNet adds them: to what every block gave, by a forward of its own."""
    unet, slow, request = make_unet("sd1"), SlowSleep("sd1", "deep blocks"), Request("sd1")

    def with_residuals(model, amount):
        def forward(x, timesteps, context=None, **kwargs):
            embedding = model.time_embed(timestep_embedding(timesteps, model.model_channels))
            hs, h = [], x
            for block in model.input_blocks:
                h = block(h, embedding, context)
                hs.append(h)
            h = model.middle_block(h, embedding, context)
            h = h + amount * torch.ones(h.shape)
            for block in model.output_blocks:
                skip = hs.pop()
                skip = skip + amount * torch.ones(skip.shape)
                h = block(torch.cat([h, skip], dim=1), embedding, context)
            return model.out(h)

        return forward

    amount = 0.3
    unet.forward = with_residuals(unet, amount)
    with slothful.applied(unet, sleeping("deep blocks")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        output = request.run(unet, STEPS[1])
        # the same from the kept tensor and the awake blocks, by hand
        (entries,) = application._sleeper._memory._entries.values()
        h = entries["deep"][-1].value
    model, hs, x = slow.unet, [], request.latent
    timesteps = torch.full((2,), STEPS[1])
    embedding = model.time_embed(timestep_embedding(timesteps, model.model_channels))
    for block in model.input_blocks[:3]:
        x = block(x, embedding, request.keywords["context"])
        hs.append(x)
    for block in model.output_blocks[-3:]:
        h = block(torch.cat([h, hs.pop() + amount], 1), embedding, request.keywords["context"])
    torch.testing.assert_close(output, model.out(h), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_hooks_of_others_see_what_they_always_see():
    """What they do to an answer is done once, not once more to what was kept."""
    unet, request = make_unet("sd1"), Request("sd1")
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))
    seen = []

    def double(module, args, answers):
        seen.append(answers.clone())
        return answers * 2

    for early in (True, False):
        handles = [attention.register_forward_hook(double)] if early else []
        with slothful.applied(unet, sleeping("self-attention")) as application:
            if not early:
                handles.append(attention.register_forward_hook(double))
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[0])
            request.run(unet, STEPS[1])
        handles[0].remove()
    for first, again in (seen[:2], seen[2:]):
        assert torch.equal(first, again)


@torch.no_grad()
def test_who_writes_into_what_was_given_makes_the_next_call_compute_it():
    unet, request = make_unet("sd1"), Request("sd1")
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))

    def write(module, args, answers):
        answers.mul_(2)

    handle = attention.register_forward_hook(write)
    with slothful.applied(unet, sleeping("self-attention")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        request.run(unet, STEPS[1])
        assert application.plans["IN01"] is None
        assert type(application.plans["OUT11"]).__name__ == "Sleep"
    handle.remove()


@torch.inference_mode()
@pytest.mark.parametrize("part", ["self-attention", "attention"])
def test_in_inference_mode_who_writes_into_what_was_given_changes_no_later_call(part):
    """Torch counts no versions of tensors there, as in a whole generation of Forge."""
    unet, request = make_unet("sd1"), Request("sd1")
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))

    def run(writes):
        outputs = []
        with slothful.applied(unet, sleeping(part, sleep_every=9)) as application:
            application.begin_pass("base", PassClock(STEPS))
            for step, written in zip(STEPS, writes):
                handle = attention.register_forward_hook(
                    lambda module, args, answers, written=written: answers.mul_(1 + written)
                )
                outputs.append(request.run(unet, step))
                handle.remove()
                assert bool(application.asleep_steps) == (step != STEPS[0])
        return outputs

    plain, written = run((0, 0, 0)), run((0, 1, 0))
    assert [torch.equal(*pair) for pair in zip(plain, written)] == [True, False, True]


def with_reference(layer):
    """As ControlNet's reference mode: attn1 once with more keys, and once for some rows only."""

    def forward(x, context=None):
        tokens = layer.norm1(x)
        answers = layer.attn1(tokens, context=torch.cat([tokens, tokens.flip(0)], dim=1))
        answers[[1]] = (answers[[1]] + layer.attn1(tokens[[1]], context=tokens[[1]])) / 2
        x = answers + x
        x = layer.attn2(layer.norm2(x), context=context) + x
        return layer.ff(layer.norm3(x)) + x

    return forward


def with_fewer_tokens(layer):
    """As token merging: attn1 sees some of the tokens, and each step may choose others."""

    def forward(x, context=None):
        tokens = layer.norm1(x)
        chosen = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(len(x)))
        chosen = chosen[: tokens.shape[1] // 2]
        x = x.clone()
        x[:, chosen] += layer.attn1(tokens[:, chosen], context=None)
        x = layer.attn2(layer.norm2(x), context=context) + x
        return layer.ff(layer.norm3(x)) + x

    return forward


@pytest.mark.parametrize("part", ["self-attention", "attention"])
@pytest.mark.parametrize(
    ("change", "reason"), [(with_reference, REPEATED), (with_fewer_tokens, MERGED)]
)
@torch.no_grad()
def test_attention_that_others_call_in_their_own_way_is_awake(part, change, reason):
    unet, request = make_unet("sd1"), Request("sd1")
    block = unet.output_blocks[-1][1].transformer_blocks[0]
    block.forward = change(block)
    attended = []
    with slothful.applied(unet, sleeping(part)) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        handle = block.attn1.to_q.register_forward_hook(lambda *_: attended.append(1))
        request.run(unet, STEPS[1])
        handle.remove()
        assert attended
        assert application.notes == {"OUT11": reason}
        assert application.plans["OUT11"] is None
        assert type(application.plans["OUT10"]).__name__ == "Sleep"


@pytest.mark.parametrize("part", ["self-attention", "attention"])
@torch.no_grad()
def test_who_begins_to_ask_for_some_rows_while_it_sleeps_gets_these(part):
    unet, request = make_unet("sd1"), Request("sd1")
    block = unet.output_blocks[-1][1].transformer_blocks[0]
    seen = []
    with slothful.applied(unet, sleeping(part)) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        block.forward = with_reference(block)
        handle = block.attn1.register_forward_hook(lambda m, a, answers: seen.append(answers.shape))
        output = request.run(unet, STEPS[1])
        handle.remove()
    assert [shape[0] for shape in seen] == [2, 1]
    assert output.isfinite().all()


@pytest.mark.parametrize("part", ["transformers", "deep blocks", "whole calls"])
@torch.no_grad()
def test_a_part_that_others_run_twice_in_a_call_is_awake(part):
    """As ControlNet does to read a reference image; the second run is the image's."""
    unet, request = make_unet("sd1"), Request("sd1")
    once, other = unet.forward, Request("sd1", seed=5).latent

    def twice(x, *args, **kwargs):
        once(other, *args, **kwargs)
        return once(x, *args, **kwargs)

    plain = [request.run(unet, timestep) for timestep in STEPS[:2]]
    unet.forward = twice
    with slothful.applied(unet, sleeping(part)) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep, expected in zip(STEPS, plain):
            assert torch.equal(request.run(unet, timestep), expected)
    assert set(application.notes.values()) == {REPEATED}
    assert application.why_nothing() == f"all blocks were skipped ({REPEATED})"
    assert application.asleep_steps == 0


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_nothing_is_left_after_success_and_after_a_failure(part):
    unet, request = make_unet("sd1"), Request("sd1")
    block = unet.output_blocks[-1]
    mine = block.forward
    block.forward = lambda *args, **kwargs: mine(*args, **kwargs)  # somebody else's
    state = module_state(unet)
    kept = []

    def run(fails: bool) -> None:
        with slothful.applied(unet, sleeping(part)) as application:
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[0])
            entries = application._sleeper._memory._entries
            kept.extend(
                weakref.ref(entry.value)
                for parts in entries.values()
                for several in parts.values()
                for entry in several
            )
            if fails:
                unet.out[-1].register_forward_pre_hook(lambda m, a: 1 / 0)
            request.run(unet, STEPS[1])

    run(fails=False)
    assert module_state(unet) == state
    if part != "whole calls":  # where it sleeps, nothing runs that could fail
        with pytest.raises(ZeroDivisionError):
            run(fails=True)
        unet.out[-1]._forward_pre_hooks.clear()
        assert module_state(unet) == state
    gc.collect()
    assert kept
    assert not any(reference() is not None for reference in kept)


@torch.no_grad()
def test_a_copy_of_the_unet_is_awake_and_free():
    unet, request = make_unet("sd1"), Request("sd1")
    plain = request.run(unet, STEPS[1])
    with slothful.applied(unet, sleeping("deep blocks")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        twin = copy.deepcopy(unet)
        assert torch.equal(request.run(twin, STEPS[1]), plain)
