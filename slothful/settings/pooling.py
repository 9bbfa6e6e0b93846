"""The parameters of pooling keys and values, which input and output blocks have each.

Names and defaults follow the method's original (MitoshiroPJ, Slothful Attention).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import MODES, POOLING, STRENGTHS
from .parameter import param


def _sides(side: str, blocks: str, slothful: float) -> dict[str, Any]:
    """The parameters that exist once for the input blocks and once for the output blocks."""
    options: dict[str, Any] = dict(group=side, methods=POOLING)
    # a block's weight can double the strength, and above 1 it reduces
    needs = (f"{side}_slothful>0.5",)
    strong: dict[str, Any] = dict(needs=needs, **options)
    shared: dict[str, Any] = dict(group=side, methods=STRENGTHS)
    return {
        "mode": param(
            "2D_AVG",
            f"{blocks}: mode",
            "How the tokens of a cell are pooled: their average (AVG), their maximum (MAX), the "
            "strongest token (NORM), or an average in which outliers count less (SIM). Cells are "
            "rectangles (2D) or consecutive tokens in row order (1D).",
            brief="How the tokens of a cell are pooled.",
            choices=MODES,
            needs=(f"{side}_k_blend", f"{side}_v_blend"),
            idle="Only 1D or 2D matters while {reason}.",
            **options,
        ),
        "depth_decay": param(
            2.0,
            f"{blocks}: depth decay",
            "How much weaker the effect is in deeper blocks; 0 applies it equally at all levels, "
            "large values keep the composition.",
            brief="How much weaker the effect is in deeper blocks.",
            range=(0, 4),
            step=0.1,
            needs=needs,
            **shared,
        ),
        "slothful": param(
            slothful,
            f"{blocks}: strength",
            "How many tokens share one key and value (or one agent) at the peak; 1 or less has no "
            "effect.",
            brief="How many tokens share one key and value at the peak.",
            range=(0, 50),
            step=0.5,
            is_strength=True,
            **shared,
        ),
        "k_blend": param(
            0.0,
            f"{blocks}: key blend",
            "0 keeps one token of each cell as the key (see Kept token), 1 pools the whole cell.",
            brief="0 keeps one token of each cell as the key, 1 pools the cell.",
            range=(0, 1),
            step=0.05,
            **strong,
        ),
        "v_blend": param(
            0.0,
            f"{blocks}: value blend",
            "0 keeps one token of each cell as the value (see Kept token), 1 pools the whole cell.",
            brief="0 keeps one token of each cell as the value, 1 pools the cell.",
            range=(0, 1),
            step=0.05,
            **strong,
        ),
    }


_IN = _sides("in", "Input blocks", 12.0)
_OUT = _sides("out", "Output blocks", 12.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolingParameters:
    """Fields of `Settings`."""

    in_mode: str = _IN["mode"]
    in_depth_decay: float = _IN["depth_decay"]
    in_slothful: float = _IN["slothful"]
    in_k_blend: float = _IN["k_blend"]
    in_v_blend: float = _IN["v_blend"]
    out_mode: str = _OUT["mode"]
    out_depth_decay: float = _OUT["depth_decay"]
    out_slothful: float = _OUT["slothful"]
    out_k_blend: float = _OUT["k_blend"]
    out_v_blend: float = _OUT["v_blend"]
