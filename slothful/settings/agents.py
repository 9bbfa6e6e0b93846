"""The parameters of agent attention, besides the strengths that it shares with pooling."""

from __future__ import annotations

import dataclasses
from typing import Any

from .methods import AGENT_POOLS, AGENTS
from .parameter import param

_AGENTS: dict[str, Any] = dict(group="agents", methods=(AGENTS,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentParameters:
    """Fields of `Settings`."""

    agent_pool: str = param(
        "merged",
        "Agents",
        "What an agent is. cells: the average query of a cell. merged: the average of all queries "
        "that are similar to one of the cell.",
        brief="What an agent is: the mean of a cell, or of similar queries.",
        choices=AGENT_POOLS,
        **_AGENTS,
    )
    agent_shortcut: float = param(
        0.0,
        "Agent shortcut",
        "How much of its own value each token adds to what it gets from the agents.",
        range=(0, 1),
        step=0.025,
        **_AGENTS,
    )
    agent_every: float = param(
        1.0,
        "Agents awake every",
        "In one step of this many the agents look at the image anew; in the others they repeat "
        "what they saw. 2.5 alternates between 3 and 2, 1 looks in every step.",
        brief="In one step of this many the agents look anew.",
        range=(1, 10),
        step=0.1,
        **_AGENTS,
    )
