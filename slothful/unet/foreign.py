"""Hooks on a block's modules: which are ours, and which of others would meet reduced tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

HOOKED = "another extension has hooks on its self-attention"
CROSS_CHANGED = "another extension changes its cross-attention"
MLP_CHANGED = "another extension changes its feed-forward layers"
UNET_REPLACED = "another extension runs the U-Net in its own way, e.g. ControlNet"
UNET_HOOKED = "another extension has hooks on the U-Net"


def idle(*_: Any) -> None:
    """A hook that does nothing: what a copy of a hooked module has in the place of ours."""


def _idle() -> Callable[..., None]:
    return idle


class OwnHook:
    """A hook of ours, `function` with a mark. A deep or pickled copy of a module that has it gets
    `idle` instead: what is applied to a U-Net is not applied to its copies.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _idle, ()


def between(unet: nn.Module, before: OwnHook, after: OwnHook) -> str | None:
    """What of others a call of a U-Net would meet between two hooks of ours, one `before` and one
    `after` it; None if there is nothing.
    """
    forward = vars(unet).get("forward")
    if forward is not None and _changes(forward):
        return UNET_REPLACED
    inner = [*unet._forward_pre_hooks.values()]
    inner = inner[inner.index(before) + 1 :]
    outer = [*unet._forward_hooks.values()]
    inner += outer[: outer.index(after)]
    return None if all(map(_is_harmless, inner)) else UNET_HOOKED


class Watch:
    """Looks whether others hooked modules or replaced their `forward`, at next to no cost.

    Their hooks were written for tokens in full number and order. What only moves or converts
    weights is harmless, and so is a network's layer that takes a projection's place (LoRA): it
    works token by token.
    """

    def __init__(self, modules: Iterable[nn.Module], may_replace: Iterable[nn.Module] = ()):
        """`may_replace`: those of the modules whose `forward` anybody may replace, as a host's
        optimizations and HyperTile do with an attn1's.
        """
        self._modules = tuple(modules)
        allowed = {id(module) for module in may_replace}
        self._forwards = tuple(vars(m) for m in self._modules if id(m) not in allowed)
        self._seen: list[Any] | None = None
        self._found = False

    def found(self) -> bool:
        """Whether there is anything of others."""
        # ids of hooks are never used twice, so equal lists are the same hooks
        seen = [forward for own in self._forwards if (forward := own.get("forward")) is not None]
        for module in self._modules:
            seen += module._forward_pre_hooks
            seen += module._forward_hooks
        if seen != self._seen:
            self._seen, self._found = seen, self._look()
        return self._found

    def _look(self) -> bool:
        if any("forward" in own and _changes(own["forward"]) for own in self._forwards):
            return True
        hooks = (
            hook
            for module in self._modules
            for own in (module._forward_pre_hooks, module._forward_hooks)
            for hook in own.values()
        )
        return any(not _is_harmless(hook) for hook in hooks)


def _is_harmless(hook: Callable[..., Any]) -> bool:
    """Whether a hook is ours, or one that only moves or converts weights: torch's own (weight
    norm, pruning), accelerate's, a host's for little memory.
    """
    if isinstance(hook, OwnHook) or hook is idle:
        return True
    function = getattr(hook, "func", hook)  # of a partial
    named = function if hasattr(function, "__name__") else type(function)
    package = (getattr(named, "__module__", None) or "").partition(".")[0]
    return package in ("torch", "accelerate") or named.__name__ == "send_me_to_gpu"


def _changes(forward: Callable[..., Any]) -> bool:
    """Whether a replaced `forward` may do more than a network's layer or a mover of weights."""
    layer = getattr(forward, "__self__", None)
    if isinstance(layer, nn.Module):
        name = getattr(forward, "__name__", "")
        # bound to a module by that module's class: a layer that stands in for another
        return getattr(type(layer), name, None) is not getattr(forward, "__func__", None)
    return not _is_harmless(forward)
