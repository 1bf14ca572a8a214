"""The assessor behind the page: loading while the page already answers, and what a visitor hears of failures."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from baa_core.errors import BoneAgeError
from baa_core.io import start_decoder
from baa_core.types import Patient, Report

from .html import NEUTRAL
from .worker import Worker

if TYPE_CHECKING:
    from baa_core.explanation.report import Panel
    from baa_core.networks.store import NetworkStore
    from baa_core.workflows.assess import Assessor
    from baa_core.workflows.compare import Compared
    from baa_core.workflows.findings import Findings

FIRST_HAND_PX = 500  # height of a drawn hand, large enough for every network of the default system
LOG = logging.getLogger("bone_age.page")


class CanAnswer(Protocol):
    """What the page needs of whatever stands behind it."""

    def assess(self, source: bytes, patient: Patient, **options: Any) -> Report:
        """See `baa_core.workflows.assess.Assessor.assess`."""

    def explain_estimate(self, source: bytes | Findings, patient: Patient, method: str, **options: Any) -> Panel:
        """See `baa_core.workflows.explain.explain_estimate`."""

    def compare(self, source: bytes, patient: Patient, **options: Any) -> Iterator[Compared]:
        """See `baa_core.workflows.compare.compare`."""


class Loading:
    """An assessor that loads in the background, and the one place of the page where networks run.

    One call runs at a time in the whole process, whichever way it came, and all in one thread (`worker`). The queue
    sees to the order; the worker sees to it that nothing passes the queue. Only the drawn hand that is assessed while
    everything loads is assessed in the loading thread, before the first call.

    Args:
        recipe: of Case, Explain, Batch and Learn.
        calibration: a file with a clinic's own calibration of that recipe.
    """

    def __init__(self, recipe: str, calibration: Path | None = None) -> None:
        self._recipe = recipe
        self._calibration = calibration
        self._compared: dict[str, Assessor] = {}
        self._worker = Worker()
        self._begins = ThreadPoolExecutor(max_workers=1)
        self._store: NetworkStore | None = None
        start_decoder()
        self._ready: Future[Assessor] = self._begins.submit(self._load, recipe)

    def _load(self, recipe: str) -> Assessor:
        from baa_core.networks.engine import keep_gradients_in_pytorch
        from baa_core.phantom import draw_phantom, to_png  # here: PyTorch takes seconds, and the page need not wait
        from baa_core.workflows.assess import load_assessor

        keep_gradients_in_pytorch()  # a page stays within 1.5 GB
        assessor = load_assessor(recipe, store=self._open(), local_calibration=self._calibration)
        assessor.warm_up()
        drawn = draw_phantom(120.0, "male", height_px=FIRST_HAND_PX)
        assessor.assess(
            to_png(drawn.radiograph), Patient()
        )  # the engine makes its graphs before a visitor waits for them
        return assessor

    def _open(self) -> NetworkStore:
        """The networks of all systems, each loaded once. Called by the one thread of `_begins` only."""
        from baa_core.networks.store import NetworkStore

        if self._store is None:
            self._store = NetworkStore.of_folder()
        return self._store

    def local_calibration(self) -> str:
        """The version of the local calibration, once it is known to fit the recipe and its weights; "" without one.

        Raises:
            BoneAgeError: it does not fit, or nothing can be loaded.
        """
        return "" if self._calibration is None else self._assessor().versions["local_calibration"]

    def _assessor(self) -> Assessor:
        """The assessor once it is loaded. A failure is not remembered: weights put there meanwhile are found."""
        if self._ready.done() and self._ready.exception() is not None:
            self._ready = self._begins.submit(self._load, self._recipe)
        return self._ready.result()

    def assess(self, source: bytes, patient: Patient, **options: Any) -> Report:
        """Wait until loaded and free, then assess."""
        return self._worker.run(lambda: self._assessor().assess(source, patient, **options))

    def explain_estimate(self, source: bytes | Findings, patient: Patient, method: str, **options: Any) -> Panel:
        """Wait until loaded and free, then explain."""
        from baa_core.workflows.explain import explain_estimate

        return self._worker.run(lambda: explain_estimate(self._assessor(), source, patient, method, **options))

    def compare(self, source: bytes, patient: Patient, **options: Any) -> Iterator[Compared]:
        """Assess by one system after another, one turn for each; each is loaded when its turn comes first."""
        from baa_core.workflows.compare import compare

        answers = compare(source, patient, load=self._comparing, **options)
        while True:
            answer = self._worker.run(lambda: next(answers, None))
            if answer is None:
                return
            yield answer

    def _comparing(self, recipe: str) -> Assessor:
        """A system for comparisons, kept for the next one; what cannot be loaded is not remembered."""
        from baa_core.workflows.compare import load_compared

        if recipe not in self._compared:
            if recipe == self._recipe:
                return self._assessor()
            self._compared[recipe] = load_compared(recipe, self._begins.submit(self._open).result(), self._recipe)
        return self._compared[recipe]


def sentence_for(error: Exception) -> str:
    """The sentence a visitor sees. An unforeseen error is logged by its kind and place, without any value."""
    if isinstance(error, BoneAgeError):
        return str(error)
    LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return NEUTRAL
