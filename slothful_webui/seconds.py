"""What the page says of time: the U-Net's seconds of the image that its fields ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slothful import NO_SECONDS, MachineCosts, Moment, Settings, UnetShape, estimate_seconds
from slothful_webui import engine
from slothful_webui.costs import CostsFile, Machine
from slothful_webui.passes import Fields, Pass

MOST_MOMENTS = 60
"""Of how many steps of a pass the seconds are computed; of more, of so many evenly spaced ones."""


def measured_costs(
    costs_file: CostsFile | None,
    unet: Any,
    shape: UnetShape | None,
    machine: Callable[[Any], Machine] = engine.machine_of,
) -> MachineCosts | None:
    """The costs of the loaded U-Net on this machine, None where they were not measured."""
    if costs_file is None or unet is None or shape is None:
        return None
    return costs_file.load(machine(unet), shape)


def image_seconds(
    settings: Settings,
    passes: Sequence[tuple[Pass, Sequence[Moment]]],
    fields: Fields,
    shape: UnetShape,
    costs: MachineCosts,
) -> dict[str, float]:
    """ "left" and "without": of all calls of one image, its positive and its negative row. `passes`
    with the moment of each step.
    """
    total = NO_SECONDS
    for each, moments in passes:
        if not moments:
            continue
        calls = [*moments]
        if engine.calls_twice(fields.sampling(hires=each.name == "hires")[0]):
            calls += moments[:-1]
        seen = calls
        if len(calls) > MOST_MOMENTS:
            seen = [calls[i * len(calls) // MOST_MOMENTS] for i in range(MOST_MOMENTS)]
        some = estimate_seconds(settings, shape, costs, each.width, each.height, seen)
        total += some.times(len(calls) / len(seen))
    return {"left": total.left, "without": total.without}


def problem_of(costs_file: CostsFile | None) -> Mapping[str, Any] | None:
    """What of the file could not be used, for the page: a text and its values."""
    if costs_file is None or costs_file.problem is None:
        return None
    text, values = costs_file.problem
    return {"text": text, **values}
