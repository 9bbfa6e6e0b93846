"""What a machine takes for the parts of a U-Net, in seconds, and what an image takes then.

Parts were timed on the machine (`slothful.unet.measuring`): each block as a line through a few
sizes, each kind of self-attention as a sum of what it does. `estimate_seconds` and `seconds_of` are
to these what `estimate` and `cost_of` are to arithmetic.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..settings.methods import DEEP, WHOLE
from ..settings.settings import Settings
from .arithmetic import attention_operations, moved_values, saved_scores, searches
from .cost import MadeCall, SiteShape, UnetShape
from .counts import tokens_of
from .fitting import nonnegative_fit
from .moment import Moment
from .plan import SitePlan, Sleep
from .planner import asleep_inside, first_inside, is_one_sided, plan_site
from .site import Grid, Site, grid_of

Line = tuple[tuple[float, float], ...]
"""Points (operations, seconds), operations ascending."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Seconds of the self-attentions of one kind: for an operation, for a score of one head, and
    for a call of one of them, however many tokens it has.
    """

    operation: float
    score: float
    call: float


@dataclasses.dataclass(frozen=True)
class MachineCosts:
    """What a machine takes for the parts of one U-Net.

    `blocks`: for each number of blocks inside which a block lies (see `Site.inside`; -1: what
    belongs to none), the seconds of all but self-attention. `parts`: those of all cross-attentions
    ("cross"), feed-forward layers ("mlp") and what is around them in transformers ("around").
    `attention`: by `kind_of` a site. `hook`, `search`, `value`: seconds for the hooks
    of one changed attention, for one search of similar tokens and for one moved value.
    """

    blocks: Mapping[int, Line]
    parts: Mapping[str, Line]
    attention: Mapping[str, Rates]
    hook: float
    search: float
    value: float


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Of the U-Net's calls of an image: `without` the settings and with them (`left`)."""

    without: float
    left: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.without + other.without, self.left + other.left)

    def times(self, factor: float) -> Seconds:
        """Of so many such calls."""
        return Seconds(self.without * factor, self.left * factor)


NO_SECONDS = Seconds(0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Timed:
    """Attentions of one kind that were timed together: what they did, and the seconds they took."""

    kind: str
    operations: float
    scores: float
    values: float
    calls: int
    hooks: int
    searches: int
    seconds: float


def kind_of(site: Site) -> str:
    """What decides how fast an operation of a site's attention is: "320x8", channels and heads."""
    return f"{site.channels}x{site.heads}"


def timed(plan: SitePlan | None, site: Site, grid: Grid, rows: int, seconds: float) -> Timed:
    """What `rows` rows of a site's attentions did with a plan, all its layers."""
    scores, values, hooks, looks = tokens_of(grid) ** 2, 0, 0, 0
    if isinstance(plan, Sleep):
        scores = 0
    elif plan is not None:
        scores -= saved_scores(plan)
        values = moved_values(plan, site.channels, site.layers)
        hooks, looks = site.layers, searches(plan, site.layers)
    operations = attention_operations(plan, grid, site.channels, site.inner, site.layers)
    calls = 0 if isinstance(plan, Sleep) else site.layers
    scores *= site.heads * site.layers
    return Timed(
        kind_of(site), rows * operations, float(rows * scores), float(rows * values),
        calls, hooks, looks, seconds,
    )  # fmt: skip


def fit(samples: Sequence[Timed]) -> tuple[dict[str, Rates], float, float, float]:
    """(rates by kind, hook, search, value) that explain what was timed, none of them negative, with
    the least squares of relative errors.
    """
    kinds = sorted({each.kind for each in samples})
    rows, sought = [], []
    for each in samples:
        own = [0.0] * (3 * len(kinds))
        place = 3 * kinds.index(each.kind)
        own[place : place + 3] = each.operations, each.scores, float(each.calls)
        row = [*own, float(each.hooks), float(each.searches), each.values]
        rows.append([value / each.seconds for value in row])
        sought.append(1.0)
    found = nonnegative_fit(rows, sought)
    rates = {kind: Rates(*found[3 * i : 3 * i + 3]) for i, kind in enumerate(kinds)}
    hook, search, value = found[-3:]
    return rates, hook, search, value


def on_line(line: Line, operations: float) -> float:
    """The seconds of so many operations. Beyond the last point the line goes on, never steeper than
    from nothing to that point; before the first one, likewise, and never above it.
    """
    (first, seconds), (last, most) = line[0], line[-1]
    if operations <= first:
        slope = _slope(line[0], line[1]) if len(line) > 1 else seconds / first
        low = seconds * operations / first
        return min(max(seconds - slope * (first - operations), low), seconds)
    if operations >= last:
        slope = _slope(line[-2], line[-1]) if len(line) > 1 else most / last
        return most + min(max(slope, 0.0), most / last) * (operations - last)
    for before, after in zip(line, line[1:]):
        if operations <= after[0]:
            return before[1] + _slope(before, after) * (operations - before[0])
    return most


def _slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0])


