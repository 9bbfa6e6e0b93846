"""The script as the webui drives it: how long the hooks live, and what it says."""

import contextlib
import copy
import logging
import math
import types

import pytest
import torch

from slothful import Settings, SettingsError, find_sites
from slothful_webui import infotext, sampling
from slothful_webui.sampling import refusing
from slothful_webui.scope import SamplingScope
from standalone.runner import find_host_modules
from tests.unets import make_unet, module_state, run

find_host_modules()  # the page's language is a setting of the host

# -- the life of the hooks


class Request:
    """A generation request whose sampling is one call of a U-Net."""

    width, height = 256, 192

    def __init__(self, unet):
        self.unet = unet
        self.comments = []
        self.extra_generation_params = {}

    def sample(self):
        return run(self.unet)

    def close(self):
        pass

    def comment(self, text):
        self.comments.append(text)


STRONG = Settings(in_slothful=12, out_slothful=9, in_depth_decay=0.5, time_decay=0)
NOTHING = Settings(in_slothful=1, out_slothful=1)


def begin_batch(request, settings=STRONG, current_unet=None):
    SamplingScope(request, settings, current_unet or (lambda: request.unet)).begin()


def sample_batch(request, settings=STRONG, current_unet=None):
    """The samples of one batch, from its beginning to its end."""
    begin_batch(request, settings, current_unet)
    samples = request.sample()
    SamplingScope.end(request)
    return samples


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


# -- what is told, and what the infotext claims


def test_the_infotext_has_the_key_where_something_was_applied(sd1_unet):
    request = Request(sd1_unet)
    sample_batch(request)
    assert request.extra_generation_params == {infotext.KEY: infotext.write_infotext(STRONG)}
    assert request.comments == []


def test_where_nothing_was_applied_the_page_says_why_and_the_infotext_nothing(sd1_unet, caplog):
    request = Request(sd1_unet)
    assert torch.equal(sample_batch(request, NOTHING), run(sd1_unet))
    assert request.extra_generation_params == {}
    (said,) = request.comments
    assert said.startswith("Slothful Attention: nothing was applied: the strength never exceeds 1")
    assert said in caplog.text


@pytest.mark.parametrize(("passes", "claimed"), [("base", True), ("hires", False)])
def test_a_copy_that_is_saved_between_the_passes_claims_what_was_applied_by_then(
    sd1_unet, passes, claimed
):
    """The webui calls what can be called when it writes an infotext."""
    request, settings = Request(sd1_unet), STRONG.replace(passes=passes)
    request.hr_upscale_to_x, request.hr_upscale_to_y = 256, 192
    text, written = infotext.write_infotext(settings), []

    def write():
        written.append(request.extra_generation_params[infotext.KEY](iteration=0))

    def sample():
        run(sd1_unet)
        request.is_hr_pass = True
        write()
        SamplingScope.before_sampling()
        return run(sd1_unet)

    request.is_hr_pass, request.sample = False, sample
    begin_batch(request, settings)
    write()  # the parameters of the last request, before it samples
    # a request that is copied takes no model along
    assert type(copy.deepcopy(request.extra_generation_params)[infotext.KEY]) is str
    request.sample()
    SamplingScope.end(request)
    assert written == [text, text if claimed else None]
    assert request.extra_generation_params == {infotext.KEY: text}
    assert type(request.extra_generation_params[infotext.KEY]) is str


def test_a_model_that_comes_with_the_hires_pass_is_in_the_infotext(sd1_unet):
    request, current = Request(sd1_unet), [torch.nn.Linear(2, 2)]

    def sample():
        current[0] = sd1_unet
        SamplingScope.before_sampling()
        return run(sd1_unet)

    request.sample = sample
    sample_batch(request, current_unet=lambda: current[0])
    assert request.extra_generation_params == {infotext.KEY: infotext.write_infotext(STRONG)}


