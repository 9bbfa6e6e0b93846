"""Slothful Attention: training-free control and acceleration of Stable Diffusion's self-attention.

The core needs torch and einops only. Settings are values, plans are pure, hooks live in a `with`:

    import slothful

    settings = slothful.Settings(method="Near-sighted Attention", peak_time=0.3)
    with slothful.applied(unet, settings):
        samples = sampler(...)

Its words: a *site* is the self-attention of one block of the U-Net, named as on the page (IN01); a
*layer* is one of the site's transformer layers, with attn1, attn2 and ff; a *module* is any part of
a model that PyTorch knows. Its rooms, each of which imports only what stands before it: `settings`,
`planning`, `tokens`, `unet`. Hosts import this file and no room.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .planning.choice import LEVELS, check_level, choose
from .planning.cost import NO_COST, Cost, MadeCall, SiteShape, UnetShape, cost_of, estimate
from .planning.held import held_numbers
from .planning.limits import within_limits
from .planning.mixing import mixed_amount
from .planning.moment import SAME_TIME, Moment, PassClock, pass_moments
from .planning.nothing import why_nothing
from .planning.parts import PARTS
from .planning.plan import Agents, Merge, Reduce, SitePlan, Sleep
from .planning.planner import is_one_sided, plan_site, site_strength
from .planning.reported import what_was_done
from .planning.schedule import TRAIN_STEPS, noise_level_time
from .planning.seconds import (
    NO_SECONDS,
    MachineCosts,
    Rates,
    Seconds,
    check_costs,
    estimate_seconds,
    seconds_of,
)
from .planning.site import LATENT_FACTOR, Site, grid_of
from .planning.sleep import (
    agents_asleep_since,
    asleep_since,
    check_awake_blocks,
    is_measured,
)
from .planning.told import NOTHING, Part, how_asleep, where_applied
from .settings.methods import METHODS, NO_METHOD
from .settings.needs import idle_parameters
from .settings.parameter import Parameter, SettingsError, echo
from .settings.settings import Settings
from .settings.site_names import FAMILY_SITES, KNOWN_SITES

if TYPE_CHECKING:
    from .unet.anatomy import UnsupportedModelError
    from .unet.application import Application
    from .unet.applied import applied
    from .unet.call_times import CallTimes
    from .unet.measuring import measure
    from .unet.prediction import Prediction
    from .unet.rows import Prompt, Row
    from .unet.shape import shape_of
    from .unet.sites import SiteModules, find_sites
    from .unet.vae import VaeTiles

# what needs torch is imported when it is asked for
_LATE = {
    "Application": "application",
    "applied": "applied",
    "CallTimes": "call_times",
    "measure": "measuring",
    "Prediction": "prediction",
    "Prompt": "rows",
    "Row": "rows",
    "shape_of": "shape",
    "SiteModules": "sites",
    "UnsupportedModelError": "anatomy",
    "find_sites": "sites",
    "VaeTiles": "vae",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".unet.{_LATE[name]}", __name__), name)
    globals()[name] = found
    return found


__all__ = [
    "FAMILY_SITES",
    "KNOWN_SITES",
    "LATENT_FACTOR",
    "LEVELS",
    "METHODS",
    "NOTHING",
    "NO_COST",
    "NO_METHOD",
    "NO_SECONDS",
    "PARTS",
    "SAME_TIME",
    "TRAIN_STEPS",
    "Agents",
    "Application",
    "CallTimes",
    "Cost",
    "MachineCosts",
    "MadeCall",
    "Merge",
    "Moment",
    "Parameter",
    "Part",
    "PassClock",
    "Prediction",
    "Prompt",
    "Rates",
    "Reduce",
    "Row",
    "Seconds",
    "Settings",
    "SettingsError",
    "Site",
    "SiteModules",
    "SitePlan",
    "SiteShape",
    "Sleep",
    "UnetShape",
    "UnsupportedModelError",
    "VaeTiles",
    "agents_asleep_since",
    "applied",
    "asleep_since",
    "check_awake_blocks",
    "check_costs",
    "check_level",
    "choose",
    "cost_of",
    "echo",
    "estimate",
    "estimate_seconds",
    "find_sites",
    "grid_of",
    "held_numbers",
    "how_asleep",
    "idle_parameters",
    "is_measured",
    "is_one_sided",
    "measure",
    "mixed_amount",
    "noise_level_time",
    "pass_moments",
    "plan_site",
    "seconds_of",
    "shape_of",
    "site_strength",
    "what_was_done",
    "where_applied",
    "why_nothing",
    "within_limits",
]
