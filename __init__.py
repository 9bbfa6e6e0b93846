"""For ComfyUI, which imports this folder as a package of nodes. Elsewhere it does nothing."""

import sys

if "comfy.model_patcher" in sys.modules:
    from .slothful_comfy import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
