"""What the script says of a batch: under the image, in the log and in the infotext."""

import contextlib
import copy
import math
import types

import pytest
import torch

import slothful
from slothful import find_sites
from slothful_webui import infotext
from slothful_webui.scope import SamplingScope
from tests.batches import (
    DONE,
    NOTHING,
    STRONG,
    Request,
    begin_batch,
    besides,
    sample_batch,
    untimed,
)
from tests.sleeping import PARTS, sleeping
from tests.unets import run


def test_the_infotext_has_the_key_where_something_was_applied(sd1_unet):
    request = Request(sd1_unet)
    sample_batch(request)
    assert request.extra_generation_params == {infotext.KEY: infotext.write_infotext(STRONG)}
    assert besides(request.comments) == []


def test_the_line_says_where_it_was_applied_what_was_computed_and_how_long_it_took(sd1_unet):
    request = Request(sd1_unet)
    sample_batch(request)
    (line,) = request.comments
    plans = plans_of(sd1_unet, STRONG)
    calls = [slothful.MadeCall((256, 192), 2, plans)]
    cost = slothful.cost_of(STRONG, slothful.shape_of(sd1_unet), calls)
    applied = [name for name, plan in plans.items() if plan is not None]
    assert untimed(line) == (
        f"Slothful Attention: applied in {', '.join(applied)}; "
        f"{100 * cost.total_share:.0f} % of the U-Net was computed"
    )
    assert float(DONE.match(line)[4]) >= 0


def plans_of(unet, settings):
    """What is planned in a call of `run`."""
    with slothful.applied(unet, settings) as application:
        run(unet)
        return dict(application.plans)


def test_where_the_machine_was_measured_it_says_what_it_would_have_been(sd1_unet):
    """By costs in which every operation of a block takes a second."""
    shape, asked = slothful.shape_of(sd1_unet), []

    def known(unet, given):
        asked.append((unet, given))
        rates = {kind: slothful.Rates(0.0, 0.0, 1.0) for kind in ("32x8", "64x8", "128x8")}
        blocks = {each.inside: ((1.0, 0.0),) for each in shape.rest}
        parts = dict.fromkeys(("cross", "mlp", "around"), ((1.0, 0.0),))
        return slothful.MachineCosts(blocks, parts, rates, 0.0, 0.0, 0.0)

    request = Request(sd1_unet)
    scope = SamplingScope(request, STRONG, lambda: sd1_unet, known_costs=known)
    scope.begin()
    request.sample()
    SamplingScope.end(request)
    assert asked == [(sd1_unet, shape)]
    # one second for each of the self-attentions
    assert request.comments[0].endswith("instead of about 16.0 s")


def test_each_batch_has_a_line_of_its_own_in_the_place_of_the_last_one(sd1_unet):
    request = Request(sd1_unet)
    for _ in range(3):
        sample_batch(request)
        assert len(request.comments) == 1


def test_the_cells_of_a_plot_write_no_line_each(sd1_unet):
    request = Request(sd1_unet)
    request.slothful_overrides = {"in_slothful": 12}
    sample_batch(request)
    assert request.comments == []


def test_where_nothing_was_applied_the_page_says_why_and_the_infotext_nothing(sd1_unet, caplog):
    request = Request(sd1_unet)
    assert torch.equal(sample_batch(request, NOTHING), run(sd1_unet))
    assert request.extra_generation_params == {}
    (said,) = besides(request.comments)
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
    assert besides(request.comments) == []


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


@pytest.mark.parametrize("settings", [STRONG, *map(sleeping, PARTS)], ids=["no sleep", *PARTS])
def test_a_model_that_cannot_be_served_is_reported_and_generation_goes_on(
    sd1_unet, settings, monkeypatch
):
    """As Forge's flow models, which also predict nothing that whole calls could sleep on."""
    from modules import shared

    unet = types.SimpleNamespace(model=torch.nn.Module())
    unet.model.predictor = types.SimpleNamespace(prediction_type="const", sigmas=torch.ones(1))
    model = types.SimpleNamespace(forge_objects=types.SimpleNamespace(unet=unet))
    monkeypatch.setattr(shared, "sd_model", model)
    request = Request(sd1_unet)
    plain = request.sample()
    begin_batch(request, settings, current_unet=lambda: torch.nn.Linear(2, 2))
    assert request.extra_generation_params == {}  # known before anything is sampled
    assert torch.equal(request.sample(), plain)
    SamplingScope.end(request)
    assert besides(request.comments) == [
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
    (said,) = besides(request.comments)
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
    (said,) = besides(request.comments)
    assert said.startswith("Slothful Attention: skipped IN01, IN02, OUT09, OUT10, OUT11 (")
    assert "; applied in IN04" in said


def test_where_hypertiles_tile_is_the_whole_image_ours_acts(sd1_unet):
    request = Request(sd1_unet)
    request.sample = lambda: run(sd1_unet, height=16, width=16)
    plain = request.sample()
    with hypertile_on(sd1_unet):
        assert not torch.equal(sample_batch(request), plain)
    assert besides(request.comments) == []
