"""The one thread in which networks run, and memory that goes back to the system after each piece of work.

Handlers of the page run in up to forty threads. PyTorch, OpenMP and the allocator keep memory for every thread that
ever computed (`python -m benchmarks.memory` shows how it grows).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

Made = TypeVar("Made")

M_ARENA_MAX, ARENAS = -8, 2  # glibc's parameter of mallopt(3)


class Worker:
    """Runs one piece of work at a time, in the order in which they were asked for, all in the same thread."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Future[Any], Context, Callable[[], Any]]] = SimpleQueue()
        Thread(target=self._work, name="networks", daemon=True).start()

    def run(self, work: Callable[[], Made]) -> Made:
        """What the work gives, in the caller's context; what it raises is raised here."""
        future: Future[Any] = Future()
        self._asked.put((future, copy_context(), work))
        try:
            return cast(Made, future.result())
        finally:
            del future  # an error knows this frame: with the future in it, both and the picture would stay for a while

    def _work(self) -> None:
        while True:
            self._next()
            trim_memory()

    def _next(self) -> None:
        """A function of its own, so that nothing of the last answer is held while this thread waits."""
        future, context, work = self._asked.get()
        try:
            future.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001 it is the caller's
            future.set_exception(error)
        finally:
            del future


def share_arenas() -> None:
    """Let all threads take memory from `ARENAS` arenas, if the allocator is glibc's; before threads are started.

    By default every thread gets an arena of its own, up to eight a core, and what is free in the middle of one is of
    no use to the others.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def trim_memory() -> None:
    """Give back to the system what networks were computed in, and what the allocator holds free if it is glibc's."""
    from baa_core.networks.engine import release_memory  # here: PyTorch takes seconds, and the page need not wait

    release_memory()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
