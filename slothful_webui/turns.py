"""Work that one page after the other asks for: one piece at a time, of each page the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

MOST_WAITING = 8
"""The most pages that wait for their turn."""


class TurnError(Exception):
    """A piece of work will not be done; the message says why."""


class Turns:
    """The turns of one server. It runs the work on threads, and waits without any, because the
    page's own events need them.
    """

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._newest: dict[str, object] = {}

    async def take(self, page: str, work: Callable[[Callable[[], None]], Any]) -> Any:
        """What `work(go_on)` gives, once it is its turn.

        `go_on()` raises `TurnError` inside the work once the page has asked for something newer.
        Raises `TurnError`, also if too many pages wait.
        """
        from starlette.concurrency import run_in_threadpool

        if page not in self._newest and len(self._newest) > MOST_WAITING:
            raise TurnError("too many drawings are waiting")
        turn = self._newest[page] = object()

        def go_on() -> None:
            if self._newest.get(page) is not turn:
                raise TurnError("a newer drawing has been asked for")

        try:
            async with self._one:
                go_on()
                return await run_in_threadpool(work, go_on)
        finally:
            if self._newest.get(page) is turn:
                del self._newest[page]