def estimate_seconds(
    settings: Settings,
    shape: UnetShape,
    costs: MachineCosts,
    width: int,
    height: int,
    moments: Sequence[Moment],
    rows: int = 2,
) -> Seconds:
    """Of calls at `moments`, each with so many rows of an image of (width, height) pixels, half of
    them negative. `costs` are those of a U-Net of this shape.
    """
    found = NO_SECONDS
    kinds: dict[tuple[object, ...], Seconds] = {}
    for moment in (dataclasses.replace(each, size=(width, height)) for each in moments):
        plan = functools.partial(plan_site, settings, moment)
        plans = _plans(shape, width, height, plan)
        left = rows / 2 if is_one_sided(settings, moment) else float(rows)
        inside = asleep_inside(settings, moment)
        # most steps are as others are
        key = (*map(_comparable, plans), inside, left)
        if key not in kinds:
            kinds[key] = _of_call(shape, costs, (width, height), rows, left, plans, inside)
        found += kinds[key]
    return found


def seconds_of(
    settings: Settings, shape: UnetShape, costs: MachineCosts, calls: Iterable[MadeCall]
) -> Seconds:
    """Of calls that were made with settings."""
    found = NO_SECONDS
    for call in calls:
        plans = [call.plans.get(each.site.name) for each in shape.sites]
        whole = any(isinstance(plan, Sleep) and plan.part in (DEEP, WHOLE) for plan in plans)
        inside = first_inside(settings) if whole else None
        left = float(call.rows - call.asleep)
        found += _of_call(shape, costs, call.size, call.rows, left, plans, inside)
    return found


def _comparable(plan: SitePlan | None) -> SitePlan | str | None:
    """All parts that sleep take the same time, whenever they were awake."""
    return plan.part if isinstance(plan, Sleep) else plan


def _plans(
    shape: UnetShape, width: int, height: int, plan: Callable[[Site, Grid], SitePlan | None]
) -> list[SitePlan | None]:
    return [plan(each.site, grid_of(width, height, each.site.level)) for each in shape.sites]


def _of_call(
    shape: UnetShape,
    costs: MachineCosts,
    size: tuple[int, int],
    rows: float,
    left: float,
    plans: Sequence[SitePlan | None],
    inside: int | None,
) -> Seconds:
    """Of one call of `rows` rows, of which `left` are computed with the settings. `inside`: which
    blocks sleep as a whole, as `asleep_inside` says.
    """
    work = rest_operations(shape, *size)
    without = sum(on_line(costs.blocks[each], rows * work[each]) for each in work)
    if left == 0:
        return Seconds(without + _attention(shape, costs, size, rows), 0.0)
    with_them = sum(
        on_line(costs.blocks[each], left * work[each])
        for each in work
        if inside is None or each < inside
    )
    without += _attention(shape, costs, size, rows)
    rates = {
        name: on_line(costs.parts[name], left * work) / work
        for name, work in part_operations(shape, *size).items()
        if work
    }
    for each, plan in zip(shape.sites, plans):
        grid = grid_of(*size, each.site.level)
        with_them += attention_seconds(costs, plan, each.site, grid, left)
        with_them -= _saved(each, plan, rates)
    return Seconds(without, with_them)


