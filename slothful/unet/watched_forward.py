"""Whether an attention's `forward` may be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

ONLY_ATTEND = (
    *("ldm.modules.attention", "sgm.modules.attention", "modules.sd_hijack_optimizations"),
    *("backend.nn.unet", "ldm_patched.ldm.modules.attention", "comfy.ldm.modules.attention"),
    *("diffusers.models.attention_processor", "standalone.attention"),
)
"""The modules of ldm, sgm, the webui, Forge, reForge, ComfyUI, diffusers and our own host in which
an attention's `forward` (and in diffusers, a processor's) does nothing but project, attend and
project again, but for hypernetworks: read in their sources.
"""

Answers = tuple[Callable[..., Any], ...]
"""What answers in an attention: its class's `forward`, and its processor's `__call__`."""


class WatchedForward:
    """Watches the calls of an attention whose `forward` is a host's own: where it gives its
    projections the very tensors that it got, each once, no hypernetwork is between, and it may be
    left out. That holds for what answered then, until `forget`.
    """

    def __init__(self, attention: Any):
        self._attention = attention
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
        self._expected = {"to_q": queries, "to_k": context, "to_v": context}

    def projects(self, name: str, given: torch.Tensor | None) -> None:
        """It has given tokens to one of its projections."""
        if self._expected is not None and self._expected.pop(name, self) is not given:
            self.skip()

    def end(self) -> None:
        """It has answered."""
        answers, own = self._answers(), vars(self._attention).get("forward")
        is_plain = self._expected == {} and own is None and all(map(_only_attends, answers))
        # by which diffusers divides
        is_plain = is_plain and getattr(self._attention, "rescale_output_factor", 1) == 1
        self._plain = answers if is_plain else None
        self.skip()

    def _answers(self) -> Answers:
        processor = getattr(self._attention, "processor", None)
        forward = type(self._attention).forward
        return (forward,) if processor is None else (forward, type(processor).__call__)


def _only_attends(function: Any) -> bool:
    is_wrapped = hasattr(function, "__wrapped__")
    return not is_wrapped and getattr(function, "__module__", None) in ONLY_ATTEND
