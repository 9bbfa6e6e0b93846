"""The script as the webui drives it: how long the hooks live, and what errors become."""

import copy
import logging
import types

import pytest
import torch

from slothful import SettingsError
from slothful_webui import infotext, sampling
from slothful_webui.sampling import refusing
from slothful_webui.scope import SamplingScope
from tests.batches import STRONG, Request, begin_batch, sample_batch
from tests.unets import make_unet, module_state, run

# -- the life of the hooks


def test_sample_is_wrapped_for_one_batch_and_then_its_own_again(sd1_unet):
    request, before = Request(sd1_unet), module_state(sd1_unet)
    plain = request.sample()
    assert not torch.equal(sample_batch(request), plain)
    assert "sample" not in vars(request)
    assert torch.equal(request.sample(), plain)
    assert module_state(sd1_unet) == before


def test_every_call_of_sample_in_a_batch_is_in_effect(sd1_unet):
    """Another extension may wrap it and call it twice."""
    request, before = Request(sd1_unet), module_state(sd1_unet)
    plain = request.sample()
    begin_batch(request)
    samples = [request.sample() for _ in range(3)]
    assert module_state(sd1_unet) == before
    assert not torch.equal(samples[0], plain)
    assert all(torch.equal(each, samples[0]) for each in samples)
    SamplingScope.end(request)
    assert torch.equal(request.sample(), plain)


def test_the_settings_are_logged_where_the_console_asks_for_them(sd1_unet, caplog):
    for level, lines in ((logging.WARNING, 0), (logging.INFO, 1)):
        with caplog.at_level(level, "slothful_webui"):
            sample_batch(Request(sd1_unet))
        assert caplog.text.count(infotext.write_infotext(STRONG)) == lines


def test_another_extensions_replacement_of_sample_is_kept(sd1_unet):
    request, calls = Request(sd1_unet), []
    own = request.sample
    request.sample = theirs = lambda: (calls.append("theirs"), own())[1]
    sample_batch(request)
    assert calls == ["theirs"]
    assert request.sample is theirs


def test_an_extension_that_wraps_ours_keeps_its_wrapper(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    begin_batch(request)
    ours = request.sample
    request.sample = theirs = lambda: ours()
    assert not torch.equal(request.sample(), plain)
    SamplingScope.end(request)
    assert request.sample is theirs
    assert torch.equal(request.sample(), plain)  # after the batch ours only passes through


def test_a_batch_that_never_sampled_is_not_applied_twice(sd1_unet):
    request = Request(sd1_unet)
    begin_batch(request)
    sample_batch(request)
    assert "sample" not in vars(request)


def test_a_copy_of_a_request_that_is_sampling_has_its_own_sample(sd1_unet):
    request, other = Request(sd1_unet), make_unet("sd1", seed=3)
    plain = run(other)
    begin_batch(request)
    copied = copy.copy(request)
    copied.unet = other
    sampling.begin_request(copied)
    assert torch.equal(copied.sample(), plain)
    assert not torch.equal(request.sample(), run(sd1_unet))


def test_a_unet_that_is_swapped_during_sampling_is_followed(sd1_unet):
    other = make_unet("sdxl", seed=2)
    states, plain = (module_state(sd1_unet), module_state(other)), run(other)
    request = Request(sd1_unet)
    current = [sd1_unet]

    def sample():
        run(sd1_unet)
        current[0] = other
        SamplingScope.before_denoiser(types.SimpleNamespace())
        assert module_state(sd1_unet) == states[0]
        return run(other)

    request.sample = sample
    assert not torch.equal(sample_batch(request, current_unet=lambda: current[0]), plain)
    assert (module_state(sd1_unet), module_state(other)) == states


def test_a_request_that_is_switched_off_is_so_inside_another_ones_sampling(sd1_unet):
    outer, inner, before = Request(sd1_unet), Request(sd1_unet), module_state(sd1_unet)
    plain = run(sd1_unet)
    made = []

    def sample():
        made.append(run(sd1_unet))
        SamplingScope.begin_without_effect(inner)
        SamplingScope.before_denoiser(None)
        made.append(inner.sample())
        SamplingScope.end(inner)
        made.append(run(sd1_unet))

    outer.sample = sample
    sample_batch(outer)
    assert [torch.equal(each, plain) for each in made] == [False, True, False]
    assert module_state(sd1_unet) == before


# -- errors


class Script:
    """A script of ours with one callback that fails."""

    @refusing
    def process(self, p, *args):
        raise self.error

    @refusing
    def process_batch(self, p, *args, **kwargs):
        begin_batch(p)

    @refusing
    def before_hr(self, p, *args):
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SettingsError("tile_size must be even"), "Slothful Attention: tile_size must be even"),
        (RecursionError("too deep"), "Slothful Attention: RecursionError: too deep"),
    ],
)
def test_an_error_in_any_callback_is_told_from_inside_sampling(sd1_unet, error, told):
    script, before = Script(), module_state(sd1_unet)
    script.error = error
    for callback in ("process", "before_hr"):
        request = Request(sd1_unet)
        request.sample = lambda request=request: (script.before_hr(request), run(sd1_unet))[1]
        if callback == "process":
            script.process(request)
        script.process_batch(request)
        with pytest.raises(RuntimeError, match=told):
            request.sample()
        assert module_state(sd1_unet) == before


def test_an_error_in_the_denoisers_callback_is_told_too(sd1_unet):
    request = Request(sd1_unet)
    current = iter([sd1_unet, sd1_unet])  # the third question fails

    def sample():
        SamplingScope.before_denoiser(types.SimpleNamespace())
        return run(sd1_unet)

    request.sample = sample
    begin_batch(request, current_unet=lambda: next(current))
    with pytest.raises(RuntimeError, match="Slothful Attention: StopIteration"):
        request.sample()


def test_a_refused_request_can_run_again(sd1_unet):
    request, script = Request(sd1_unet), Script()
    script.error = SettingsError("no")
    plain = request.sample()
    script.process(request)
    with pytest.raises(RuntimeError):
        request.sample()
    sampling.begin_request(request)
    assert torch.equal(request.sample(), plain)
