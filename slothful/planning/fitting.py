"""Least squares without negative answers, for a handful of unknowns."""

from __future__ import annotations

from collections.abc import Sequence

_ROUNDS = 4000
_STILL = 1e-12
"""The largest change of a round, relative to the answer, after which no other follows."""


def nonnegative_fit(rows: Sequence[Sequence[float]], sought: Sequence[float]) -> list[float]:
    """The x >= 0 with the least sum of squares of rows . x - sought, by descent along one
    coordinate after the other (Franc, Hlavac and Navara, 2005).

    Unknowns that no row has are 0.
    """
    count = len(rows[0])
    # columns of unit length, for their units differ by many orders of magnitude
    scales = [sum(row[j] ** 2 for row in rows) ** 0.5 for j in range(count)]
    used = [j for j in range(count) if scales[j] > 0]
    columns = [[row[j] / scales[j] for row in rows] for j in used]
    normal = [[sum(a * b for a, b in zip(one, other)) for other in columns] for one in columns]
    gradient = [-sum(a * b for a, b in zip(column, sought)) for column in columns]
    found = [0.0] * len(used)
    for _ in range(_ROUNDS):
        most = 0.0
        for j, row in enumerate(normal):
            step = max(found[j] - gradient[j], 0.0) - found[j]
            if step:
                found[j] += step
                gradient = [value + step * each for value, each in zip(gradient, row)]
                most = max(most, abs(step))
        if most <= _STILL * max(found, default=0.0):
            break
    answer = [0.0] * count
    for place, value in zip(used, found):
        answer[place] = value / scales[place]
    return answer
