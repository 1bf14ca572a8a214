"""Rows of a batch on several processes of this machine: the same rows in the same order as one process gives.

Each process has an assessor of its own. One that is killed (by the system, for lack of memory) is started again and its
row done once more; a row that ends its process `MOST_TRIES` times is refused.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BoneAgeError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

MOST_TRIES = 3
NumberedRow = tuple[int, Mapping[str, str]]  # its number in the table, from 1
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class AssessesRows(Protocol):
    """What is sent to each process, by pickle, before it has assessed anything."""

    def __call__(self, numbered: NumberedRow, /) -> dict[str, Any]:
        """A row's report or refusal; BoneAgeError about no row in particular."""

    def refuse(self, numbered: NumberedRow, error: Exception) -> dict[str, Any]:
        """The refusal of a row for an error."""


@dataclass
class _Worker:
    """One process, and the row it has."""

    process: SpawnProcess
    pipe: Connection
    row: int | None = None


def assess_rows(assess: AssessesRows, rows: Sequence[NumberedRow], processes: int) -> Iterator[dict[str, Any]]:
    """Each row's report or refusal as a dict, in order.

    Args:
        assess: does one row; each process has its own copy.
        rows: of the table.
        processes: at most so many.

    Raises:
        BoneAgeError: no assessor could be loaded.
    """
    start = pickle.dumps(assess)
    waiting, tries = list(range(len(rows)))[::-1], [0] * len(rows)
    finished: dict[int, dict[str, Any]] = {}
    workers = [_begin(start, processes) for _ in range(min(processes, len(rows)))]
    nearest = 0
    try:
        while nearest < len(rows):
            for worker in workers:
                if worker.row is None and waiting:
                    _hand_out(worker, waiting, rows)
            for worker in [w for w in workers if w.pipe in wait([w.pipe for w in workers if w.row is not None])]:
                row = worker.row
                if row is None:
                    continue
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    workers[workers.index(worker)] = _begin(start, processes)
                    _end(worker)
                    tries[row] += 1
                    if tries[row] < MOST_TRIES:
                        waiting.append(row)
                        continue
                    answer = assess.refuse(rows[row], ProcessLookupError())
                worker.row = None
                if isinstance(answer, Exception):
                    raise answer
                finished[row] = answer
                if waiting:  # before the answers are written
                    _hand_out(worker, waiting, rows)
            while nearest in finished:
                yield finished.pop(nearest)
                nearest += 1
    finally:
        for worker in workers:
            _end(worker)


def _hand_out(worker: _Worker, waiting: list[int], rows: Sequence[NumberedRow]) -> None:
    """Give a worker the next row; one that has died meanwhile is found out when its answer is waited for."""
    worker.row = waiting.pop()
    with suppress(OSError):
        worker.pipe.send(rows[worker.row])


def _begin(start: bytes, processes: int) -> _Worker:
    """Start a process; it shares the cores with the others."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(there, start), daemon=True)
    with _threads(max(1, (os.cpu_count() or 1) // processes)):
        process.start()
    there.close()
    return _Worker(process, here)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Environment for a process that is started in here: so many threads, unless somebody said otherwise."""
    own = {name: str(count) for name in THREAD_VARIABLES if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _work(pipe: Connection, start: bytes) -> None:
    """In a process of the pool: answer rows until the pipe is closed."""
    assess: AssessesRows | None = None
    while True:
        try:
            row = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            assess = assess or pickle.loads(start)
            answer: Any = assess(row)
        except BoneAgeError as error:
            answer = error
        pipe.send(answer)
