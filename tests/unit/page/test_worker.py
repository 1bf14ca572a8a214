"""The page's one thread for networks."""

import gc
import platform
import subprocess
import sys
import weakref
from contextlib import suppress
from contextvars import ContextVar
from threading import Thread, current_thread

import pytest

from page.worker import Worker, trim_memory

SESSION: ContextVar[str] = ContextVar("SESSION", default="nobody's")


def test_all_work_runs_in_one_thread_whoever_asks() -> None:
    worker, ran_in = Worker(), set()
    askers = [Thread(target=lambda: ran_in.add(worker.run(current_thread))) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(ran_in) == 1
    assert current_thread() not in ran_in


def test_work_sees_the_session_of_who_asked() -> None:
    SESSION.set("mine")
    assert Worker().run(SESSION.get) == "mine"


def test_a_failure_is_the_askers_and_the_next_one_is_served() -> None:
    worker = Worker()

    def fails() -> None:
        raise KeyboardInterrupt("stopped")

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        worker.run(fails)
    assert worker.run(lambda: 1) == 1


def test_a_refused_picture_is_let_go_at_once() -> None:
    """An error holds the frames it came through, and with them the picture, until it is forgotten itself."""

    class Picture:
        pass

    def refuses(picture: Picture) -> None:
        raise ValueError

    def asks() -> weakref.ref[Picture]:
        picture = Picture()
        with suppress(ValueError):
            worker.run(lambda: refuses(picture))
        return weakref.ref(picture)

    worker = Worker()
    gc.disable()
    try:
        kept = asks()
        worker.run(lambda: None)  # the thread is done with the one before
        assert kept() is None
    finally:
        gc.enable()


def test_memory_can_be_given_back_anywhere() -> None:
    trim_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_two_arenas() -> None:
    """So what one thread gave back is of use to the next one."""
    script = """if 1:
        import ctypes
        from threading import Barrier, Thread
        from page.worker import share_arenas
        share_arenas()
        libc, together = ctypes.CDLL(None), Barrier(8)
        libc.malloc.restype = ctypes.c_void_p
        def take():
            together.wait()
            libc.malloc(1000)
            together.wait()
        threads = [Thread(target=take) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
        libc.fflush(None)
    """
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert 1 <= said.count("<heap nr=") <= 2
