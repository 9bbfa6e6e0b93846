"""The shapes of the U-Nets that are in use, each read once."""

from __future__ import annotations

import weakref
from typing import Any

from slothful import UnetShape, UnsupportedModelError, shape_of

_shapes: weakref.WeakKeyDictionary[Any, UnetShape | None] = weakref.WeakKeyDictionary()


def known_shape(unet: Any) -> UnetShape | None:
    """The shape of a U-Net, None where nothing can be applied to it or there is none."""
    if unet is None:
        return None
    if unet not in _shapes:
        try:
            _shapes[unet] = shape_of(unet)
        except UnsupportedModelError:
            _shapes[unet] = None
    return _shapes[unet]
