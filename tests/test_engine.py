"""Where the model, its U-Net and its VAE lie in the webui and in what descends from it."""

from types import SimpleNamespace

import pytest
import torch

from slothful import SettingsError
from slothful_webui import engine
from slothful_webui.drawing import describe
from slothful_webui.timesteps import pass_timesteps
from standalone.runner import load_script_class

UNET, VAE = torch.nn.Identity(), torch.nn.Identity()


@pytest.fixture
def hold(monkeypatch):
    """Puts a model where the webui keeps it."""
    load_script_class()  # puts the host's `modules` where they can be imported
    from modules import shared

    return lambda model: monkeypatch.setattr(shared, "sd_model", model)


def webui_model():
    return SimpleNamespace(model=SimpleNamespace(diffusion_model=UNET), first_stage_model=VAE)


def forge_model(**old_names):
    """Forge has its own places beside the old names, which lead nowhere there."""
    unet = SimpleNamespace(model=SimpleNamespace(diffusion_model=UNET))
    objects = SimpleNamespace(unet=unet, vae=SimpleNamespace(first_stage_model=VAE))
    return SimpleNamespace(forge_objects=objects, **old_names)


MODELS = {
    "webui": webui_model(),
    "Forge": forge_model(first_stage_model=None),
    "reForge": forge_model(**vars(webui_model())),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_each_host_has_its_places(hold, model):
    hold(model)
    assert engine.loaded_model() is model
    assert (engine.unet_of(model), engine.vae_of(model)) == (UNET, VAE)
    assert (engine.running_unet(), engine.running_vae()) == (UNET, VAE)


@pytest.mark.parametrize("model", [None, SimpleNamespace(cond_stage_model=None)])
def test_before_a_model_is_loaded_there_is_none(hold, model):
    """In Forge something stands where the model will be."""
    hold(model)
    assert engine.loaded_model() is None
    assert engine.running_unet() is None
    assert engine.running_vae() is None


def test_a_model_without_a_unet_has_none(hold):
    model = SimpleNamespace(forge_objects=SimpleNamespace(unet=SimpleNamespace(), vae=None))
    hold(model)
    assert engine.loaded_model() is model
    assert engine.unet_of(model) is None
    assert engine.vae_of(model) is None


def test_where_another_engine_runs_the_unet_there_is_none_for_us(hold, monkeypatch):
    import modules

    hold(webui_model())
    taken_over = SimpleNamespace(current_unet=object())
    monkeypatch.setattr(modules, "sd_unet", taken_over, raising=False)
    assert engine.running_unet() is None
    taken_over.current_unet = None
    assert engine.running_unet() is UNET


def test_a_unet_that_the_host_compiles_is_none_for_us(hold):
    """As Forge Neo does: its mark is on what calls the U-Net."""
    model = forge_model()
    hold(model)

    def apply_model():
        """What stands in for the model's own."""

    model.forge_objects.unet.model.apply_model = apply_model
    assert engine.running_unet() is UNET
    apply_model._torch_compile_wrapper = True
    assert engine.running_unet() is None


def test_the_page_draws_for_forges_models_too():
    from slothful import Settings
    from slothful_webui.passes import Fields
    from tests.unets import make_unet

    unet = SimpleNamespace(model=SimpleNamespace(diffusion_model=make_unet("sd1")))
    model = SimpleNamespace(forge_objects=SimpleNamespace(unet=unet, vae=None))
    assert describe(Settings(), Fields(), model)["model"] == "loaded"


class EPS:
    def calculate_denoised(self):
        """What of reForge's class is looked at."""


class V_PREDICTION(EPS):  # noqa: N801 - reForge's name
    def calculate_denoised(self):
        """Its own."""


class Flow:
    def calculate_denoised(self):
        """Of a flow."""


ALPHAS = torch.linspace(0.99, 0.01, 1000)
SIGMAS = ((1 - ALPHAS) / ALPHAS) ** 0.5


def predicting(**inner):
    unet = SimpleNamespace(model=SimpleNamespace(**inner))
    return SimpleNamespace(forge_objects=SimpleNamespace(unet=unet))


def reforge(kind):
    sampling = type("ModelSampling", (torch.nn.Module, kind), {})()
    sampling.sigmas = SIGMAS
    return predicting(model_sampling=sampling)


def forge(kind):
    return predicting(predictor=SimpleNamespace(prediction_type=kind, sigmas=SIGMAS))


PREDICTING = {
    "webui": (SimpleNamespace(parameterization="eps", alphas_cumprod=ALPHAS), "noise"),
    "webui, v": (SimpleNamespace(parameterization="v", alphas_cumprod=ALPHAS), "velocity"),
    "Forge": (forge("epsilon"), "noise"),
    "Forge, v": (forge("v_prediction"), "velocity"),
    "reForge": (reforge(EPS), "noise"),
    "reForge, v": (reforge(V_PREDICTION), "velocity"),
}


@pytest.mark.parametrize(("model", "kind"), PREDICTING.values(), ids=PREDICTING)
def test_what_a_model_predicts_is_asked_where_the_host_keeps_it(hold, model, kind):
    hold(model)
    prediction = engine.running_prediction()
    assert prediction.kind == kind
    assert torch.allclose(torch.tensor(prediction.alphas_cumprod), ALPHAS, atol=1e-6)


@pytest.mark.parametrize(("model", "name"), [(forge("const"), "const"), (reforge(Flow), "Flow")])
def test_of_a_flow_whole_calls_cannot_sleep_and_the_error_names_it(hold, model, name):
    hold(model)
    with pytest.raises(SettingsError, match=f"sleep of whole calls .* predict '{name}'"):
        engine.running_prediction()


@pytest.mark.parametrize("place", ["predictor", "model_sampling"])
def test_the_steps_are_at_the_timesteps_that_the_unet_gets(hold, place):
    """Forge and reForge round them, after what reForge's sampler says."""
    unrounded = torch.tensor([999.0, 599.4, 199.8])
    rounding = SimpleNamespace(timestep=lambda sigmas: (sigmas * 100).round().long())
    sampler = SimpleNamespace(
        get_sigmas=lambda p, steps: torch.cat([unrounded / 100, torch.zeros(1)]),
        model_wrap=SimpleNamespace(sigma_to_t=lambda sigmas: sigmas * 100),
    )
    request = SimpleNamespace(sampler=sampler, steps=3, is_hr_pass=False)
    hold(webui_model())
    assert pass_timesteps(request) == pytest.approx([999.0, 599.4, 199.8])
    hold(predicting(**{place: rounding}))
    assert pass_timesteps(request) == (999.0, 599.0, 200.0)
