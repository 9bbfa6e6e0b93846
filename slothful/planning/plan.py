"""Plans: what happens at a site in one call of the U-Net, one class for each kind.

Every kind has `grid`, `tokens`, `query_count`, `key_count` and `projected_count`, can be compared,
hashed and printed, and is what the hooks of its kind take. A plan holds no tensors.
"""

from __future__ import annotations

import dataclasses
import functools

from .counts import kept_count, outside_count, tokens_of
from .reduction import Reduction
from .site import Grid
from .tiling import Tiling


@dataclasses.dataclass(frozen=True)
class Reduce:
    """Fewer keys and values, tiles of queries, or both.

    Without `tiling`, `reduction` is over the whole grid. With it, `reduction` is over the tokens
    that one window sees as its own (None: all of them are keys) and `global_reduction` picks the
    keys from the whole grid that every window sees besides (None: there are none). A window's own
    are those of `key_tiling`, the same windows with a halo.

    Queries and keys are compared in a part of the channels of a head, `score_share` in (0, 1];
    that is all that a plan without the rest means.
    """

    grid: Grid
    # not compared: plans of the same geometry share a layout, whatever strength led to it
    strength: float = dataclasses.field(compare=False)
    reduction: Reduction | None = None
    tiling: Tiling | None = None
    global_reduction: Reduction | None = None
    key_tiling: Tiling | None = None
    score_share: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return tokens_of(self.grid)

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """Those that there are."""
        return tuple(r for r in (self.reduction, self.global_reduction) if r is not None)

    @functools.cached_property
    def pools(self) -> bool:
        """Whether any key or value is more than one of the site's tokens."""
        return any(reduction.pools for reduction in self.reductions)

    @functools.cached_property
    def merges(self) -> bool:
        """Whether keys represent all tokens similar to them, with their combined weight."""
        return any(reduction.merges for reduction in self.reductions)

    @functools.cached_property
    def separate_kv(self) -> bool:
        """Whether keys and values are made from different tokens."""
        return any(reduction.separate_kv for reduction in self.reductions)

    @functools.cached_property
    def order(self) -> Tiling | None:
        """The windows in whose order, one after the other, keys and values are made of the grid's
        tokens: those that lie side by side and see themselves, as all of their tokens or as groups
        of similar ones. None: in the grid's own order.
        """
        tiling = self.tiling
        if tiling is None or self.key_tiling is not None or not tiling.side_by_side:
            return None
        return tiling if self.merges or (self.reduction is None and not self.pools) else None

    @functools.cached_property
    def geometry(self) -> Reduce:
        """The plan by which tokens are moved: where they merge, whichever of a cell is kept."""
        plan = self if self.score_share == 1 else dataclasses.replace(self, score_share=1.0)
        if not self.merges:
            return plan
        own, shared = self.reduction, self.global_reduction
        return dataclasses.replace(
            plan, reduction=own and own.geometry, global_reduction=shared and shared.geometry
        )

    @property
    def key_windows(self) -> Tiling | None:
        """The windows of the tokens that queries see as their own."""
        return self.key_tiling or self.tiling

    @property
    def window(self) -> tuple[int, int]:
        """(height, width) of the tokens that a query sees as its own."""
        windows = self.key_windows
        return self.grid if windows is None else windows.window

    @property
    def windows(self) -> int:
        """The number of windows, 1 where the queries are not tiled."""
        return 1 if self.tiling is None else len(self.tiling)

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site, counting overlaps of windows."""
        return self.tokens if self.tiling is None else len(self.tiling) * self.tiling.tokens

    @functools.cached_property
    def key_count(self) -> int:
        """Keys that each query attends to."""
        own = tokens_of(self.window) if self.reduction is None else len(self.reduction)
        shared, windows = self.global_reduction, self.key_windows
        if shared is None or windows is None:
            return own
        if self.merges:  # its tokens lie everywhere, so every window sees it
            return own + len(shared)
        return own + outside_count(shared, windows)

    @functools.cached_property
    def projected_count(self) -> int:
        """Tokens that become keys: each once, however many windows see it."""
        own, shared, windows = self.reduction, self.global_reduction, self.key_windows
        if own is None:  # all are; where pooled, the means are taken of the projected tokens
            return self.tokens
        if windows is None:
            return len(own)
        if self.pools:
            return self.windows * len(own) + (0 if shared is None else len(shared))
        return kept_count(own, shared, windows)

    def __str__(self) -> str:
        height, width = self.grid
        text = f"{height}x{width} tokens, strength {self.strength:.2f}"
        if self.tiling is not None:
            size = f"{self.tiling.rows.size}x{self.tiling.columns.size}"
            text += f", {len(self.tiling)} windows of {size}"
        return f"{text}, {self.key_count} keys a query{_in_channels(self.score_share)}"


@dataclasses.dataclass(frozen=True)
class Merge:
    """Tokens merged away before parts of a block, and given back after them.

    One token of each `stride` (rows, columns) is a destination: the first, or one that `seed`
    chooses. The `count` other tokens that are most like a destination are merged into it: before
    the self-`attention`, the `cross`-attention and the `mlp`. With `keys_only`, self-attention
    keeps its queries; with `proportional`, a merged key has the weight of the tokens in it. Source:
    Token Merging for Stable Diffusion (Bolya and Hoffman, 2023); the last two: Token Merging (Bolya
    et al., 2023) for the weight, this project for the keys. `score_share` is as in `Reduce`.
    """

    grid: Grid
    count: int
    stride: tuple[int, int]
    seed: int | None
    attention: bool
    cross: bool
    mlp: bool
    keys_only: bool
    proportional: bool
    score_share: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return tokens_of(self.grid)

    @property
    def left(self) -> int:
        """Tokens that are left."""
        return self.tokens - self.count

    @property
    def destinations(self) -> int:
        """Tokens into which others can be merged."""
        return (self.grid[0] // self.stride[0]) * (self.grid[1] // self.stride[1])

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site."""
        return self.left if self.attention and not self.keys_only else self.tokens

    @property
    def key_count(self) -> int:
        """Keys that each query attends to."""
        return self.left if self.attention else self.tokens

    @property
    def projected_count(self) -> int:
        """Tokens that become keys."""
        return self.key_count

    def __str__(self) -> str:
        height, width = self.grid
        text = f"{height}x{width} tokens, {self.count} tokens merged, {self.key_count} keys a query"
        return text + _in_channels(self.score_share)


