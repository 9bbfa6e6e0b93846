"""Where keys have weights, the active optimization is left out once it is known to do nothing
besides attending, and only then.
"""

import functools
import gc
import weakref
from unittest import mock

import pytest
import torch
from diffusers.models import attention_processor as processors

import slothful
from slothful import Settings
from slothful.settings.methods import SUBSAMPLING
from slothful.unet.foreign import OwnHook
from standalone.attention import attention_by, sdpa_forward
from tests.twins import make_twins, run_both
from tests.unets import make_unet, module_state, run

SETTINGS = Settings(in_depth_decay=0, out_depth_decay=0, time_decay=0, keep_middle=False)
METHODS = (*SUBSAMPLING, "Token Downsampling")


class Forward:
    """An optimization that counts its calls of self-attention, by default one of a host's own."""

    def __init__(self, changes=lambda context: context, module="standalone.attention"):
        self.changes, self.calls, self.__module__ = changes, [], module

    def __call__(self, module, x, context=None, mask=None, **kwargs):
        if context is not None and context.shape[-1] == x.shape[-1]:
            self.calls.append(x.shape)
            context = self.changes(context)
        return sdpa_forward(module, x, context, mask, **kwargs)

    def __get__(self, module, owner):
        return self if module is None else lambda *args, **kwargs: self(module, *args, **kwargs)


def outputs_of(unet, settings, forward):
    """What three calls of one pass give."""
    with attention_by(forward), slothful.applied(unet, settings) as application:
        application.begin_pass("base")
        return _calls(unet)


def _calls(unet):
    return [run(unet, timestep=time) for time in (600.0, 590.0, 580.0)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_a_plain_optimization_is_asked_in_the_first_call_of_a_pass_alone(layout, method):
    unet = make_unet(layout)
    settings = SETTINGS.replace(method=method, tile_size=16)
    plain, copying = Forward(), Forward(lambda context: context.clone())
    expected = outputs_of(unet, settings, copying)
    actual = outputs_of(unet, settings, plain)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))
    # one whose doings are not known is asked in each
    assert len(copying.calls) == 3 * len(plain.calls) > 0


def test_a_hypernetwork_is_never_left_out():
    unet = make_unet("sd1")
    before = module_state(unet)
    louder = Forward(lambda context: 1.5 * context)
    actual = outputs_of(unet, SETTINGS, louder)
    assert len(louder.calls) % 3 == 0
    plain = outputs_of(unet, SETTINGS, Forward())
    assert not any(torch.equal(one, other) for one, other in zip(actual, plain))
    assert module_state(unet) == before


def test_a_hypernetwork_that_comes_with_the_next_pass_is_asked():
    unet, state = make_unet("sd1"), {"factor": 1.0}
    forward = Forward(lambda context: context if state["factor"] == 1 else 1.5 * context)
    actual, expected, factors = [], [], (1.0, 1.5, 1.0)
    with attention_by(forward), slothful.applied(unet, SETTINGS) as application:
        for state["factor"] in factors:
            application.begin_pass("base")
            actual += _calls(unet)
    for state["factor"] in factors:
        expected += outputs_of(unet, SETTINGS, forward)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))
    assert not torch.equal(expected[0], expected[3])


def test_a_forward_that_is_replaced_later_is_asked_from_then_on():
    unet = make_unet("sd1")
    attention = slothful.find_sites(unet)[0].attentions[0]
    asked = []
    with attention_by(sdpa_forward), slothful.applied(unet, SETTINGS):
        expected = [run(unet) for _ in range(3)]
        inner = attention.forward

        def forward(*args, **kwargs):
            asked.append(args[0].shape)
            return inner(*args, **kwargs)

        attention.forward = forward
        actual = [run(unet) for _ in range(3)]
        assert attention.forward is forward
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))
    assert len(asked) == 3
    before = run(unet)
    del attention.forward
    assert torch.equal(run(unet), before)


@pytest.mark.parametrize("part", ["self-attention", "transformers", "deep blocks"])
def test_what_sleeps_in_between_leaves_no_forward_behind(part):
    unet = make_unet("sd1")
    before = module_state(unet)
    settings = SETTINGS.replace(sleep=part, sleep_every=2, sleep_min_steps=1)
    with attention_by(sdpa_forward):
        with slothful.applied(unet, settings) as application:
            times = [600.0 - 10 * i for i in range(8)]
            application.begin_pass("base", slothful.PassClock(times))
            for time in times:
                run(unet, timestep=time)
            assert 0 < application.asleep_steps < 8
        assert module_state(unet) == before


def test_fewer_channels_are_answered_as_before():
    unet = make_unet("sd1")
    settings = SETTINGS.replace(channels_depth_1=0.5, channels_depth_2=0.5)
    expected = outputs_of(unet, settings, Forward(lambda context: context.clone()))
    actual = outputs_of(unet, settings, sdpa_forward)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))


