"""The face for ComfyUI: nodes that put settings on a model, for the samplers behind them.

ComfyUI loads it as a part of the folder's package, under a name of its choice, so imports are
relative throughout. `kinds` says which nodes there are, `nodes` makes ComfyUI's classes of them,
`sampling` applies their settings while a sampler runs, `texts` translates them.
"""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