@dataclasses.dataclass(frozen=True)
class Agents:
    """Few agents ask all keys for the queries, and every query asks the agents:
    softmax(Q A') [softmax(A K') V], to which each token adds `shortcut` times its own value.

    An agent is the mean of the queries whose tokens `pool` reduces to one. What agents saw in step
    `since` of the pass is repeated; None: they look now. Source: Agent
    Attention (Han et al., 2024) without its training, as in AgentSD; what is repeated, this
    project.
    """

    pool: Reduce
    shortcut: float
    since: int | None

    @property
    def grid(self) -> Grid:
        """(height, width) in tokens."""
        return self.pool.grid

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return self.pool.tokens

    @property
    def merges(self) -> bool:
        """Whether it is looked for queries that are similar."""
        return self.since is None and self.pool.merges

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site."""
        return self.tokens

    @property
    def key_count(self) -> int:
        """Agents that each query attends to."""
        return self.pool.key_count

    @property
    def projected_count(self) -> int:
        """Tokens that become keys."""
        return self.tokens if self.since is None else 0

    @property
    def value_count(self) -> int:
        """Tokens that become values."""
        return self.tokens if self.shortcut else self.projected_count

    def __str__(self) -> str:
        height, width = self.grid
        text = f"{height}x{width} tokens, {self.key_count} agents"
        return text if self.since is None else f"{text} of step {self.since}"


@dataclasses.dataclass(frozen=True)
class Sleep:
    """The site is not computed: its attention, or more of its block, gives what it gave before.

    `part` is what sleeps (`settings.methods.SLEEPS`), `since` the index of the step of the pass in
    which it was last awake.
    """

    grid: Grid
    part: str
    since: int

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return tokens_of(self.grid)

    @property
    def query_count(self) -> int:
        """Queries that are computed at the site."""
        return 0

    @property
    def key_count(self) -> int:
        """Keys that each query attends to."""
        return 0

    @property
    def projected_count(self) -> int:
        """Tokens that become keys."""
        return 0

    def __str__(self) -> str:
        height, width = self.grid
        return f"{height}x{width} tokens, asleep since step {self.since} ({self.part})"


AwakePlan = Reduce | Merge | Agents
"""What happens at a site that is computed."""

SitePlan = AwakePlan | Sleep
"""What happens at one site in one call of the U-Net."""


def _in_channels(share: float) -> str:
    return "" if share == 1 else f", compared in {share:.0%} of the channels"
