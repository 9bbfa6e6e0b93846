"""What other extensions do to the same modules, and how ours makes room."""

from __future__ import annotations

from typing import Any


def hypertile_acts(attention: Any) -> str | None:
    """Why the webui's HyperTile keeps ours off an attention: it splits x below our hooks and would
    not fit reduced keys, and nothing shall be tiled twice.
    """
    parameters = getattr(attention, "__webui_hypertile_params", None)
    return "the webui's HyperTile acts there" if getattr(parameters, "enabled", False) else None
