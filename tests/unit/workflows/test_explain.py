"""The tests of stability and robustness run beside the other parts of an explanation, and end with them."""

from __future__ import annotations

from threading import Event, get_ident
from time import sleep

import pytest

from baa_core.workflows.explain import ProgressReporter, _beside

SILENT = ProgressReporter(None)


def test_work_beside_runs_in_a_thread_of_its_own_and_its_result_is_waited_for() -> None:
    with _beside() as thread:
        first, second = (thread.start(lambda _ended: get_ident()) for _ in range(2))
        assert first(SILENT) == second(SILENT) != get_ident()


def test_an_error_beside_is_raised_where_its_result_is_waited_for() -> None:
    def fail(_ended: Event) -> None:
        raise TimeoutError("of its own")

    with _beside() as thread:
        first, second = thread.start(fail), thread.start(lambda _ended: "made all the same")
        with pytest.raises(TimeoutError, match="of its own"):
            first(SILENT)
        assert second(SILENT) == "made all the same"


def test_who_ends_an_explanation_ends_what_runs_beside_it() -> None:
    def count(ended: Event) -> int:
        steps = 0
        while not ended.is_set():
            steps += 1
            sleep(0.01)
        return steps

    class Gone(Exception):
        pass

    def leave(_stage: str) -> None:
        raise Gone

    def explain() -> None:
        with _beside() as thread:
            first, _second = thread.start(count), thread.start(count)
            first(ProgressReporter(leave))

    with pytest.raises(Gone):  # would never end otherwise
        explain()
