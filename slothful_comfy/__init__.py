"""The face for ComfyUI: nodes that put settings on a model, for the samplers behind them.

ComfyUI loads it as a part of this folder, under a name of its choice: all imports are relative.
`kinds` says which nodes there are, `nodes` makes classes of them, `sampling` applies settings.
"""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
