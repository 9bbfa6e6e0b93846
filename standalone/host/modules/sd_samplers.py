"""Samplers by name."""


def create_sampler(name, model):
    """A sampler for a model, as for one pass."""
    from modules import script_callbacks

    from standalone.samplers import Sampler

    return Sampler(name, model, script_callbacks.cfg_denoiser_callback)
