"""Layouts: where the tokens of a plan go, as index tensors; `moving` takes them there.

One index picks the queries of all windows, one puts their answers back, one picks the tokens that
are projected to keys and values, and one deals the projected tokens to the windows. A token that
several windows see is thus projected once. Windows that do not overlap need no index for their
queries: they are a view of the grid, which is copied in long rows. What is projected of these lies
window after window, so that their own keys are not moved.
"""

from __future__ import annotations

import dataclasses

import torch

from ..planning.plan import Reduce
from ..planning.tiling import Tiling
from .devices import kept_tensors, numbers, to_device
from .kept import kept_index, kept_outside
from .windows import places_in_windows, window_indices

_HOST = torch.device("cpu")


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The index tensors of a plan, on one device, for W windows of T tokens with K keys each.

    `queries` (W*T,): the grid's tokens, window after window; `answers` (tokens,): for each token
    of the grid its place among these; both None where the windows lie side by side. `halo` (W*H,):
    the tokens that pooled keys come from, window after window, where these are more than the
    queries'. `sources` (M,): the grid's tokens that are projected, None for all of them in order,
    or where pooling makes others. `keys` (W*K,): for each key of each window its place among the
    projected tokens; None where these lie as they are needed, but for what all windows see.
    """

    queries: torch.Tensor | None = None
    answers: torch.Tensor | None = None
    halo: torch.Tensor | None = None
    sources: torch.Tensor | None = None
    keys: torch.Tensor | None = None


_NOTHING = Layout()


def plan_layout(plan: Reduce, device: torch.device) -> Layout:
    """The layout of a plan on a device; cached, so that repeated steps copy nothing there."""
    if plan.tiling is None and plan.pools:
        return _NOTHING  # without looking for it
    return _layout(plan.geometry, device)


# random shifts make a new layout every step, so the caches are kept small
@kept_tensors(64)
def _layout(plan: Reduce, device: torch.device) -> Layout:
    # made on the host: a device would be waited for
    tiling = plan.tiling
    made = _of_whole_grid(plan) if tiling is None else _of_windows(plan, tiling)
    parts = (getattr(made, field.name) for field in dataclasses.fields(made))
    return Layout(*(part if part is None else to_device(part, device) for part in parts))


def _of_whole_grid(plan: Reduce) -> Layout:
    """Without windows: nothing is dealt."""
    if plan.reduction is None or plan.pools:
        return _NOTHING
    return Layout(sources=kept_index(plan.reduction, _HOST))


def _of_windows(plan: Reduce, tiling: Tiling) -> Layout:
    """The indices of a plan with windows."""
    if plan.order is not None and plan.merges and plan.reduction is None:
        return Layout()  # every window sees its own and the same groups
    queries = answers = halo = sources = None
    if not tiling.side_by_side:
        queries = window_indices(plan.grid, tiling).flatten()
        answers = places_in_windows(tiling)
    own = window_indices(plan.grid, plan.key_tiling or tiling)  # (W, own tokens)
    if plan.pools and plan.key_tiling is not None:
        halo = own.flatten()
    made = plan.tokens  # before the whole grid's
    if plan.reduction is None:
        keys = own
    elif plan.pools:
        # pooled tokens lie in a row: window 0, window 1, ..., the whole grid's
        made = len(tiling) * len(plan.reduction)
        keys = numbers(made, _HOST).reshape(len(tiling), -1)
    else:
        keys = own[:, kept_index(plan.reduction, _HOST)]
    seen = _seen_outside(plan, made)
    if seen is not None:
        keys = torch.cat([keys, seen], dim=1)  # (W, K)
    keys = keys.flatten()
    if plan.order is not None and not plan.pools:
        keys = places_in_windows(tiling)[keys]
    elif not plan.pools:
        sources, keys = torch.unique(keys, return_inverse=True)
        sources = sources if len(sources) < plan.tokens else None
    dealt = None if torch.equal(keys, torch.arange(len(keys))) else keys
    # 32 bits hold any token and are half as much memory
    indices = (queries, answers, halo, sources, dealt)
    return Layout(*(index if index is None else index.int() for index in indices))


def _seen_outside(plan: Reduce, made: int) -> torch.Tensor | None:
    """The global keys of each window (W, global keys): their places in the grid, or, where they are
    pooled, behind those that are `made` before; None if there are none.
    """
    shared, windows = plan.global_reduction, plan.key_windows
    if shared is None or windows is None:
        return None
    if plan.merges:
        seen = numbers(len(shared), _HOST).expand(len(windows), -1)
    else:
        seen = kept_outside(shared, windows)
    return made + seen if plan.pools else kept_index(shared, _HOST)[seen]
