"""Where the webui, and what descends from it, keeps the model, its U-Net and its VAE."""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slothful import Prediction, SettingsError
from slothful_webui.costs import Machine


def loaded_model() -> Any | None:
    """The model that is loaded; None before one is. Never loads one."""
    from modules import sd_models

    model = sd_models.model_data.sd_model
    # Forge has a stand-in there until the first image is made
    return model if hasattr(model, "forge_objects") or hasattr(model, "model") else None


def unet_of(model: Any) -> Any | None:
    """The module that is called as the U-Net, None where the model has none."""
    objects = getattr(model, "forge_objects", None)
    if objects is not None:  # Forge, reForge
        model = getattr(objects.unet, "model", None)
    else:
        model = getattr(model, "model", None)
    return getattr(model, "diffusion_model", None)


def vae_of(model: Any) -> Any | None:
    """The module that turns images into latents and back, None where the model has none."""
    objects = getattr(model, "forge_objects", None)
    return getattr(model if objects is None else objects.vae, "first_stage_model", None)


def running_unet() -> Any | None:
    """The U-Net that PyTorch runs now; None where another engine has taken over, or what it
    compiled, which runs no hooks.
    """
    from modules import shared

    try:
        from modules import sd_unet
    except ImportError:
        sd_unet = None
    objects = getattr(shared.sd_model, "forge_objects", None)
    called = getattr(getattr(getattr(objects, "unet", None), "model", None), "apply_model", None)
    # Forge Neo compiles the U-Net in every call of what it marks so
    is_compiled = getattr(called, "_torch_compile_wrapper", False)
    if getattr(sd_unet, "current_unet", None) is not None or is_compiled:
        return None
    return unet_of(shared.sd_model)


def running_checkpoint() -> tuple[Any, Any]:
    """What the weights of the model in use now are from, as far as the host says it."""
    from modules import sd_samplers_common, shared

    # what Forge Neo will load again after its fast refiner has given the model other weights
    replaced = getattr(sd_samplers_common, "ORIGINAL_CHECKPOINT", None)
    return getattr(shared.sd_model, "sd_checkpoint_info", None), replaced


def number_size(unet: Any) -> int:
    """The bytes of a number that a U-Net gives. It computes with no less than 16 bits, however few
    its weights are stored in.
    """
    sizes = (each.element_size() for each in unet.parameters() if each.is_floating_point())
    return max(2, next(sizes, 2))


def running_prediction() -> Prediction:
    """What the U-Net in use now predicts, and on which schedule of noise.

    Raises `SettingsError` where the denoised image cannot be told from it, as with flows.
    """
    from modules import shared

    model = shared.sd_model
    sampling = _sampling_of(model)
    if sampling is None:
        name = getattr(model, "parameterization", "eps")
        alphas = getattr(model, "alphas_cumprod", None)
        alphas = () if alphas is None else alphas
    else:
        # Forge's says it in a word, reForge's by the class that it has it from
        classes = (each for each in type(sampling).__mro__ if "calculate_denoised" in vars(each))
        name = getattr(sampling, "prediction_type", None) or next(classes).__name__
        alphas = 1 / (sampling.sigmas**2 + 1)
    if name not in _PREDICTIONS:
        raise SettingsError(f"sleep of whole calls does not work with models that predict {name!r}")
    return Prediction(_PREDICTIONS[name], tuple(float(alpha) for alpha in alphas))


_PREDICTIONS = {
    "eps": "noise", "epsilon": "noise", "EPS": "noise",
    "v": "velocity", "v_prediction": "velocity", "V_PREDICTION": "velocity",
}  # fmt: skip
"""The hosts' names for what a model predicts, and the core's."""


def timesteps_at(sampler: Any, sigmas: torch.Tensor) -> torch.Tensor:
    """The timesteps that the U-Net is called with at some sigmas, both (steps,), by a sampler of
    k-diffusion's kind.

    Forge and reForge turn sigmas into timesteps themselves, whole ones, whatever the sampler says.
    """
    sampling = _sampling_of(loaded_model())
    if sampling is not None:
        return sampling.timestep(sigmas)
    return sampler.model_wrap.sigma_to_t(sigmas)


