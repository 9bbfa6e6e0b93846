"""The texts of ComfyUI's nodes in Japanese, from the translations of the webui's page."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
JAPANESE = ROOT / "localizations" / "ja_JP.json"
NODE_TEXTS = ROOT / "locales" / "ja" / "nodeDefs.json"
"""Where ComfyUI looks for them."""

_PACKAGE = "slothful_checkout"


def load_face(part: str = "nodes") -> ModuleType:
    """A module of `slothful_comfy`, loaded as ComfyUI does it: in a package that is this folder."""
    if _PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(_PACKAGE, ROOT / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_PACKAGE])
    return importlib.import_module(f"{_PACKAGE}.slothful_comfy.{part}")


def node_texts() -> str:
    """What ComfyUI reads as `nodeDefs.json`."""
    japanese = json.loads(JAPANESE.read_text(encoding="utf-8"))
    texts = {}
    for name, node in load_face().NODE_CLASS_MAPPINGS.items():
        inputs = {}
        for each, parameter in node.KIND.inputs.items():
            tooltip = "".join(japanese[text] for text in load_face().help_of(parameter))
            inputs[each] = {"name": japanese[parameter.label], "tooltip": tooltip}
        if node.KIND.conditioning:
            help_ = japanese[load_face().NEGATIVE_HELP]
            inputs["negative_prompt"] = {"name": japanese["Negative prompt"], "tooltip": help_}
        texts[name] = {
            "display_name": japanese.get(node.KIND.title, node.KIND.title),
            "description": japanese[node.KIND.help],
            "inputs": inputs,
        }
    return json.dumps(texts, ensure_ascii=False, indent=2) + "\n"
