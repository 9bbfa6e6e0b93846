"""Samplers by name."""

import types


def create_sampler(name, model):
    """A sampler for a model, as for one pass."""
    from modules import script_callbacks

    from standalone.samplers import Sampler

    return Sampler(name, model, script_callbacks.cfg_denoiser_callback)


def find_sampler_config(name):
    """What is known of a sampler before it is made."""
    second_order = name in ("Heun", "DPM++ SDE")
    return types.SimpleNamespace(options={"second_order": True} if second_order else {})
