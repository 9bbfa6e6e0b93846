"""The script as the webui drives it: arguments, infotext, and how long the hooks live."""

import logging
import math
import types

import pytest
import torch
from hypothesis import given

from slothful import Settings, SettingsError, find_sites
from slothful_webui import infotext
from slothful_webui.arguments import read_arguments
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.scope import SamplingScope, wrap_sample
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


# -- the life of the hooks


class Request:
    """A generation request whose sampling is one call of a U-Net."""

    def __init__(self, unet):
        self.unet = unet
        self.comments = []

    def sample(self):
        return run(self.unet)

    def comment(self, text):
        self.comments.append(text)


STRONG = Settings(in_slothful=12, out_slothful=9, in_depth_decay=0.5, time_decay=0)


def scope(request, unet=None):
    return SamplingScope(request, STRONG, lambda: unet or request.unet).opened


def test_sample_is_wrapped_for_one_batch_and_then_its_own_again(sd1_unet):
    request, before = Request(sd1_unet), module_state(sd1_unet)
    plain = request.sample()
    wrap_sample(request, scope(request))
    assert not torch.equal(request.sample(), plain)
    assert "sample" not in vars(request)
    assert torch.equal(request.sample(), plain)
    assert module_state(sd1_unet) == before


def test_the_settings_are_logged_where_the_console_asks_for_them(sd1_unet, caplog):
    request = Request(sd1_unet)
    for level, lines in ((logging.WARNING, 0), (logging.INFO, 1)):
        with caplog.at_level(level, "slothful_webui"):
            wrap_sample(request, scope(request))
            request.sample()
        assert caplog.text.count(infotext.write_infotext(STRONG)) == lines


def test_another_extensions_replacement_of_sample_is_kept(sd1_unet):
    request, calls = Request(sd1_unet), []
    own = request.sample
    request.sample = theirs = lambda: (calls.append("theirs"), own())[1]
    wrap_sample(request, scope(request))
    request.sample()
    assert calls == ["theirs"]
    assert request.sample is theirs


def test_an_extension_that_wraps_ours_keeps_its_wrapper(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    wrap_sample(request, scope(request))
    ours = request.sample
    request.sample = theirs = lambda: ours()
    assert not torch.equal(request.sample(), plain)
    assert request.sample is theirs
    assert torch.equal(request.sample(), plain)  # used once, ours only passes through


def test_a_batch_that_never_sampled_is_not_applied_twice(sd1_unet):
    request = Request(sd1_unet)
    wrap_sample(request, scope(request))
    wrap_sample(request, scope(request))
    request.sample()
    assert "sample" not in vars(request)


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
    wrap_sample(request, SamplingScope(request, STRONG, lambda: current[0]).opened)
    assert not torch.equal(request.sample(), plain)
    assert (module_state(sd1_unet), module_state(other)) == states


def test_a_model_that_cannot_be_served_is_reported_and_generation_goes_on(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    wrap_sample(request, scope(request, unet=torch.nn.Linear(2, 2)))
    assert torch.equal(request.sample(), plain)
    assert request.comments == [
        "Slothful Attention: nothing was applied: Linear is not a Stable Diffusion 1, 2 or XL "
        "U-Net: it has no input_blocks, middle_block, output_blocks"
    ]


def test_an_engine_outside_pytorch_is_reported(sd1_unet):
    request = Request(sd1_unet)
    plain = request.sample()
    wrap_sample(request, SamplingScope(request, STRONG, lambda: None).opened)
    assert torch.equal(request.sample(), plain)
    assert "does not run in PyTorch" in request.comments[0]


@pytest.fixture
def hypertile(sd1_unet):
    """The U-Net as the webui's HyperTile marks it for an image of 256x192, the tests' size."""
    sites = [site for site in find_sites(sd1_unet) for _ in site.layers]
    marked = [layer.attn1 for site in find_sites(sd1_unet) for layer in site.layers]
    for site, attention in zip(sites, marked):
        parameters = types.SimpleNamespace(
            enabled=True, tile_size=64, aspect_ratio=256 / 192, depth=int(math.log2(site.depth))
        )
        setattr(attention, "__webui_hypertile_params", parameters)
    yield
    for attention in marked:
        delattr(attention, "__webui_hypertile_params")


def test_hypertile_wins_where_it_acts_and_the_page_says_so(sd1_unet, hypertile):
    """Its smallest tile is 128 pixels, and twice that at each deeper level."""
    request = Request(sd1_unet)
    wrap_sample(request, scope(request))
    request.sample()
    (said,) = request.comments
    assert said.startswith("Slothful Attention: left IN01, IN02, OUT09, OUT10, OUT11 alone: ")
    assert "the webui's HyperTile acts there; acted in IN04" in said


def test_where_hypertiles_tile_is_the_whole_image_ours_acts(sd1_unet, hypertile):
    request = Request(sd1_unet)
    request.sample = lambda: run(sd1_unet, height=16, width=16)
    plain = request.sample()
    wrap_sample(request, scope(request))
    assert not torch.equal(request.sample(), plain)
    assert request.comments == []