def _sampling_of(model: Any) -> Any | None:
    """What Forge and reForge ask for a model's sigmas and prediction, None elsewhere."""
    objects = getattr(model, "forge_objects", None)
    if objects is None:
        return None
    inner = objects.unet.model
    return inner.predictor if hasattr(inner, "predictor") else inner.model_sampling


def running_vae() -> Any | None:
    """The VAE in use now."""
    from modules import shared

    return vae_of(shared.sd_model)


def calls_twice(sampler: str) -> bool:
    """Whether a sampler calls the U-Net twice in each step but the last."""
    from modules import sd_samplers

    find = getattr(sd_samplers, "find_sampler_config", None)
    options = getattr(find(sampler) if find else None, "options", None) or {}
    return bool(options.get("second_order"))


def machine_of(unet: Any) -> Machine:
    """What computes a U-Net here."""
    weight = next(each for each in unet.parameters() if each.is_floating_point())
    return Machine(
        _device_name(weight.device), torch.__version__, _attention(), str(weight.dtype)[6:]
    )


def _device_name(device: torch.device) -> str:
    running = _running_device() or device  # weights may be kept elsewhere between images
    if running.type == "cuda":
        return torch.cuda.get_device_name(running)
    if running.type != "cpu":
        return running.type
    return f"{processor_name()}, {torch.get_num_threads()} threads"


@functools.cache  # the page asks with every drawing
def processor_name() -> str:
    """Of this computer, as its maker calls it."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        name = next(line for line in lines if line.startswith("model name"))
        return name.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "CPU"


def _running_device() -> torch.device | None:
    try:
        from modules import devices
    except ImportError:
        return None
    return getattr(devices, "device", None)


def _attention() -> str:
    """What computes attention, in the host's words; where it has none, PyTorch's own is meant."""
    try:
        from modules import sd_hijack
    except ImportError:
        return "default"
    hijack = getattr(sd_hijack, "model_hijack", None)
    return str(getattr(hijack, "optimization_method", None) or "default")


def within_a_call(act: Callable[[Any, Any, Any], None]) -> None:
    """Make a small image, as the host makes all, and before its first call of the U-Net call `act`
    with the U-Net and this call's arguments, by position and by keyword. What it raises ends the
    image, and is raised.

    Waits until the host has nothing else to do. Nothing is saved, and no script is run.
    """
    from modules import call_queue, processing, shared

    with call_queue.queue_lock, contextlib.ExitStack() as stack:
        unet = running_unet()
        if unet is None:
            return
        handles: list[Any] = []

        def before(unet: Any, args: Any, kwargs: Any) -> None:
            while handles:  # `act` calls the U-Net as well
                handles.pop().remove()
                act(unet, args, kwargs)

        handles.append(unet.register_forward_pre_hook(before, with_kwargs=True))
        stack.callback(lambda: [handle.remove() for handle in handles])
        state = shared.state
        if hasattr(state, "begin"):
            state.begin(job="slothful-attention-measure")
            stack.callback(state.end)
        # the webui would note it as the last image that was asked for
        _set_for_now(stack, shared.cmd_opts, "no_prompt_history", True)
        p = processing.StableDiffusionProcessingTxt2Img(
            sd_model=shared.sd_model, prompt="", steps=1, width=64, height=64, cfg_scale=5.0,
            sampler_name="Euler", do_not_save_samples=True, do_not_save_grid=True,
        )  # fmt: skip
        with contextlib.closing(p):
            processing.process_images(p)


def _set_for_now(stack: contextlib.ExitStack, place: Any, name: str, value: Any) -> None:
    missing = object()
    before = getattr(place, name, missing)
    setattr(place, name, value)
    stack.callback(
        lambda: delattr(place, name) if before is missing else setattr(place, name, before)
    )
