"""`p.sample` inside a context of ours, which is also where our errors are told.

The webui swallows what a script's callback raises: the answer is HTTP 200 and an image without the
effect. What is raised inside `p.sample` reaches the page and the API's caller.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

from slothful import SettingsError

TITLE = "Slothful Attention"

_WRAPPED = "slothful_wrapped_sample"
_REFUSED = "slothful_refused"
"""The attributes of `p` that keep what stands in for `p.sample`, and whether it will refuse."""

logger = logging.getLogger(__name__)


class _WrappedSample:
    """What stands in for `p.sample` for one batch: every call of it is inside `around()`.

    Other extensions may have replaced `p.sample` before or may wrap this one: it calls what it
    found, and once the batch has ended it only passes through.
    """

    def __init__(self, p: Any, around: Callable[[], contextlib.AbstractContextManager]):
        self.failure: Exception | None = None
        self.is_open = False
        self.p = p
        self._own = p.__dict__.get("sample")
        self._original = p.sample
        self._around: Callable | None = around

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._around is None or self.is_open:
            return self._original(*args, **kwargs)
        self.is_open = True
        try:
            with self._around():
                samples = self._original(*args, **kwargs)
        except SettingsError as error:  # what only the model shows, as the number of its blocks
            raise _told(error) from error
        finally:
            self.is_open = False
        if self.failure is not None:
            raise _told(self.failure)
        return samples

    def remove(self) -> None:
        """Put back what was there, unless somebody else has wrapped this in the meantime."""
        self._around = None
        if self.p.__dict__.get("sample") is not self:
            return
        if self._own is None:
            del self.p.sample
        else:
            self.p.sample = self._own


def wrap_sample(p: Any, around: Callable[[], contextlib.AbstractContextManager]) -> None:
    """Run every `p.sample(...)` of the present batch inside a context `around()`."""
    unwrap_sample(p)  # from a batch whose end nobody told
    p.sample = _WrappedSample(p, around)
    setattr(p, _WRAPPED, p.sample)


def unwrap_sample(p: Any) -> None:
    """The batch has ended."""
    wrapped = p.__dict__.pop(_WRAPPED, None)
    if wrapped is not None and wrapped.p is p:
        wrapped.remove()
    present = p.__dict__.get("sample")
    if isinstance(present, _WrappedSample) and present.p is not p:
        del p.sample  # p is a copy of a request that is sampling


def refuse(p: Any, error: Exception) -> None:
    """Fail from inside `p.sample`: the call that is running, as it ends, or all of the request."""
    wrapped = p.__dict__.get(_WRAPPED)
    if wrapped is not None and wrapped.is_open:
        wrapped.failure = error
        return
    setattr(p, _REFUSED, True)
    wrap_sample(p, lambda: _refusal(error))


def begin_request(p: Any) -> None:
    """`before_process`: the same `p` may have run, and failed, before."""
    p.__dict__.pop(_REFUSED, None)
    unwrap_sample(p)


def refusing(callback: Callable) -> Callable:
    """A callback(self, p, ...) of a script, whose exceptions make `p.sample` fail.

    Once a request is refused, no later callback changes anything.
    """

    @functools.wraps(callback)
    def guarded(self: Any, p: Any, *args: Any, **kwargs: Any) -> None:
        if p.__dict__.get(_REFUSED):
            return
        try:
            callback(self, p, *args, **kwargs)
        except Exception as error:
            refuse(p, error)

    return guarded


@contextlib.contextmanager
def _refusal(error: Exception):
    raise _told(error)
    yield


def _told(error: Exception) -> RuntimeError:
    known = isinstance(error, SettingsError)
    told = RuntimeError(f"{TITLE}: {error if known else f'{type(error).__name__}: {error}'}")
    told.__cause__ = error
    return told
