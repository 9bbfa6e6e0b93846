"""The nodes as values, made from the declarations of the parameters: one a method, and others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..slothful import LEVELS, METHODS, NO_METHOD, Parameter, Settings

ELSEWHERE = {
    # a node serves the samplers behind it: wires say which pass has which settings
    *("passes", "merge_ratio_img2img", "merge_ratio_hires"),
    *("sleep_every_img2img", "sleep_every_hires"),
    # the VAE is another node
    *("vae_tiles", "vae_tile_size"),
    # `min_size` is enough to skip small images
    *("min_width", "min_height"),
    # each has its node
    "method",
}
"""The parameters that no node has, which keep their defaults."""

OWN = {
    group: frozenset(p.name for p in Settings.parameters() if p.group == group)
    for group in ("sleep", "negative", "channels")
}
"""The groups of parameters that have a node of their own; those of methods give the rest."""

_METHOD_HELP = Settings.parameter("method").help
_SLEEP_HELP = (
    "In some steps, a part of the U-Net is not computed but repeats what it gave before. Use it "
    "alone, or before or after the node of a method."
)
_NEGATIVE_HELP = (
    "In some steps, the U-Net runs for the prompt alone, or both sides mix their keys. Use it "
    "alone, or before or after the other nodes."
)
_CHANNELS_HELP = (
    "Queries and keys are compared in fewer channels. Use it alone, or before or after the node of "
    "a method."
)
_LAZY_HELP = (
    "Chooses all settings for the size, the steps and the model of the sampler behind it, in the "
    "place of those of other nodes."
)
LAZY = Parameter(
    "lazy", "choice", "balanced", "Lazy",
    "gentle: close to the original image. balanced: the image changes a little. strong: for "
    "drafts, the image changes visibly.",
    group="", choices=LEVELS[:-1],
)  # fmt: skip
"""The wish; what it chooses are the settings."""

_OLD_HELP = "For workflows with the original's node: its inputs, and what it does with them."
_BLEND_HELP = "0 keeps one token of each cell as key and value, 1 pools the whole cell."


@dataclasses.dataclass(frozen=True)
class Kind:
    """A node: its texts, and its inputs by name, declared as parameters with its own defaults.
    `gives` are the settings that an input means where it is not just its own, `fixed` the others.
    `conditioning`: it can be given a negative prompt.
    """

    title: str
    help: str
    inputs: Mapping[str, Parameter]
    fixed: Mapping[str, Any]
    gives: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    is_old: bool = False
    conditioning: bool = False

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that values of its inputs mean; what is missing has its default."""
        given = {
            setting: values.get(name, parameter.default)
            for name, parameter in self.inputs.items()
            for setting in self.gives.get(name, (name,))
        }
        return {**self.fixed, **given}


def _inputs(*names: str, **defaults: Any) -> dict[str, Parameter]:
    """Inputs of the parameters' names; `defaults` are those of the node's own."""
    own = {name: Settings.parameter(name) for name in names}
    return {n: dataclasses.replace(p, default=defaults.get(n, p.default)) for n, p in own.items()}


def _used_by(method: str) -> tuple[str, ...]:
    # in the parameters' own order, which only grows: saved workflows are lists of values
    used = (p.name for p in Settings.parameters() if p.used_by(method))
    return tuple(name for name in used if name not in ELSEWHERE and not _group_of(name))


def _group_of(name: str) -> str:
    """Of those with a node of their own; empty for a method's."""
    return next((group for group, names in OWN.items() if name in names), "")


def _group_inputs(group: str, **defaults: Any) -> dict[str, Parameter]:
    # in the parameters' own order
    names = (p.name for p in Settings.parameters() if p.name in OWN[group])
    return _inputs(*(name for name in names if name not in ELSEWHERE), **defaults)


_TIMES = ("peak_time", "time_decay")
_TILES = ("base_tile_size", "peak_tile_size", "base_global_ratio", "peak_global_ratio")
_TILED = ("tiling_max_depth", *_TIMES, *_TILES)
_SIDES = tuple(
    f"{side}_{name}"
    for side in ("in", "out")
    for name in ("mode", "depth_decay", "slothful", "k_blend", "v_blend")
)
_BOTH = {
    "slothful": ("in_slothful", "out_slothful"),
    "in_blend": ("in_k_blend", "in_v_blend"),
    "out_blend": ("out_k_blend", "out_v_blend"),
}
"""The inputs of simple nodes that stand for two parameters each."""
_SWAPPED = {"in_slothful": ("out_slothful",), "out_slothful": ("in_slothful",)}
"""The original's Slothful Attention takes the strength of each side for the other side."""
_SLOTHFUL, _TILE, _NEAR_SIGHTED = METHODS[:3]
_SIMPLE = "Near-sighted Attention (simple)"


