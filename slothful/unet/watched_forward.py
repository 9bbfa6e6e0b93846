"""Whether an attention's `forward` may be left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .calls import Dialect

Answers = tuple[Callable[..., Any], ...]
"""What answers in an attention: its class's `forward`, and its processor's `__call__`."""


class WatchedForward:
    """Watches the calls of an attention whose `forward` is a host's own: where it gives its
    projections the very tensors that it got, each once, no hypernetwork is between, and it may be
    left out. That holds for what answered then, until `forget`.
    """

    def __init__(self, attention: Any, dialect: Dialect):
        self._attention, self._dialect = attention, dialect
        self.forget()

    def forget(self) -> None:
        """What a `forward` does may have changed."""
        self._plain: Answers | None = None
        self.skip()

    def skip(self) -> None:
        """A call is not watched to its end."""
        self._expected: dict[str, torch.Tensor] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether what would answer now is known to do nothing but attend."""
        return self._plain is not None and self._plain == self._answers()

    def begin(self, queries: torch.Tensor, context: torch.Tensor) -> None:
        """The attention is called with these."""
        self._plain = None
        self._expected = {"to_q": queries, "to_k": context, "to_v": context}

    def projects(self, name: str, given: torch.Tensor | None) -> None:
        """It has given tokens to one of its projections."""
        if self._expected is not None and self._expected.pop(name, self) is not given:
            self.skip()

    def end(self) -> None:
        """It has answered."""
        answers, own = self._answers(), vars(self._attention).get("forward")
        if self._expected == {} and own is None and self._dialect.answers_as_is(self._attention):
            is_known = all(_is_in(self._dialect.only_attend, each) for each in answers)
            self._plain = answers if is_known else None
        self.skip()

    def _answers(self) -> Answers:
        processor = getattr(self._attention, "processor", None)
        forward = type(self._attention).forward
        return (forward,) if processor is None else (forward, type(processor).__call__)


def _is_in(modules: Sequence[str], function: Any) -> bool:
    is_wrapped = hasattr(function, "__wrapped__")
    return not is_wrapped and getattr(function, "__module__", None) in modules
