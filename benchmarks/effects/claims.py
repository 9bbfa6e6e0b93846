"""What the method's author says of its sliders, each tested, with the figures.

A claim is made of comparisons. Each is a mean over pictures whose sign is claimed; it holds when
its 95 % interval lies wholly on the claimed side, and fails when it ends there before `COUNTS`: an
effect that is smaller, or the opposite one, is none that a person would see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from benchmarks.effects.table import Interval, Table

COUNTS = {
    "sharpness_change": 0.05, "high_frequency_change": 0.05, "contrast_change": 0.02,
    "saturation_change": 0.02, "change": 0.005, "ms_ssim": 0.005,
    "mask_iou": 0.01, "seam_energy": 0.05, "caption": 0.0,
}  # fmt: skip
"""The smallest effect on each measure that counts as one; to exclude one on captions, which are
true or not, would take hundreds of pictures.
"""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A mean that is claimed to be above zero (`sign` 1) or below it (-1).

    `counts` is the smallest size of it that would be an effect.
    """

    text: str
    found: Interval
    sign: int
    counts: float

    @property
    def outcome(self) -> str:
        """ "holds", "fails", or "open" where the pictures are too few to tell.

        Fails: the interval holds no effect of the claimed sign that counts (an equivalence test,
        Lakens, 2017, where there is none at all).
        """
        near, far = sorted((self.sign * self.found.low, self.sign * self.found.high))
        if far < self.counts:
            return "fails"
        return "holds" if near > 0 else "open"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim in words and the comparisons that test it."""

    text: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """ "yes" when every comparison holds, "depends" when some do, "no" when none does and one
        fails, "undecided" when the pictures are too few to tell, "not tested" without any.
        """
        if not any(c.found.count for c in self.comparisons):
            return "not tested"
        outcomes = [c.outcome for c in self.comparisons]
        if "holds" in outcomes:
            return "yes" if set(outcomes) == {"holds"} else "depends"
        return "no" if "fails" in outcomes else "undecided"


def judge_claims(table: Table) -> list[Claim]:
    """All claims, from the rows of a study."""
    return [Claim(text, tuple(make(table))) for text, make in CLAIMS.items()]


def _changes(table, variants, measures, sign) -> Iterator[Comparison]:
    for variant in variants:
        for measure in measures:
            found = table.mean(variant, f"{measure}_change")
            text = f"{variant}: change of {_words(measure)}"
            yield Comparison(text, found, sign, COUNTS[f"{measure}_change"])


def _differences(table, first, second, measures, task="txt2img") -> Iterator[Comparison]:
    """`measures` are names with the claimed sign of first - second."""
    for measure, sign in measures.items():
        found = table.paired(
            table.values(first, measure, task), table.values(second, measure, task)
        )
        where = f" ({task})" if task != "txt2img" else ""
        text = f"{_words(measure)}: {first} - {second}{where}"
        yield Comparison(text, found, sign, COUNTS[measure])


def _words(measure: str) -> str:
    return _WORDS.get(measure, measure.replace("_", " "))


_WORDS = {
    "change": "change of the image (1 - SSIM)",
    "mask_iou": "objects in place (IoU)",
    "ms_ssim": "MS-SSIM",
    "caption": "images true to the caption",
}


def _average_softens(table):
    return _changes(table, _on_values("AVG"), ("sharpness", "high_frequency"), -1)


def _maximum_hardens(table):
    return _changes(table, _on_values("MAX"), ("contrast", "saturation"), 1)


def _on_values(pool):
    return [f"{d} {pool} on V{when}" for when in ("", ", every step") for d in ("1D", "2D")]


def _lines_act_more(table):
    for pool in ("AVG", "MAX"):
        for part in ("V", "both"):
            yield from _differences(
                table, f"1D {pool} on {part}", f"2D {pool} on {part}", {"change": 1}
            )


def _low_key_blend(table):
    """Measured between the two modes: "2D MAX on K" has "2D AVG on K" as its reference."""
    whole = table.values("2D MAX on K 1", "change")
    for blend in ("0.2", "0.5"):
        found = table.paired(
            table.values(f"2D MAX on K {blend}", "change"), whole, lambda a, b: a - b / 2
        )
        text = f"distance of average and maximum at K blend {blend} - half of that at 1"
        yield Comparison(text, found, -1, 0)


def _blends_apart(table):
    for apart in ("2D AVG on K 1", "2D AVG on V"):
        for together in ("2D AVG on both", "2D AVG on both 0.5"):
            measures = {"caption": -1, "ms_ssim": -1}
            yield from _differences(table, apart, together, measures)


def _depth_decay(table):
    for more, less in ((1, 0), (2, 1), (4, 2), (4, 0)):
        names = f"depth decay {more}", f"depth decay {less}"
        yield from _differences(table, *names, {"mask_iou": 1, "ms_ssim": 1})


def _time_decay(table):
    for measure in ("sharpness_change", "high_frequency_change"):
        found = table.paired(
            table.values("time decay 0", measure),
            table.values("time decay 4", measure),
            lambda a, b: abs(a) - abs(b),
        )
        text = f"size of the {_words(measure)}: time decay 0 - 4"
        yield Comparison(text, found, 1, COUNTS[measure])


def _img2img(table):
    for strength in (4, 9, 20):
        noise, progress = (f"strength {strength}, {a}" for a in ("noise level", "pass progress"))
        found = table.paired(
            table.values(noise, "change", "img2img"), table.values(noise, "change", "txt2img")
        )
        text = f"change of the image: {noise}: img2img - txt2img"
        yield Comparison(text, found, -1, COUNTS["change"])
        yield from _differences(table, progress, noise, {"change": 1}, "img2img")


def _small_tiles(table):
    for ratio in ("0", "0.5"):
        names = f"tiles 16, global {ratio}", f"tiles 24, global {ratio}"
        yield from _differences(table, *names, {"high_frequency_change": 1, "ms_ssim": -1})


def _global_ratio(table):
    for size in (16, 24):
        names = f"tiles {size}, global 1", f"tiles {size}, global 0"
        yield from _differences(table, *names, {"high_frequency_change": -1, "ms_ssim": 1})


def _zero_padding(table):
    measures = {"ms_ssim": -1, "caption": -1, "seam_energy": 1}
    return _differences(table, "zero-padded tiles 24", "tiles 24, clamped", measures)


def _shift(table):
    for shift in ("alternating", "random"):
        names = f"tiles 16, global 0, {shift} shift", "tiles 16, global 0"
        yield from _differences(table, *names, {"seam_energy": -1})


CLAIMS: dict[str, Callable[[Table], Iterator[Comparison]]] = {
    "The average on values softens the image": _average_softens,
    "The maximum on values hardens contrast and saturation": _maximum_hardens,
    "1D has a stronger effect than 2D": _lines_act_more,
    "At low K blends, average and maximum differ little": _low_key_blend,
    "Blends of K and V that lie far apart break images": _blends_apart,
    "Raising depth_decay keeps the composition": _depth_decay,
    "time_decay restores detail": _time_decay,
    "img2img needs more strength on the noise axis, and the pass-progress axis cures it": _img2img,
    "Smaller tiles give detail and lose consistency": _small_tiles,
    "A larger global_ratio does the reverse": _global_ratio,
    "Zero-padded tiles hurt": _zero_padding,
    "Shifting the window grid lowers the energy of seams": _shift,
}


def as_markdown(claims: list[Claim]) -> str:
    """A table of the verdicts, and below it every comparison with its interval."""
    lines = ["| claim | answer |", "| --- | --- |"]
    lines += [f"| {claim.text} | **{claim.verdict}** |" for claim in claims]
    for claim in claims:
        lines += ["", f"**{claim.text}**: {claim.verdict}", ""]
        lines += ["| compared | mean (95 % interval) | images | claimed | outcome |",
                  "| --- | --- | --- | --- | --- |"]  # fmt: skip
        for c in claim.comparisons:
            side = "above 0" if c.sign > 0 else "below 0"
            side += f", by {c.counts:g}" if c.counts else ""
            lines.append(f"| {c.text} | {c.found} | {c.found.count} | {side} | {c.outcome} |")
    return "\n".join(lines) + "\n"