def _attention(shape: UnetShape, costs: MachineCosts, size: tuple[int, int], rows: float) -> float:
    return sum(
        attention_seconds(costs, None, each.site, grid_of(*size, each.site.level), rows)
        for each in shape.sites
    )


def rest_operations(shape: UnetShape, width: int, height: int) -> dict[int, float]:
    """What a row of an image of (width, height) pixels asks for besides self-attention, in
    operations, by the number of blocks inside which it lies.
    """
    found: dict[int, float] = defaultdict(float)
    for block in shape.rest:
        positions = tokens_of(grid_of(width, height, block.level))
        found[block.inside] += block.fixed + block.per_position * positions
    return dict(found)


def part_operations(shape: UnetShape, width: int, height: int) -> dict[str, float]:
    """What a row asks of the parts of transformers besides self-attention, in operations."""
    found = dict.fromkeys(("cross", "mlp", "around"), 0.0)
    for each in shape.sites:
        tokens = tokens_of(grid_of(width, height, each.site.level))
        found["cross"] += tokens * each.cross + each.prompt
        found["mlp"] += tokens * each.mlp
        found["around"] += tokens * each.around
    return found


def attention_seconds(
    costs: MachineCosts, plan: SitePlan | None, site: Site, grid: Grid, rows: float
) -> float:
    """Of a site's attentions with a plan, for so many rows."""
    one, rates = timed(plan, site, grid, 1, 0.0), costs.attention[kind_of(site)]
    each = rates.operation * one.operations + rates.score * one.scores + costs.value * one.values
    fixed = rates.call * one.calls + costs.hook * one.hooks + costs.search * one.searches
    return rows * each + fixed


def _saved(each: SiteShape, plan: SitePlan | None, rates: Mapping[str, float]) -> float:
    """Seconds besides self-attention that a plan saves, at so many for an operation of a row."""
    alone = (("cross", "prompt"), ("mlp",), ("around",))
    none = dict.fromkeys(("cross", "prompt", "mlp", "around"), 0.0)
    saved = 0.0
    for names in alone:
        only = dataclasses.replace(
            each, **{**none, **{name: getattr(each, name) for name in names}}
        )
        saved += only.saved(plan) * rates.get(names[0], 0.0)
    return saved


def check_costs(costs: MachineCosts, shape: UnetShape) -> None:
    """Raises `ValueError` where these are no costs of a U-Net of this shape; says which number."""
    numbers: dict[str, float] = {
        "hook": costs.hook, "search": costs.search, "value": costs.value
    }  # fmt: skip
    for kind, rates in costs.attention.items():
        numbers |= {f"{kind} {name}": rate for name, rate in dataclasses.asdict(rates).items()}
    lines = {f"blocks[{inside}]": line for inside, line in costs.blocks.items()}
    for what, line in (lines | dict(costs.parts)).items():
        operations = [each for each, _ in line]
        if not line or any(one >= other for one, other in zip(operations, operations[1:])):
            raise ValueError(f"{what} must have points of more and more operations")
        numbers |= {what: min(seconds for _, seconds in line)}
        numbers |= {f"operations of {what}": operations[0]}
    for name, number in numbers.items():
        if not isinstance(number, (int, float)) or not 0 <= number < math.inf:
            raise ValueError(f"{name} must be a number from 0 on, got {number!r}")
    missing = rest_operations(shape, 512, 512).keys() - costs.blocks.keys()
    kinds = {kind_of(each.site) for each in shape.sites} - costs.attention.keys()
    parts = {
        name
        for name in ("cross", "mlp", "around")
        if name not in costs.parts and any(getattr(each, name) for each in shape.sites)
    }
    for name in (*map(str, missing), *kinds, *parts):
        raise ValueError(f"nothing was measured of {name}")
