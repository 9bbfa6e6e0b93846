"""The script as the webui drives it: arguments, infotext, and how long the hooks live."""

import contextlib
import copy
import logging
import math
import types

import pytest
import torch
from hypothesis import given

from slothful import Settings, SettingsError, find_sites
from slothful_webui import infotext, sampling
from slothful_webui.arguments import read_arguments
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.sampling import refusing
from slothful_webui.scope import SamplingScope
from standalone.runner import find_host_modules
from tests.test_settings import any_settings
from tests.unets import make_unet, module_state, run

# -- arguments


@given(any_settings)
def test_all_forms_of_arguments_mean_the_same(settings):
    values = settings.as_dict()
    assert read_arguments([True, *values_of(settings)]) == settings
    assert read_arguments([values]) == settings
    assert read_arguments([{**values, "enabled": True}, "ignored"]) == settings


def test_a_json_string_is_read_like_an_object():
    assert read_arguments(['{"peak_time": 0.1}']) == Settings(peak_time=0.1)
    with pytest.raises(SettingsError, match="not valid JSON"):
        read_arguments(['{"peak_time"'])


def test_switched_off_means_nothing_is_applied_and_nothing_is_checked():
    assert read_arguments([]) is None
    assert read_arguments([False, "nonsense", -1]) is None
    assert read_arguments([{"enabled": False, "peak_time": 9}]) is None


def test_missing_positions_keep_their_defaults():
    assert read_arguments([True, "Near-sighted Tile"]) == Settings(method="Near-sighted Tile")


def test_errors_name_the_parameter_in_every_form():
    for arguments in ([True, "Slothful Attention", 7], [{"peak_time": 7}], ['{"peak_time": 7}']):
        with pytest.raises(SettingsError, match="peak_time must be between 0 and 1, got 7"):
            read_arguments(arguments)
    with pytest.raises(SettingsError, match="enabled must be true or false, got 'maybe'"):
        read_arguments(["maybe"])


def test_positions_never_change_their_meaning():
    """Requests written for an earlier version rely on this order; new names go to the end."""
    names = [control.name for control in CONTROLS]
    assert names[:4] == ["method", "peak_time", "time_decay", "time_axis"]
    assert names[24:28] == ["passes", "min_size", "only_where_it_pays", "IN01"]
    assert names[45:48] == ["OUT11", "kept_token", "tile_halo"]
    assert names[-2:] == ["vae_tiles", "vae_tile_size"]
    assert len(names) == 73


def test_an_error_in_a_slider_of_a_block_names_the_block():
    values = [True, *values_of(Settings())]
    values[46] = 7
    with pytest.raises(
        SettingsError, match=r"block_weights\[OUT11\] must be between 0 and 2, got 7"
    ):
        read_arguments(values)


# -- infotext


def parse_as_the_webui(line):
    """The webui's rule for one line of parameters: keys of word characters, values quoted or up to
    the next comma.
    """
    import json
    import re

    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    found = pattern.findall(line)
    return {key: json.loads(value) if value[:1] == '"' else value.strip() for key, value in found}


@given(any_settings)
def test_settings_survive_the_infotext(settings):
    text = infotext.write_infotext(settings)
    line = f"Steps: 20, Sampler: Euler, {infotext.KEY}: {text}, Version: v1.10.1"
    parsed = parse_as_the_webui(line)
    assert parsed["Version"] == "v1.10.1"
    pasted = [target(parsed) for target in infotext.paste_targets(list)]
    assert read_arguments(pasted) == settings


def test_a_foreign_picture_switches_off_and_leaves_the_controls():
    enabled, *controls = [target({"Steps": "20"}) for target in infotext.paste_targets(list)]
    assert enabled is False
    assert controls == [None] * len(CONTROLS)


def test_where_the_user_disregards_the_key_a_paste_leaves_everything():
    """The webui takes the key out of what it parsed, whatever the picture was made with."""
    targets = infotext.paste_targets(lambda: ["Seed", infotext.KEY])
    assert [target({"Steps": "20"}) for target in targets] == [None] * (1 + len(CONTROLS))


def test_the_webui_can_list_the_key_and_carry_the_controls_to_another_tab():
    """It looks for fields that are texts, among them those of `paste_field_names`."""
    for target in infotext.paste_targets(list):
        assert isinstance(target, str)
        assert target == infotext.KEY


def test_pictures_of_older_versions_are_upgraded_step_by_step(monkeypatch):
    def rename(values):
        return {"peak_time" if name == "peak" else name: text for name, text in values.items()}

    def halve(values):
        return {**values, "time_decay": str(float(values["time_decay"]) / 2)}

    monkeypatch.setattr(infotext, "UPGRADES", (rename, halve))
    expected = Settings(peak_time=0.2, time_decay=1)
    assert infotext.read_infotext("v1; peak=0.2; time_decay=2") == expected
    assert infotext.read_infotext("v2; peak_time=0.2; time_decay=2") == expected
    assert infotext.read_infotext(infotext.write_infotext(expected)) == expected
    assert infotext.write_infotext(expected).startswith("v3; ")


def test_only_changes_are_written():
    assert infotext.write_infotext(Settings()) == "v1"
    changed = Settings(method="Near-sighted Tile", tile_size=24, block_weights={"OUT03": 0.5})
    expected = "v1; method=Near-sighted Tile; tile_size=24; block_weights=OUT03=0.5"
    assert infotext.write_infotext(changed) == expected


def test_what_a_paste_cannot_use_is_left_out_and_logged(caplog):
    settings = infotext.read_infotext("v1; peak_time=0.2; from_the_future=1; tile_size=900")
    assert settings == Settings(peak_time=0.2)
    assert "from_the_future" in caplog.text
    assert "tile_size must be between 16 and 64" in caplog.text


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
    assert said.startswith("Slothful Attention: nothing was applied: the strength is never above 1")
    assert said in caplog.text


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
    marked = [(site, layer.attn1) for site in find_sites(unet) for layer in site.layers]
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