def test_an_effect_in_one_of_the_batchs_passes_counts(sd1_unet):
    request = Request(sd1_unet)
    request.hr_upscale_to_x, request.hr_upscale_to_y = 256, 192

    def sample():
        run(sd1_unet)
        request.is_hr_pass = True
        SamplingScope.before_sampling()
        return run(sd1_unet)

    for passes, applied in (("base", True), ("hires", True)):
        request.is_hr_pass, request.sample = False, sample
        sample_batch(request, STRONG.replace(passes=passes))
        assert (infotext.KEY in request.extra_generation_params) == applied
    assert request.comments == []


def test_a_hires_pass_is_one_without_the_denoisers_callback_too(sd1_unet):
    """Whoever replaces the denoiser may not call it."""
    request = Request(sd1_unet)
    plain = run(sd1_unet)
    request.hr_upscale_to_x, request.hr_upscale_to_y = 256, 192
    made = []

    def sample():
        made.append(run(sd1_unet))
        request.is_hr_pass = True
        SamplingScope.before_sampling()
        made.append(run(sd1_unet))

    request.is_hr_pass, request.sample = False, sample
    sample_batch(request, STRONG.replace(passes="hires"))
    assert [torch.equal(each, plain) for each in made] == [True, False]


@pytest.mark.parametrize(("least", "applied"), [(192, True), (200, False)])
def test_the_smallest_side_is_compared_with_the_image_not_with_its_tiles(sd1_unet, least, applied):
    """Tiled diffusion calls the U-Net on parts of the image."""
    request = Request(sd1_unet)
    request.sample = lambda: run(sd1_unet, height=16, width=16)
    plain = request.sample()
    assert torch.equal(sample_batch(request, STRONG.replace(min_size=least)), plain) != applied


def test_a_model_that_cannot_be_served_is_reported_and_generation_goes_on(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    begin_batch(request, current_unet=lambda: torch.nn.Linear(2, 2))
    assert request.extra_generation_params == {}  # known before anything is sampled
    assert torch.equal(request.sample(), plain)
    SamplingScope.end(request)
    assert request.comments == [
        "Slothful Attention: nothing was applied: Linear is not a Stable Diffusion 1, 2 or XL "
        "U-Net: it has no input_blocks, middle_block, output_blocks"
    ]


def test_an_engine_outside_pytorch_is_reported(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    assert torch.equal(sample_batch(request, current_unet=lambda: None), plain)
    assert "the U-Net is not run by PyTorch" in request.comments[0]
    assert request.extra_generation_params == {}


def test_what_was_applied_in_other_calls_is_told(sd1_unet):
    """The last call of a pass may be one in which nothing was planned."""
    request = Request(sd1_unet)

    def sample():
        run(sd1_unet, timestep=600)
        return run(sd1_unet, timestep=0)

    request.sample = sample
    late = STRONG.replace(time_decay=4, peak_time=0.4)
    with hypertile_on(sd1_unet):
        sample_batch(request, late)
    (said,) = request.comments
    assert "applied in IN04" in said


@contextlib.contextmanager
def hypertile_on(unet):
    """The U-Net as the webui's HyperTile marks it for an image of 256x192, the tests' size."""
    marked = [(found.site, each) for found in find_sites(unet) for each in found.attentions]
    for site, attention in marked:
        parameters = types.SimpleNamespace(
            enabled=True, tile_size=64, aspect_ratio=256 / 192, depth=int(math.log2(site.depth))
        )
        setattr(attention, "__webui_hypertile_params", parameters)
    try:
        yield
    finally:
        for _, attention in marked:
            delattr(attention, "__webui_hypertile_params")


def test_hypertile_wins_where_it_acts_and_the_page_says_so(sd1_unet):
    """Its smallest tile is 128 pixels, and twice that at each deeper level."""
    request = Request(sd1_unet)
    with hypertile_on(sd1_unet):
        sample_batch(request)
    (said,) = request.comments
    assert said.startswith("Slothful Attention: skipped IN01, IN02, OUT09, OUT10, OUT11 (")
    assert "; applied in IN04" in said


def test_where_hypertiles_tile_is_the_whole_image_ours_acts(sd1_unet):
    request = Request(sd1_unet)
    request.sample = lambda: run(sd1_unet, height=16, width=16)
    plain = request.sample()
    with hypertile_on(sd1_unet):
        assert not torch.equal(sample_batch(request), plain)
    assert request.comments == []


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
