"""The assessor behind the page: loading while the page already answers, and what a visitor hears of failures."""

from __future__ import annotations

import logging
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from baa_core.errors import BoneAgeError
from baa_core.types import Patient, Report

from .text import NEUTRAL

if TYPE_CHECKING:
    from baa_core.pipeline import Assessor

LOG = logging.getLogger("bone_age.page")


class CanAssess(Protocol):
    """What the page needs: `baa_core.pipeline.Assessor`, or one still loading."""

    def assess(self, source: bytes, patient: Patient, **options: Any) -> Report:
        """See `baa_core.pipeline.Assessor.assess`."""


class Loading:
    """An assessor that loads in the background; what goes wrong meanwhile is said at the first picture."""

    def __init__(self, recipe: str) -> None:
        self._ready: Future[Assessor] = ThreadPoolExecutor(max_workers=1).submit(self._load, recipe)

    @staticmethod
    def _load(recipe: str) -> Assessor:
        from baa_core.pipeline import load_assessor  # here: PyTorch takes seconds, and the page need not wait

        assessor = load_assessor(recipe)
        assessor.warm_up()
        return assessor

    def assess(self, source: bytes, patient: Patient, **options: Any) -> Report:
        """Wait until loaded, then assess."""
        return self._ready.result().assess(source, patient, **options)


def sentence_for(error: Exception) -> str:
    """The sentence a visitor sees. An unforeseen error is logged by its kind and place, without any value."""
    if isinstance(error, BoneAgeError):
        return str(error)
    LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return NEUTRAL
