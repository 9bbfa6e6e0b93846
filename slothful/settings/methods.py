"""The names of the methods, and the choices that their parameters have.

What each method is made of says `slothful.planning.parts`.
"""

from __future__ import annotations

SLOTHFUL = "Slothful Attention"
NEAR_SIGHTED_TILE = "Near-sighted Tile"
NEAR_SIGHTED = "Near-sighted Attention"
PLAIN_TILES = "Plain Tiles"
TOKEN_MERGING = "Token Merging"
DOWNSAMPLING = "Token Downsampling"
AGENTS = "Agent Attention"
NO_METHOD = "Sleep only"
"""For sleep alone."""

METHODS = (
    *(SLOTHFUL, NEAR_SIGHTED_TILE, NEAR_SIGHTED, PLAIN_TILES, TOKEN_MERGING, DOWNSAMPLING),
    AGENTS,
)

POOLING = (SLOTHFUL, NEAR_SIGHTED)
"""The methods whose keys and values are pools, by the modes and blends."""

STRENGTHS = (*POOLING, AGENTS)
"""The methods with a strength for input and one for output blocks."""

SUBSAMPLING = (SLOTHFUL, NEAR_SIGHTED_TILE, NEAR_SIGHTED)
"""The methods that keep tokens by the strides of a strength."""

TILING = (NEAR_SIGHTED_TILE, NEAR_SIGHTED)
"""The methods whose tiles also see the whole image."""

SCHEDULED = tuple(name for name in METHODS if name != NEAR_SIGHTED_TILE)
"""The methods that follow a schedule over time."""

COMPARING = (*(name for name in METHODS if name != AGENTS), NO_METHOD)
"""The methods in which queries are compared with keys, and with nothing else."""

POOLS = ("AVG", "MAX", "NORM", "SIM")
MODES = tuple(f"{dimensions}_{pool}" for pool in POOLS for dimensions in ("1D", "2D"))
ROUNDINGS = ("stride", "smooth")
KEPT = ("first", "jittered", "merged")
SHIFTS = ("none", "random", "alternating")
TIME_AXES = ("noise level", "pass progress")
PASSES = ("both", "base", "hires")
DOWNSAMPLERS = ("nearest", "area")
AGENT_POOLS = ("cells", "merged")

AWAKE = "nothing"
SELF_ATTENTION, ATTENTION, TRANSFORMERS = "self-attention", "attention", "transformers"
DEEP, WHOLE = "deep blocks", "whole calls"
SLEEPS = (AWAKE, SELF_ATTENTION, ATTENTION, TRANSFORMERS, DEEP, WHOLE)
"""What can sleep, from nothing to all."""

COMPUTED, ASLEEP, IN_ATTENTION = "computed", "asleep", "in the attention"
NEGATIVES = (COMPUTED, ASLEEP, IN_ATTENTION)
"""What becomes of the negative half of the rows."""

NAG, VSF = "NAG", "VSF"
FORMS = (NAG, VSF)
"""How the negative prompt acts in the attention."""

UNMIXED, PUSH, SHARE, REPEL = "nothing", "push", "share", "repel"
MIXES = (UNMIXED, PUSH, SHARE, REPEL)
"""What the two halves do with each other's keys in self-attention."""

FORECASTS = ("last", "linear", "curve")
