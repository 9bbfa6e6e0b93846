"""Draws how the loss fell in training, a panel for each stage.

python -m standalone.model.curve --work outputs/training --out docs/pictures/training.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

Curves = dict[str, list[tuple[int, float]]]
"""Steps and losses of each stage, by step; the stages in the order in which they began."""


class HistoryError(ValueError):
    """The losses cannot be read; one line that names the file and the reason."""


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 when there are no losses to draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/training"))
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    args = parser.parse_args(argv)
    try:
        curves = read_losses(args.work / "losses.csv")
    except HistoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_curves(curves, args.out)
    return 0


def read_losses(path: Path) -> Curves:
    """The losses that `loop.Progress` kept; of a step that was done twice, the later one.

    Raises `HistoryError` for a file that is missing, empty or has lines of another form.
    """
    if not path.is_file():
        raise HistoryError(f"{path}: no such file; training writes it")
    stages: dict[str, dict[int, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            stage, step, loss = line.split(",")
            stages.setdefault(stage, {})[int(step)] = float(loss)
        except ValueError:
            wrong = f"{path}, line {number + 1}: expected stage,step,loss, got {line[:60]!r}"
            raise HistoryError(wrong) from None
    if not stages:
        raise HistoryError(f"{path}: the file is empty")
    return {stage: sorted(losses.items()) for stage, losses in stages.items()}


def draw_curves(curves: Curves, path: Path) -> None:
    """One small panel for each stage, side by side; losses on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(
        1, len(curves), figsize=(3 * len(curves), 2.6), squeeze=False, layout="constrained"
    )
    for axis, (stage, losses) in zip(axes[0], curves.items()):
        axis.plot(*zip(*losses), linewidth=1.2, marker="." if len(losses) == 1 else None)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.set_title(stage, fontsize=10)
        axis.set_xlabel("step", fontsize=9)
        axis.tick_params(which="both", labelsize=8)
        axis.grid(which="both", linewidth=0.3)
    axes[0][0].set_ylabel("loss", fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
