"""Slothful Attention: training-free control and acceleration of Stable Diffusion's self-attention.

The core knows torch and einops only. Settings are values, plans are pure, hooks live in a `with`:

    import slothful

    settings = slothful.Settings(method="Near-sighted Attention", peak_time=0.3)
    with slothful.applied(unet, settings):
        samples = sampler(...)
"""

from slothful.cost import Cost, estimate, shape_of
from slothful.hooks import Application, applied
from slothful.needs import idle_parameters
from slothful.nothing import why_nothing
from slothful.parameters import Parameter, SettingsError, echo
from slothful.plan import SitePlan, plan_site
from slothful.schedule import Moment, PassClock
from slothful.settings import Settings
from slothful.sites import FAMILY_SITES, KNOWN_SITES, Site, UnsupportedModelError, find_sites
from slothful.vae import VaeTiles

__all__ = [
    "FAMILY_SITES",
    "KNOWN_SITES",
    "Application",
    "Cost",
    "Moment",
    "Parameter",
    "PassClock",
    "Settings",
    "SettingsError",
    "Site",
    "SitePlan",
    "UnsupportedModelError",
    "VaeTiles",
    "applied",
    "echo",
    "estimate",
    "find_sites",
    "idle_parameters",
    "plan_site",
    "shape_of",
    "why_nothing",
]
