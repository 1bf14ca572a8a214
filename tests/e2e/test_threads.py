"""What runs in a worker thread leaves the process as it was: cores, environment and warnings belong to everybody."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import torch

from baa_core.explanation import lazy_captum as captum_door
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import Patient
from baa_core.workflows.compare import compare

THREADS = 3  # unlike what any machine or test run begins with
EVERYTHING = ("ignore", None, Warning, None, 0)  # what `simplefilter` would leave behind
NAMES = ("li2021",)  # the one that fits a clustering to the picture

CHANGES_MADE_IN = os.environ.__setitem__.__code__.co_filename
changes: list[str] = []
watching = threading.Event()


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Every change of the environment by this package while the test runs, undone or not.

    Libraries set some of their own when they are first imported.
    """
    if watching.is_set() and event in ("os.putenv", "os.unsetenv"):
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == CHANGES_MADE_IN:
            frame = frame.f_back
        if frame is not None and "baa_core" in Path(frame.f_code.co_filename).parts:
            changes.append(f"{event} {arguments[0]!r} in {frame.f_code.co_filename}")


@pytest.fixture
def cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def in_thread(action: object) -> object:
    """What a function returns in a thread begun now."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(action()))  # type: ignore[operator]
    thread.start()
    thread.join()
    return found[0]


def test_only_the_main_thread_lends_captum_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import would leave a font cache in the user's home, but the environment is every thread's."""
    monkeypatch.setenv("MPLCONFIGDIR", "as before")
    monkeypatch.setattr(captum_door, "import_module", lambda _: os.environ["MPLCONFIGDIR"])
    imported = captum_door._imported.__wrapped__
    assert imported() not in ("as before", None)
    assert in_thread(imported) == os.environ["MPLCONFIGDIR"] == "as before"


@pytest.mark.usefixtures("cores")
def test_after_a_comparison_in_a_thread_cores_environment_and_warnings_are_as_before() -> None:
    hand = to_png(draw_phantom(120.0, "female", seed=3, height_px=400).radiograph)
    environment, filters = dict(os.environ), list(warnings.filters)
    sys.addaudithook(watch)
    watching.set()
    (answer,) = in_thread(lambda: list(compare(hand, Patient("female"), NAMES)))  # type: ignore[misc]
    watching.clear()
    assert answer.report is not None and answer.report.explanation is not None
    assert torch.get_num_threads() == THREADS
    assert in_thread(torch.get_num_threads) == THREADS
    assert not changes
    assert {name: os.environ.get(name) for name in environment} == environment
    assert all(each in warnings.filters for each in filters)
    assert EVERYTHING not in warnings.filters
