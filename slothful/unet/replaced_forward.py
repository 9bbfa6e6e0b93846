"""A module's `forward`, replaced for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

Forward = Callable[..., Any]
"""None: the module's own `forward` has to answer."""


class OwnForward:
    """The `forward` that a module has without any that was put on it: what a copy of the module has
    in the place of a `ReplacedForward`.
    """

    def __init__(self, module: nn.Module, own: Callable[..., Any] | None):
        self._module, self._own = module, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._own is not None:
            return self._own(*args, **kwargs)
        return type(self._module).forward(self._module, *args, **kwargs)


class ReplacedForward:
    """Stands in for the `forward` of a module until `remove`, and then gives back what was there. A
    copy of the module has what was there.
    """

    def __init__(self, module: nn.Module, forward: Forward):
        self._module, self._own = module, module.__dict__.get("forward")
        self._before: Callable[..., torch.Tensor] = module.forward
        self._forward: Forward | None = forward
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        answer = None if self._forward is None else self._forward(*args, **kwargs)
        return self._before(*args, **kwargs) if answer is None else answer

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnForward, (self._module, self._own)

    def remove(self) -> None:
        """Where somebody has wrapped this in the meantime, it stays and passes through."""
        self._forward = None
        if self._module.__dict__.get("forward") is not self:
            return
        own = self._own
        while isinstance(own, ReplacedForward) and own._forward is None:
            own = own._own  # removed while this was there
        if own is None:
            del self._module.forward
        else:
            self._module.forward = own


Handle = RemovableHandle | ReplacedForward
"""What `remove` takes back."""