@pytest.mark.parametrize("method", METHODS)
def test_a_forward_that_no_host_has_is_never_left_out(method):
    """It may do anything to its answers, in any step."""
    unet = make_unet("sd1")
    forward = Forward(module="an_extension")
    outputs_of(unet, SETTINGS.replace(method=method, tile_size=16), forward)
    known = Forward()
    outputs_of(unet, SETTINGS.replace(method=method, tile_size=16), known)
    assert len(forward.calls) == 3 * len(known.calls) > 0


def test_who_wraps_a_hosts_forward_is_asked():
    @functools.wraps(sdpa_forward)
    def louder(*args, **kwargs):
        return 1.5 * sdpa_forward(*args, **kwargs)

    unet = make_unet("sd1")
    assert louder.__module__ == sdpa_forward.__module__
    actual = outputs_of(unet, SETTINGS, louder)
    louder.__module__ = "an_extension"
    expected = outputs_of(unet, SETTINGS, louder)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))


def test_weights_are_not_lost_where_somebody_takes_a_forward_off():
    unet = make_unet("sd1")
    with attention_by(sdpa_forward), slothful.applied(unet, SETTINGS):
        expected = [run(unet) for _ in range(4)]
    with attention_by(sdpa_forward), slothful.applied(unet, SETTINGS):
        actual = [run(unet) for _ in range(2)]
        for modules in slothful.find_sites(unet):
            for attention in modules.attentions:
                attention.forward = attention.forward
                del attention.forward
        actual += [run(unet) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))


def test_a_projection_may_be_called_by_name():
    def by_name(module, x, context=None, mask=None, **kwargs):
        context = x if context is None else context
        heads = (
            projected.unflatten(2, (module.heads, -1)).transpose(1, 2)
            for projected in (module.to_q(input=x), module.to_k(context), module.to_v(context))
        )
        answers = torch.nn.functional.scaled_dot_product_attention(*heads)
        return module.to_out(answers.transpose(1, 2).flatten(2))

    unet = make_unet("sd1")
    actual = outputs_of(unet, SETTINGS, by_name)
    expected = outputs_of(unet, SETTINGS, sdpa_forward)
    for one, other in zip(actual, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(method="Token Merging", merge_keys_only=True),
        dict(method="Plain Tiles", min_size=0),
    ],
    ids=["merged", "token merging", "tiles"],
)
def test_nothing_of_a_call_is_kept(changes):
    unet, kept = make_unet("sd1"), []

    def remember(module, args, output):
        kept.append(weakref.ref(output))

    projections = [
        projection
        for modules in slothful.find_sites(unet)
        for attention in modules.attentions
        for projection in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
    ]
    applied = slothful.applied(unet, SETTINGS.replace(**changes))
    with torch.no_grad(), attention_by(sdpa_forward), applied:
        for projection in projections:
            projection.register_forward_hook(OwnHook(remember))
        for _ in range(2):
            run(unet)
        gc.collect()
        assert len(kept) > len(projections)
        assert not any(reference() is not None for reference in kept)


def test_the_processors_of_diffusers_are_left_out_as_well():
    unet, twin = make_twins("sd1")
    before, asked, own = module_state(twin), [], processors.AttnProcessor2_0.__call__

    def call(processor, attention, tokens, encoder_hidden_states=None, *args, **kwargs):
        context = encoder_hidden_states
        asked.append(context is not None and context.shape[-1] == tokens.shape[-1])
        return own(processor, attention, tokens, context, *args, **kwargs)

    call.__module__ = own.__module__
    counted = mock.patch.object(processors.AttnProcessor2_0, "__call__", call)
    with counted, slothful.applied(unet, SETTINGS), slothful.applied(twin, SETTINGS):
        for number in range(3):
            expected, actual = run_both(unet, twin, timestep=600.0 - 10 * number)
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
            assert any(asked) == (number == 0)
            asked.clear()
    assert module_state(twin) == before


def test_a_processor_that_comes_in_the_middle_is_asked():
    unet, twin = make_twins("sd1")

    class Louder(processors.AttnProcessor2_0):
        def __call__(self, attention, tokens, encoder_hidden_states=None, *args, **kwargs):
            return 1.5 * super().__call__(attention, tokens, encoder_hidden_states, *args, **kwargs)

    Louder.__name__ = "AttnProcessor2_0"  # as many are called

    def calls(changed):
        default = twin.attn_processors
        with slothful.applied(twin, SETTINGS):
            if changed:
                twin.set_attn_processor(Louder())
            outputs = [run_both(unet, twin)[1]]
            twin.set_attn_processor(Louder())
            outputs += [run_both(unet, twin)[1] for _ in range(2)]
        twin.set_attn_processor(default)
        return outputs

    # one that was there from the beginning is asked in every call
    expected, actual = calls(changed=True), calls(changed=False)
    assert torch.equal(actual[1], expected[1])
    assert torch.equal(actual[2], expected[2])
