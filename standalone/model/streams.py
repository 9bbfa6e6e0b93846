"""Scenes without end for training, made by other processes while a GPU trains."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")
AHEAD = 3
"""Chunks asked for in advance, for each process."""


class Stream(Generic[Chunk]):
    """The chunks `make(seed, number)` for number 0, 1, 2 ..., in that order, however many processes
    make them. To be made before anything touches a GPU, since it forks; `make` is a module's
    function, or a part of one.
    """

    def __init__(self, make: Callable[[int, int], Chunk], seed: int, workers: int, first: int = 0):
        self._make, self._seed, self._number = make, seed, first
        self._waiting: deque[concurrent.futures.Future[Chunk]] = deque()
        self._pool = None
        if workers:
            context = multiprocessing.get_context("fork")
            self._pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
            for _ in range(AHEAD * workers):
                self._ask()

    def _ask(self) -> None:
        assert self._pool is not None
        self._waiting.append(self._pool.submit(self._make, self._seed, self._number))
        self._number += 1

    def next(self) -> Chunk:
        """The next chunk."""
        if self._pool is None:
            self._number += 1
            return self._make(self._seed, self._number - 1)
        self._ask()
        return self._waiting.popleft().result()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
