"""The passes that the page's own fields ask for: their sizes and the timesteps of their steps."""

from __future__ import annotations

import dataclasses
import logging
import types
from collections.abc import Mapping
from typing import Any

from slothful import TRAIN_STEPS, echo
from slothful_webui.timesteps import pass_timesteps

logger = logging.getLogger(__name__)

Limits = Mapping[str, tuple[float, float]]
"""The smallest and the largest value of each of `Fields` that is a number."""

LARGEST_SIDE = 8192
"""In pixels: img2img's "Resize by" makes four times of what the page's own sliders have."""

LIMITS: Limits = {
    "width": (64, LARGEST_SIDE),
    "height": (64, LARGEST_SIDE),
    "steps": (1, 150),
    "denoising_strength": (0, 1),
    "hr_scale": (1, 4),
    "hr_resize_x": (0, 2048),
    "hr_resize_y": (0, 2048),
    "hr_steps": (0, 150),
}
"""Those of the webui's page as it comes."""

_SLIDERS = {
    "steps": ("txt2img_steps", "img2img_steps"),
    "hr_scale": ("txt2img_hr_scale",),
    "hr_resize_x": ("txt2img_hr_resize_x",),
    "hr_resize_y": ("txt2img_hr_resize_y",),
    "hr_steps": ("txt2img_hires_steps",),
}
"""The components of the page whose range the user's ui-config.json can widen."""


def limits_of(demo: Any) -> Limits:
    """The limits of a page. `demo` is the webui's gradio page, None for one as it comes."""
    blocks = getattr(demo, "blocks", {}).values()
    largest = {getattr(b, "elem_id", None): getattr(b, "maximum", None) for b in blocks}
    limits = dict(LIMITS)
    for name, ids in _SLIDERS.items():
        low, high = LIMITS[name]
        limits[name] = low, max(high, *(largest.get(each) or high for each in ids))
    return limits


SAME = "Use same"
"""How the page says that the hires pass uses the sampler or the scheduler of the base pass."""


class FieldError(ValueError):
    """A field of the page is out of range; the message names it, the value and the range."""


@dataclasses.dataclass(frozen=True)
class Fields:
    """The page's fields that decide which passes there are, under the webui's names.

    Sizes in pixels; `hr_resize_x` or `hr_resize_y` above 0 go before `hr_scale`; `hr_steps` of 0
    are as many as `steps`. `hr_sampler` and `hr_scheduler` are those of the hires pass where they
    do not begin with `SAME`. `limits` are those of the numbers. Raises `FieldError`.
    """

    width: float = 512
    height: float = 512
    steps: float = 20
    sampler: str = "Euler"
    scheduler: str = "Automatic"
    denoising_strength: float = 0.7
    img2img: bool = False
    hires: bool = False
    hr_scale: float = 2
    hr_resize_x: float = 0
    hr_resize_y: float = 0
    hr_steps: float = 0
    hr_sampler: str = SAME
    hr_scheduler: str = SAME
    limits: Limits = dataclasses.field(default_factory=lambda: LIMITS, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, (low, high) in self.limits.items():
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise FieldError(f"{name} must be between {low} and {high}, got {echo(value)}")
            if name != "denoising_strength" and name != "hr_scale":
                object.__setattr__(self, name, int(value))
        width, height = self.hires_size if self.hires else (self.width, self.height)
        if max(width, height) > LARGEST_SIDE:
            raise FieldError(
                f"hires size must be at most {LARGEST_SIDE}x{LARGEST_SIDE}, got {width}x{height}"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], limits: Limits | None = None) -> Fields:
        """Fields by name; those that are missing keep their defaults, others are not looked at."""
        names = {field.name for field in dataclasses.fields(cls)} - {"limits"}
        chosen = {name: value for name, value in values.items() if name in names}
        return cls(**chosen, limits=limits or LIMITS)

    def sampling(self, *, hires: bool) -> tuple[str, str]:
        """(sampler, scheduler) of the hires pass or of the others."""
        own = (self.hr_sampler, self.hr_scheduler) if hires else (SAME, SAME)
        base = self.sampler, self.scheduler
        return tuple(b if not o or str(o).startswith(SAME) else o for o, b in zip(own, base))

    @property
    def hires_size(self) -> tuple[int, int]:
        """(width, height) of the hires pass in pixels."""
        x, y = self.hr_resize_x, self.hr_resize_y
        if x and y:
            return x, y
        if not x and not y:
            return int(self.width * self.hr_scale), int(self.height * self.hr_scale)
        # one side is given, the other keeps the proportion
        return x or y * self.width // self.height, y or x * self.height // self.width


@dataclasses.dataclass(frozen=True)
class Pass:
    """A pass: "base", "img2img" or "hires", its size in pixels, the timesteps of its steps from
    the largest down.

    `exact` is false where the sampler's own schedule is not known and the steps are evenly spaced.
    """

    name: str
    width: int
    height: int
    timesteps: tuple[float, ...]
    exact: bool


def passes_of(fields: Fields, model: Any) -> list[Pass]:
    """The passes in their order. `model` is the webui's loaded model, None if there is none."""
    name = "img2img" if fields.img2img else "base"
    passes = [Pass(name, fields.width, fields.height, *_timesteps(fields, model, hires=False))]
    if fields.hires and not fields.img2img:
        passes.append(Pass("hires", *fields.hires_size, *_timesteps(fields, model, hires=True)))
    return passes


def _timesteps(fields: Fields, model: Any, *, hires: bool) -> tuple[tuple[float, ...], bool]:
    """(timesteps, whether they are the sampler's own) of a pass."""
    tail = hires or fields.img2img
    if tail and fields.denoising_strength == 0:
        return (), True
    if model is not None:
        try:
            return pass_timesteps(_stand_in(fields, model, hires, tail)), True
        # whatever a sampler of another extension does here, the page still gets a drawing
        except Exception as error:
            names = echo(fields.sampling(hires=hires))
            logger.debug("the schedule of %s is not known: %s", names, echo(error))
    start = min(fields.denoising_strength, 0.999) if tail else 1.0
    count = (fields.hr_steps or fields.steps) if hires else fields.steps
    if fields.img2img:  # it begins inside a schedule of all steps
        count = int(start * fields.steps) + 1
    return tuple((TRAIN_STEPS - 1) * start * (1 - i / count) for i in range(count)), False


def _stand_in(fields: Fields, model: Any, hires: bool, tail: bool) -> Any:
    """What a sampler asks the request for when it makes its schedule."""
    from modules import sd_samplers

    name, scheduler = fields.sampling(hires=hires)
    sampler = sd_samplers.create_sampler(name, model)
    return types.SimpleNamespace(
        sampler=sampler,
        steps=fields.steps,
        hr_second_pass_steps=fields.hr_steps,
        is_hr_pass=hires,
        init_images=[True] if tail else None,
        # the webui divides the steps by it
        denoising_strength=max(fields.denoising_strength, 0.001),
        scheduler=scheduler,
        hr_scheduler=scheduler,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
        width=fields.width,
        height=fields.height,
    )
