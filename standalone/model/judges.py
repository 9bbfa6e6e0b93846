"""What of a caption is right in a picture, for each kind of scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from standalone.model.analyse import analyse
from standalone.model.analyse_related import analyse_group, in_order, lies_along
from standalone.model.reader import NAMES, QUESTIONS, read, what_is_shown
from standalone.model.scenes import ComposedScene, SimpleScene
from standalone.model.scenes.related import RelatedScene


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`parts` says of each part of the caption, and of everything, whether it is right.

    `further` are figures besides, by name, 0 to 1; `seen` is what the picture shows, in words.
    """

    parts: dict[str, bool]
    seen: str
    further: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether the picture is as the caption says in every part."""
        return all(self.parts.values())


def judge_simple(scene: SimpleScene, picture: np.ndarray) -> Verdict:
    """Colours, shape and number."""
    seen = analyse(picture)
    parts = {
        "background": seen.background == scene.background,
        "object colour": seen.colour == scene.colour,
        "shape": seen.shape == scene.shape,
        "count": seen.count == scene.count,
    }
    further = {
        "both colours": parts["background"] and parts["object colour"],
        "overlap with ideal shape": seen.overlap,
    }
    if scene.count == 1 and scene.texture == "plain":
        further["everything, one plain object"] = all(parts.values())
    return Verdict(parts, f"{seen.count} {seen.colour} {seen.shape} on {seen.background}", further)


def judge_related(scene: RelatedScene, picture: np.ndarray) -> Verdict:
    """The objects one by one: the caption's first is compared with what lies in its place."""
    seen = analyse_group(picture)
    found = in_order(seen.objects, scene.relation)
    colours = [thing.colour for thing in found]
    wanted = [thing.colour for thing in scene.objects]
    parts = {
        "background": seen.background == scene.background,
        "count": len(found) == len(scene.objects),
        "colours by place": colours == wanted and lies_along(found, scene.relation),
        "shapes by place": [t.shape for t in found] == [t.shape for t in scene.objects],
    }
    words = ", ".join(f"{thing.colour} {thing.shape}" for thing in found)
    further = {"colours wherever": sorted(colours) == sorted(wanted)}
    return Verdict(parts, f"{words} on {seen.background}", further)


def judge_composed(scene: ComposedScene, picture: np.ndarray) -> Verdict:
    """By the reader: the things, their style, number and places, and what is behind them."""
    logits = {name: values[0] for name, values in read([picture]).items()}
    best = {name: QUESTIONS[name][int(values.argmax())] for name, values in logits.items()}
    wanted = what_is_shown(scene)
    ends = [name for name in ("first", "last") if name in wanted]
    parts = {"thing": all(best[name] == wanted[name] for name in ends)}
    parts |= {name: best[name] == wanted[name] for name in ("style", "count")}
    ground = best["ground"] == wanted["ground"]
    colours = wanted.get("colours", frozenset())
    order = (-logits["colours"]).argsort()[: len(colours)]
    seen_colours = {QUESTIONS["colours"][place] for place in order}
    parts["landscape" if scene.ground.is_land else "background"] = (
        ground and seen_colours == colours
    )
    if len(ends) > 1:
        parts["relation"] = best["arrangement"] == wanted["arrangement"]
    if len(set(ends)) > 1 and wanted["first"] != wanted["last"]:
        # each of the two looks more like itself than like the other, however well it is drawn
        own, other = (NAMES.index(wanted[name]) for name in ends)
        places = logits["first"][own] > logits["first"][other]
        parts["relation"] &= bool(places and logits["last"][other] > logits["last"][own])
    names = [best["first"], *([best["last"]] if best["count"] > 1 else [])]
    seen = f"{best['count']} {best['style']} {', '.join(names)} ({best['arrangement']})"
    return Verdict(parts, f"{seen} on {best['ground']} {' and '.join(sorted(seen_colours))}")


JUDGES: dict[str, Callable[..., Verdict]] = {
    "simple": judge_simple,
    "related": judge_related,
    **dict.fromkeys(("thing", "landscape", "pair", "several", "mirrored"), judge_composed),
}
"""Of each kind of scenes."""


def figures(verdicts: list[Verdict]) -> dict[str, float]:
    """Percentages of the pictures in which each part, and everything, is right.

    What some verdicts don't have is among those that have it.
    """
    rows = [v.parts | {"everything": v.right} | v.further for v in verdicts]
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: round(100 * float(np.mean(given)), 1) for name, given in values.items()}
