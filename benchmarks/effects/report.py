"""The results of a study to look at: plots of every sweep and contact sheets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.effects.metrics import FIDELITY, LIKENESS, LOOKS
from benchmarks.effects.runs import Study
from benchmarks.effects.table import Interval, Table
from benchmarks.effects.variants import TASKS, Variant, plain

CURVES = {
    "change": "change (1 - SSIM)",
    "sharpness_change": "sharpness",
    "high_frequency_change": "high frequencies",
    "contrast_change": "contrast",
    "saturation_change": "saturation",
    "mask_iou": "objects in place (IoU)",
}
"""The measures that the plots show."""
SHOWN = ("sharpness_change", "high_frequency_change", "contrast_change", "saturation_change")
"""The measures of the table of all values; of the first task of a sweep."""
PER_ROW = 6
CELL = 128
"""Side of a picture on a contact sheet, in pixels."""


def measures() -> tuple[str, ...]:
    """All measures of the summary."""
    changes = (f"{name}_change" for name in LOOKS)
    return ("change", *LOOKS, *changes, *LIKENESS, *FIDELITY, "seam_energy", "seam_energy_off")


def by_parameter(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """The variants of each parameter's sweep."""
    swept = [variant for variant in variants if variant.parameter]
    return {name: list(group) for name, group in groupby(swept, key=lambda v: v.parameter)}


def sweep_table(table: Table, variants: Sequence[Variant], left: Callable[[Variant], float]) -> str:
    """Markdown: a row for each value of each parameter, against the picture without the effect.
    `left`: the part of the U-Net's arithmetic that is left in txt2img.
    """
    head = ["parameter", "value", "left", *(f"change, {task}" for task in TASKS)]
    head += [CURVES[name] for name in SHOWN]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for parameter, own in by_parameter(variants).items():
        for variant in own:
            own_left = f"{left(variant):.0%}" if "txt2img" in variant.tasks else "-"
            cells = [f"`{parameter}`", variant.value or "none", own_left]
            cells += [_cell(table.mean(variant.name, "change", task), "") for task in TASKS]
            task = variant.tasks[0]
            cells += [_cell(table.mean(variant.name, name, task), "+") for name in SHOWN]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Interval, sign: str) -> str:
    if not found.count:
        return "-"
    if sign:
        return f"{found.mean:+.0%}"
    return (
        f"{found.mean:.3f}"
        if math.isnan(found.low)
        else (f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})")
    )


def draw_sweeps(table: Table, variants: Sequence[Variant], folder: Path) -> list[Path]:
    """One picture for every six parameters: a column each, a row for each of `CURVES`."""
    from matplotlib import pyplot

    sweeps, paths = list(by_parameter(variants).items()), []
    for first in range(0, len(sweeps), PER_ROW):
        part = sweeps[first : first + PER_ROW]
        figure, axes = pyplot.subplots(
            len(CURVES), len(part), figsize=(3.2 * len(part), 2.1 * len(CURVES)),
            squeeze=False, sharex="col", layout="constrained",
        )  # fmt: skip
        for column, (parameter, own) in enumerate(part):
            for row, (measure, label) in enumerate(CURVES.items()):
                axis = axes[row][column]
                for task in own[0].tasks:
                    found = [table.mean(variant.name, measure, task) for variant in own]
                    _errorbars(axis, found, task)
                axis.set_xticks(range(len(own)), [v.value or "none" for v in own], fontsize=6,
                                rotation=90 if len(own) > 5 else 0)  # fmt: skip
                axis.tick_params(axis="y", labelsize=6)
                if not column:
                    axis.set_ylabel(label, fontsize=8)
            axes[0][column].set_title(parameter, fontsize=9)
            axes[0][column].legend(fontsize=6)
        path = folder / f"sweeps-{first // PER_ROW + 1:02d}.png"
        figure.savefig(path, dpi=80)
        pyplot.close(figure)
        paths.append(path)
    return paths


def _errorbars(axis, found: Sequence[Interval], label: str) -> None:
    means = [each.mean for each in found]
    low = [0 if math.isnan(e.low) else e.mean - e.low for e in found]
    high = [0 if math.isnan(e.high) else e.high - e.mean for e in found]
    axis.errorbar(range(len(found)), means, [low, high], fmt="o-", markersize=3, label=label,
                  linewidth=0.8, capsize=2)  # fmt: skip


def contact_sheet(
    study: Study, variants: Sequence[Variant], task: str, prompts: Sequence[int], path: Path
) -> Path | None:
    """The variants in columns, after the picture without the effect; a row for each prompt.

    The first seed of each prompt. None where none of the pictures has been made.
    """
    columns = {}
    for variant in (plain(variants[0].size), *variants):
        paths = [study.path(variant, task, prompt, study.seeds(prompt)[0]) for prompt in prompts]
        images = [Image.open(each) if each.exists() else None for each in paths]
        columns[variant.value or variant.name] = images
    if not any(image for images in columns.values() for image in images):
        return None
    draw_sheet(columns, path)
    return path


def draw_sheet(columns: dict[str, Sequence[Image.Image | None]], path: Path) -> None:
    """A sheet of images in columns under their names; None leaves a gap."""
    head, rows = 26, max(map(len, columns.values()))
    sheet = Image.new("RGB", (CELL * len(columns), head + CELL * rows), "white")
    pen = ImageDraw.Draw(sheet)
    for x, (name, images) in enumerate(columns.items()):
        pen.text((CELL * x + 3, 3), _wrapped(name), "black", font_size=9)
        for y, image in enumerate(images):
            if image is not None:
                small = image.resize((CELL, CELL), Image.Resampling.LANCZOS)
                sheet.paste(small, (CELL * x, head + CELL * y))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _wrapped(text: str, width: int = 26) -> str:
    return text if len(text) <= width else f"{text[:width]}\n{text[width:]}"