def _both_sides(slothful: float) -> dict[str, Parameter]:
    blend = dataclasses.replace(Settings.parameter("in_k_blend"), help=_BLEND_HELP)
    strength = dataclasses.replace(Settings.parameter("in_slothful"), default=slothful)
    return {
        "slothful": dataclasses.replace(strength, label="Strength"),
        "in_blend": dataclasses.replace(blend, label="Input blocks: blend"),
        "out_blend": dataclasses.replace(blend, label="Output blocks: blend"),
    }


def _own_kinds() -> dict[str, Kind]:
    kinds = [Kind(m, _METHOD_HELP, _inputs(*_used_by(m)), {"method": m}) for m in METHODS]
    simple = (("Slothful Attention (simple)", _SLOTHFUL, _TIMES), (_SIMPLE, _NEAR_SIGHTED, _TILED))
    for title, method, names in simple:
        # what it does not show has the default, which was measured with the default strength
        inputs = _inputs(*names) | _both_sides(Settings.parameter("in_slothful").default)
        kinds.append(Kind(title, _METHOD_HELP, inputs, {"method": method}, _BOTH))
    # who adds them wants something to sleep: the presets' part, and the negative side
    sleep = _group_inputs("sleep", sleep="deep blocks")
    negative = _group_inputs("negative", negative="asleep")
    named = {"".join(filter(str.isalnum, kind.title.title())): kind for kind in kinds}
    named["Sleep"] = Kind("Sleep (Slothful Attention)", _SLEEP_HELP, sleep, {})
    title = "Negative prompt (Slothful Attention)"
    named["NegativePrompt"] = Kind(title, _NEGATIVE_HELP, negative, {}, conditioning=True)
    channels = _group_inputs("channels", channels_depth_1=0.5)
    named["Lazy"] = Kind("Lazy (Slothful Attention)", _LAZY_HELP, {LAZY.name: LAZY}, {})
    title = "Fewer channels (Slothful Attention)"
    named["FewerChannels"] = Kind(title, _CHANNELS_HELP, channels, {})
    return {f"Slothful_{name}": kind for name, kind in named.items()}


def _old_kinds() -> dict[str, Kind]:
    """Those of the original (MitoshiroPJ/comfyui_slothful_attention): names, inputs, defaults."""

    def old(title: str, inputs: Mapping[str, Parameter], gives: Any = None, **fixed: Any) -> Kind:
        return Kind(title, _OLD_HELP, inputs, {"kept_token": "first", **fixed}, gives or {}, True)

    strengths = {"in_slothful": 6.0, "out_slothful": 4.0}
    slothful = _inputs(*_TIMES, *_SIDES, **strengths)
    near_sighted = _inputs(*_TILED, *_SIDES, **strengths)
    both: dict[str, Any] = {"method": _NEAR_SIGHTED, "keep_middle": False}
    simple = {**both, "in_depth_decay": 1.5, "out_depth_decay": 1.5}
    tile = ("tiling_max_depth", "global_ratio", "tile_size")
    return {
        "SlothfulAttention": old(_SLOTHFUL, slothful, _SWAPPED, method=_SLOTHFUL),
        "NearSightedAttention": old(_NEAR_SIGHTED, near_sighted, **both),
        "NearSightedAttentionSimple": old(
            _SIMPLE, _inputs(*_TILED) | _both_sides(4.0), _BOTH, **simple
        ),
        "NearSightedTile": old(_TILE, _inputs(*tile, global_ratio=0.5, tile_size=32), method=_TILE),
    }


KINDS = {**_own_kinds(), **_old_kinds()}
"""The nodes, by the names that workflows call them by."""


def joined(before: Settings | None, given: Mapping[str, Any]) -> Settings:
    """The settings of a node behind another one, whose settings are `before`: a method, sleep, the
    negative side and fewer channels join, and each replaces what an earlier node said of it.
    Raises `SettingsError`.
    """
    values = {} if before is None else before.as_dict()
    groups = {_group_of(name) for name in given}
    kept = {name: value for name, value in values.items() if _group_of(name) not in groups}
    return Settings.from_mapping({"method": NO_METHOD, **kept, **given})
