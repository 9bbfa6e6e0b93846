"""The life of the VAE's tiles: from the start of a request to its last decoded batch.

A request encodes before `p.sample` and decodes after it, where the webui calls nothing of ours if
something fails. So several ends are watched, of which any will do: that of the batch or of the
request, a failure in `p.sample`, `p.close()`, which the webui calls however its own requests end,
the next request, and for requests of scripts the end of `p` as an object.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import slothful
from slothful_webui.hypertile import hypertile_acts

_open: list[slothful.VaeTiles] = []
_TILES = "slothful_vae_tiles"
"""The attribute of `p` that keeps its tiles from one of its batches to the next."""


class _Close:
    """What stands in for `p.close`."""

    def __init__(self, own: Callable[[], None]):
        self._own = own
        self.finish: Callable[[], Any] = close_vae

    def __call__(self) -> None:
        self.finish()
        self._own()


def begin_request(p: Any) -> None:
    """`before_process`: the same `p`, or what it is a copy of, may have run before."""
    p.__dict__.pop(_TILES, None)


def open_vae(p: Any, settings: slothful.Settings | None, current_vae: Callable[[], Any]) -> None:
    """Tile the VAE in use for the request `p`, if the settings, where there are any, say so."""
    close_vae()
    if settings is None or not settings.vae_tiles:
        return
    tiles = p.__dict__.setdefault(_TILES, slothful.VaeTiles(settings, hypertile_acts))
    tiles.follow(current_vae())
    _open.append(tiles)
    if not isinstance(p.close, _Close):
        p.close = _Close(p.close)
    # its own tiles only: another request may be running by then
    p.close.finish = weakref.finalize(p, tiles.release)


def was_tiled(p: Any) -> bool:
    """Whether the VAE has been split into tiles for an image of the request."""
    tiles = p.__dict__.get(_TILES)
    return tiles is not None and tiles.applied


def why_skipped(p: Any) -> tuple[str, ...]:
    """Why the VAE was left as it is for an image of the request, although tiles were planned."""
    tiles = p.__dict__.get(_TILES)
    return () if tiles is None else tuple(dict.fromkeys(tiles.notes.values()))


def resume_vae(p: Any, current_vae: Callable[[], Any]) -> None:
    """Follow the VAE in use, and tile it again if a request inside this one has ended its tiles."""
    tiles = p.__dict__.get(_TILES)
    if tiles is not None and tiles not in _open:
        close_vae()
        _open.append(tiles)
    follow_vae(current_vae)


def follow_vae(current_vae: Callable[[], Any]) -> None:
    """The checkpoint, and its VAE, may have been replaced."""
    for tiles in _open:
        tiles.follow(current_vae())


def close_vae() -> None:
    """Leave the VAE as it was."""
    while _open:
        _open.pop().release()
