"""The classes that ComfyUI makes nodes of."""

from __future__ import annotations

import inspect
import logging
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

from ..slothful import NO_METHOD, Parameter, Settings, SettingsError, check_level
from ..slothful_webui.copies import is_second_copy
from .kinds import KINDS, LAZY, Kind, joined

NEGATIVE_HELP = (
    "The negative prompt that acts in the attention; without it, that of the sampler does."
)
WEIGHTS_HELP = "Block names with numbers, for instance IN01=0.5 OUT03=0."

logger = logging.getLogger(__name__)


class SettingsNode:
    """A node that gives a clone of its model with settings, which samplers behind it apply."""

    KIND: ClassVar[Kind]
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"
    CATEGORY = "model_patches/Slothful Attention"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI draws and checks. All but the model may be missing in a request, so that
        saved ones stay valid when a node gets another input.
        """
        inputs = {name: _as_input(parameter) for name, parameter in cls.KIND.inputs.items()}
        if cls.KIND.conditioning:
            inputs["negative_prompt"] = ("CONDITIONING", {"tooltip": NEGATIVE_HELP})
        hidden = {"unique_id": "UNIQUE_ID"}
        return {"required": {"model": ("MODEL",)}, "optional": inputs, "hidden": hidden}

    def patch(
        self,
        model: Any,
        unique_id: str | None = None,
        negative_prompt: Any = None,
        **values: Any,
    ) -> tuple[Any]:
        """Raises `SettingsError` for what ComfyUI does not check, as values that contradict each
        other.
        """
        from .sampling import settings_on, with_settings  # which needs ComfyUI

        before = settings_on(model)
        settings = joined(before, self.KIND.settings(values))
        if before is not None and before.method not in (NO_METHOD, settings.method):
            methods = settings.method, before.method
            logger.warning("Slothful Attention: %s replaces %s; a model has one method", *methods)
        return (with_settings(model, settings, unique_id, negative_prompt),)


class _NodeWithWeights(SettingsNode):
    @classmethod
    def VALIDATE_INPUTS(cls, block_weights: str = "") -> str | bool:
        """ComfyUI itself checks numbers and choices."""
        try:
            Settings.parameter("block_weights").parse(block_weights)
        except SettingsError as error:
            return str(error)
        return True


class _LazyNode(SettingsNode):
    def patch(
        self, model: Any, unique_id: str | None = None, lazy: str = LAZY.default, **_: Any
    ) -> tuple[Any]:
        """A clone whose samplers choose. Raises `SettingsError` for a wish that is none."""
        from .sampling import with_settings  # which needs ComfyUI

        return (with_settings(model, check_level(lazy), unique_id),)


def _as_input(parameter: Parameter) -> tuple[Any, dict[str, Any]]:
    """A declaration as ComfyUI writes an input: (type, options)."""
    options = {"default": parameter.default, "tooltip": " ".join(help_of(parameter))}
    if parameter.kind == "choice":
        return list(parameter.choices), options
    if parameter.kind == "bool":
        return "BOOLEAN", options
    if parameter.kind == "weights":
        return "STRING", {**options, "default": ""}
    numbers = {"min": parameter.minimum, "max": parameter.maximum, "step": parameter.step}
    return parameter.kind.upper(), {**options, **numbers}


def help_of(parameter: Parameter) -> tuple[str, ...]:
    """The sentences that a user reads of an input."""
    return (parameter.help, WEIGHTS_HELP) if parameter.kind == "weights" else (parameter.help,)


def _class_of(name: str, kind: Kind) -> type[SettingsNode]:
    base = _NodeWithWeights if "block_weights" in kind.inputs else SettingsNode
    if LAZY.name in kind.inputs:
        base = _LazyNode
    return type(name, (base,), {"KIND": kind, "DESCRIPTION": kind.help, "DEPRECATED": kind.is_old})


def _nodes_to_add() -> dict[str, type[SettingsNode]]:
    """All nodes; none of the original's names where the original is installed too, and none at all
    where another copy of this folder has added them.
    """
    present = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
    ours = [present[name] for name in KINDS if name in present and not KINDS[name].is_old]
    if is_second_copy(__file__, [SimpleNamespace(path=inspect.getfile(each)) for each in ours]):
        return {}
    return {name: _class_of(name, kind) for name, kind in KINDS.items() if name not in present}


NODE_CLASS_MAPPINGS = _nodes_to_add()
NODE_DISPLAY_NAME_MAPPINGS = {name: node.KIND.title for name, node in NODE_CLASS_MAPPINGS.items()}
