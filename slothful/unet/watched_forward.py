"""Whether an attention's `forward` may be left out, found by watching it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class WatchedForward:
    """Watches the calls of an attention: one whose `forward` gave its projections what it got, each
    once, and gave back what the last one gave, does nothing but attend.

    A hypernetwork or an own way with keys shows in this, whatever host it belongs to. What is known
    holds for the class's `forward` that was seen, until `forget`.
    """

    def __init__(self, attention: Any):
        self._attention = attention
        self._plain: Callable[..., Any] | None = None
        self.forget()

    def forget(self) -> None:
        """What a `forward` does may have changed."""
        self._plain = None
        self.skip()

    def skip(self) -> None:
        """A call is not watched to its end."""
        self._expected: dict[str, torch.Tensor | None] = {}
        self._output: torch.Tensor | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the class's present `forward` is one of these."""
        return self._plain is not None and self._plain is type(self._attention).forward

    def begin(self, queries: torch.Tensor, context: torch.Tensor) -> None:
        """The attention is called with these."""
        self._expected = {"to_q": queries, "to_k": context, "to_v": context}
        self._output = None

    def projects(self, name: str, given: torch.Tensor) -> None:
        """It has given tokens to one of its projections."""
        if self._expected.pop(name, None) is not given:
            self._expected["another"] = None

    def gives(self, output: torch.Tensor) -> None:
        """Its last projection has given this."""
        self._output = output

    def end(self, answers: torch.Tensor, copied: bool) -> None:
        """It has answered; `copied`: as is known, with other tensors of the same numbers."""
        own, output = vars(self._attention).get("forward"), self._output
        is_plain = own is None and output is not None and not self._expected
        if output is not None and not copied:
            # the same memory: a dropout that does nothing may give another view of it
            is_plain = is_plain and output.data_ptr() == answers.data_ptr()
        self._plain = type(self._attention).forward if is_plain else None
        self.skip()
