"""The wish of a request or of the page, with the passes that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slothful import Settings, SettingsError, choose
from slothful_webui.costs import CostsFile
from slothful_webui.drawing import moments_of
from slothful_webui.engine import unet_of
from slothful_webui.passes import SAME, FieldError, Fields, passes_of
from slothful_webui.seconds import measured_costs
from slothful_webui.shapes import known_shape


def choose_for(
    level: str, fields: Fields, model: Any, costs_file: CostsFile | None = None
) -> Settings:
    """The settings of a wish for the passes that the page's fields ask for. `model` is the webui's
    loaded model; without one, or with one that is not supported, nothing is chosen. Raises
    `SettingsError`.
    """
    unet = None if model is None else unet_of(model)
    shape = known_shape(unet)
    plain = Settings()
    passes = [
        (each.name, each.width, each.height, moments_of(plain, each))
        for each in passes_of(fields, model)
    ]
    return choose(level, shape, passes, measured_costs(costs_file, unet, shape))


def choose_for_request(
    level: str, p: Any, model: Any, costs_file: CostsFile | None = None
) -> Settings:
    """The same for a generation request."""
    try:
        return choose_for(level, fields_of(p), model, costs_file)
    except FieldError as error:
        raise SettingsError(str(error)) from error


def fields_of(p: Any) -> Fields:
    """What the page's fields would be for a request."""
    numbers = {
        "width": int(p.width), "height": int(p.height), "steps": int(p.steps),
        "hr_scale": getattr(p, "hr_scale", 2.0) or 2.0,
        "hr_resize_x": int(getattr(p, "hr_resize_x", 0) or 0),
        "hr_resize_y": int(getattr(p, "hr_resize_y", 0) or 0),
        "hr_steps": int(getattr(p, "hr_second_pass_steps", 0) or 0),
    }  # fmt: skip
    strength = getattr(p, "denoising_strength", None)
    choices = {
        "sampler": p.sampler_name,
        "scheduler": getattr(p, "scheduler", None) or "Automatic",
        "hr_sampler": getattr(p, "hr_sampler_name", None) or SAME,
        "hr_scheduler": getattr(p, "hr_scheduler", None) or SAME,
    }
    has_image = bool(getattr(p, "init_images", None))
    # what the host takes, however many steps
    return Fields(
        **numbers, **choices, denoising_strength=0.7 if strength is None else float(strength),
        img2img=has_image, hires=bool(getattr(p, "enable_hr", False)), limits={},
    )  # fmt: skip


def choose_for_page(
    asked: Mapping[str, Any], model: Any, costs_file: CostsFile | None = None
) -> Settings:
    """The same for what the page's script asks: {"level", "fields"}. Raises `SettingsError` and
    `FieldError`.
    """
    fields = asked.get("fields")
    fields = Fields.from_mapping(fields if isinstance(fields, Mapping) else {})
    return choose_for(str(asked.get("level")), fields, model, costs_file)
