"""Forecasts: what a part of the U-Net would give in a step, from what it gave in earlier ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence

LOOKS_AT = {"last": 1, "linear": 2, "curve": 3}
"""At how many earlier steps a forecast looks, by its kind."""


def forecast_weights(kind: str, steps: Sequence[int], at: int) -> tuple[float, ...]:
    """With which weights what was given in `steps` (increasing, oldest first) makes a forecast of
    step `at`: "last", "linear" through the last two, held back, or "curve", a ridge fit.

    Of the last change, `x` times as far ahead as it took, x / (1 + x) is added and not x: what is
    near is continued almost as it is, and nothing ever goes further than one whole change.

    The curve is a polynomial of the second degree in the step, in Chebyshev's basis, of which the
    higher terms are held back. Source: Spectrum (2026), which fits the outputs of a transformer.
    """
    if kind == "last" or len(steps) == 1:
        return (*(0.0,) * (len(steps) - 1), 1.0)
    if kind == "linear" or len(steps) == 2:
        before, last = steps[-2:]
        ahead = (at - last) / (at - before)  # x / (1 + x)
        return (*(0.0,) * (len(steps) - 2), -ahead, 1.0 + ahead)
    return _ridge(tuple(steps), at)


_RIDGE = (0.0, 0.01, 0.1)
"""What holds back the constant, the slope and the bend of a fit, for steps spread over [-1, 1]."""


@functools.lru_cache(maxsize=1024)
def _ridge(steps: tuple[int, ...], at: int) -> tuple[float, ...]:
    middle, half = (steps[0] + at) / 2, (at - steps[0]) / 2

    def basis(step: float) -> tuple[float, float, float]:
        x = (step - middle) / half
        return 1.0, x, 2.0 * x * x - 1.0

    rows = [basis(step) for step in steps]
    normal = [
        [sum(row[i] * row[j] for row in rows) + (_RIDGE[i] if i == j else 0.0) for j in range(3)]
        for i in range(3)
    ]
    # the weights are basis(at) . inverse(normal) . rows', and `normal` is symmetric
    coefficients = _solve(normal, list(basis(at)))
    return tuple(sum(c * value for c, value in zip(coefficients, row)) for row in rows)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of matrix * x = right for a small, positive definite matrix."""
    rows = [[*row, value] for row, value in zip(matrix, right)]
    for i in range(len(rows)):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(len(rows)):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i])]
    return [row[-1] for row in rows]
