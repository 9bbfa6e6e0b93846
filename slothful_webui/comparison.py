"""Comparison: every batch twice with the same seeds, first without the effect and then with it.

The webui runs it as any request with twice as many batches, so both pictures are saved, have their
own infotext and come to the gallery.
"""

from __future__ import annotations

from typing import Any

_DOUBLED = "slothful_doubled"
_LISTS = (
    "all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds",
    "all_hr_prompts", "all_hr_negative_prompts",
)  # fmt: skip


def double_batches(p: Any) -> None:
    """`before_process`: ask for twice as many batches, once for each number of them."""
    # some scripts run the same request again and again
    if getattr(p, _DOUBLED, None) != p.n_iter:
        p.n_iter *= 2
        setattr(p, _DOUBLED, p.n_iter)


def pair_batches(p: Any) -> None:
    """`process`: give batches 2k and 2k + 1 the prompts and seeds that batch k would have had."""
    size = p.batch_size
    for name in _LISTS:
        values = getattr(p, name, None)
        if values:
            batches = [values[start : start + size] for start in range(0, len(values), size)]
            paired = [batch for batch in batches[: len(batches) // 2] for _ in range(2)]
            setattr(p, name, [value for batch in paired for value in batch])


def has_effect(batch_number: int) -> bool:
    """Whether a batch of a comparison is one with the effect."""
    return batch_number % 2 == 1
