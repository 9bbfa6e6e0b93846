"""Comparison: every batch twice with the same seeds, first without the effect and then with it.

The webui runs it as any request with twice as many batches, so both images are saved, have their
own infotext and come to the gallery. Only a request of the page or of the API itself is compared,
and only where nobody else has changed how many images it makes; any other runs as it would without
a comparison, and a line says why.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from slothful_webui.language import Part, report

SCRIPT = "not compared: the script {name} is selected, which makes its images itself"
SAME_NAME = "not compared: both images would be saved under the same name"
CHANGED = "not compared: another extension changed the number of images"
UNEQUAL = (
    "another extension gave the two images of a comparison different prompts or seeds, so they "
    "differ in more than the effect"
)

_COMPARISON = "slothful_comparison"
_LISTS = (
    "all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds",
    "all_hr_prompts", "all_hr_negative_prompts",
)  # fmt: skip
_NUMBERED = ("[batch_number]", "[generation_number]", "[image_hash", "[full_image_hash")
_DRAWN = ("prompts", "negative_prompts", "seeds", "subseeds")


class Comparison:
    """What a request `p` keeps while it is compared.

    Made in `process`, it doubles the number of batches, of which there were `count`. `with_effect`
    is whether the present batch has the effect, None where it is not one of a pair.
    """

    def __init__(self, p: Any):
        self.count = p.n_iter
        self.with_effect: bool | None = None
        self._doubled: int | None = 2 * self.count
        p.n_iter = self._doubled
        self._lengths = {name: len(values) for name, values in _lists(p)}
        self._paired = False
        self._drawn: list[Any] = []

    def pair(self, p: Any) -> None:
        """Give batches 2k and 2k + 1 the prompts and seeds that batch k would have had."""
        needed = self.count * p.batch_size
        lists = _lists(p)
        # twice as many may be pairs or, of somebody who counted the batches, other images
        unchanged = {name: len(values) for name, values in lists} == self._lengths
        enough = min(self._lengths.values(), default=0) >= needed
        if not (unchanged and enough and p.n_iter == self._doubled):
            report(p, CHANGED)
            return
        self._paired = True
        for name, values in lists:
            starts = range(0, needed, p.batch_size)
            batches = [list(values[start : start + p.batch_size]) for start in starts]
            setattr(p, name, [value for batch in batches for value in 2 * batch])

    def restore(self, p: Any) -> None:
        """The number of batches as it was, once."""
        if p.n_iter == self._doubled:
            p.n_iter = self.count
        self._doubled = None

    def begin_batch(self, p: Any, number: int) -> None:
        if not self._paired:
            return
        self.with_effect = number % 2 == 1
        drawn = [list(getattr(p, name, None) or ()) for name in _DRAWN]
        if self.with_effect and drawn != self._drawn:
            report(p, UNEQUAL)
        self._drawn = drawn


def _lists(p: Any) -> list[tuple[str, Any]]:
    """The lists with an item for each image, by the names that they have in `p`."""
    lists = [(name, getattr(p, name, None)) for name in _LISTS]
    return [(name, values) for name, values in lists if values]


def begin_request(p: Any) -> None:
    """`before_process`: some scripts run a request again and again, and it may have failed."""
    earlier = p.__dict__.pop(_COMPARISON, None)
    if earlier is not None:
        earlier.restore(p)


def end_request(p: Any) -> None:
    """`postprocess`: img2img's batch from a directory reads the number again for the next image."""
    comparison = p.__dict__.get(_COMPARISON)
    if comparison is not None:
        comparison.restore(p)


def begin(p: Any, opts: Any) -> bool:
    """`process`: ask for twice as many batches. False where the request cannot be compared.

    `opts` are the webui's settings.
    """
    if any(_outer_requests(p)):
        return False  # it is made for an image of the outer one
    reason = _why_not(p, opts)
    if reason is not None:
        report(p, reason)
        return False
    setattr(p, _COMPARISON, Comparison(p))
    return True


def begin_batches(p: Any) -> None:
    """`before_process_batch` of the first batch: by now every extension has changed what it will,
    and the batches are cut from lists that hold the first one where it was.
    """
    comparison = p.__dict__.get(_COMPARISON)
    if comparison is not None:
        comparison.pair(p)


def begin_batch(p: Any, number: int) -> None:
    """`process_batch`"""
    comparison = p.__dict__.get(_COMPARISON)
    if comparison is not None:
        comparison.begin_batch(p, number)


def with_effect(p: Any) -> bool | None:
    """Whether the present batch shall have the effect, None where no comparison says so.

    A request inside another, such as a detailer's, is part of the outer one's image.
    """
    for request in (p, *_outer_requests(p)):
        comparison = request.__dict__.get(_COMPARISON)
        if comparison is not None:
            return comparison.with_effect
    return None


def _why_not(p: Any, opts: Any) -> Part | str | None:
    arguments = getattr(p, "script_args", None) or (0,)
    if arguments[0]:
        return SCRIPT, {"name": _script_title(p, arguments[0])}
    return SAME_NAME if _share_a_file(opts) else None


def _share_a_file(opts: Any) -> bool:
    """Whether the second image of a pair would be saved over the first."""
    pattern = getattr(opts, "samples_filename_pattern", "")
    return (
        getattr(opts, "samples_save", False)
        and not getattr(opts, "save_images_add_number", True)
        and getattr(opts, "save_images_replace_action", "Replace") == "Replace"
        and not any(field in pattern for field in _NUMBERED)
    )


def _script_title(p: Any, number: int) -> str:
    try:
        return p.scripts.selectable_scripts[number - 1].title()
    except (AttributeError, IndexError, TypeError):
        return str(number)


def _outer_requests(p: Any) -> Iterator[Any]:
    """The requests inside which `p` runs, the innermost first.

    Read off the stack, because no callback tells surely that a request has ended.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "process_images":
            request = frame.f_locals.get("p")
            if request is not None and request is not p:
                yield request
        frame = frame.f_back
