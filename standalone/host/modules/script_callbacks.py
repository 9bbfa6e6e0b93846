"""Callbacks that scripts register; only those that the host calls."""

import dataclasses
from typing import Any

from modules import errors

_cfg_denoiser: list = []
_before_ui: list = []
_ui_settings: list = []
_app_started: list = []


@dataclasses.dataclass
class CFGDenoiserParams:
    """What `on_cfg_denoiser` hands to a callback before each evaluation of the U-Net."""

    x: Any
    image_cond: Any
    sigma: Any
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    text_uncond: Any
    denoiser: Any = None


def on_cfg_denoiser(callback, *, name=None):
    """Register a callback that receives `CFGDenoiserParams`."""
    _cfg_denoiser.append(callback)


def on_before_ui(callback, *, name=None):
    """Register a callback without arguments that runs before a page is built."""
    _before_ui.append(callback)


def on_ui_settings(callback, *, name=None):
    """Register a callback without arguments that adds options."""
    _ui_settings.append(callback)


def on_app_started(callback, *, name=None):
    """Register a callback that receives the page and the FastAPI application."""
    _app_started.append(callback)


def app_started_callback(demo, app):
    """Call them all; `demo` is the page's gradio Blocks."""
    for callback in _app_started:
        callback(demo, app)


def cfg_denoiser_callback(params):
    """Call them all; what they raise is reported and swallowed, as in the webui."""
    for callback in _cfg_denoiser:
        try:
            callback(params)
        except Exception:
            errors.report(f"Error executing callback {callback.__name__}", exc_info=True)


def clear_callbacks():
    """Forget all callbacks, as the webui does before it loads scripts again."""
    _cfg_denoiser.clear()
    _before_ui.clear()
    _ui_settings.clear()
    _app_started.clear()
