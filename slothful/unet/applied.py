"""The context within which settings are at work on a U-Net."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from ..settings.settings import Settings
from .application import Application
from .obstacles import YieldsTo


@contextlib.contextmanager
def applied(
    unet: nn.Module,
    settings: Settings,
    *,
    yields_to: YieldsTo | None = None,
) -> Iterator[Application]:
    """Change the self-attention of a U-Net as `settings` say while the context lasts.

        with applied(unet, settings) as application:
            samples = sampler(...)

    `unet` is a U-Net of Stable Diffusion 1, 2 or XL in one of the builds that `unet/anatomy.py`
    knows, called as `unet(x, timesteps, ...)` with x (batch, channels, height, width) and timesteps
    in 0..1000, by position or by name.
    `yields_to(attn1, grid)` is asked at each attn1, with the (height, width) of its tokens, and
    answers with a reason where another extension is at work there already; the site is then
    skipped. In nested use on one U-Net the innermost is applied.
    Raises `UnsupportedModelError` when the model has no sites.

    Method: Slothful Attention and Near-sighted Attention by MitoshiroPJ.
    """
    application = Application(settings, yields_to)
    try:
        application.follow(unet)
        yield application
    finally:
        application.release()
