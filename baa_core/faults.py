"""Unexpected errors for whoever mends the software: where they happened, never what the file or the entry held."""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath

LOG = logging.getLogger("baa_core")  # without a handler Python writes its errors to standard error


def log_fault(error: BaseException) -> None:
    """Log an unexpected error with its traceback.

    The messages of the errors are left out, because they may quote the radiograph's header or its file name; so are
    the folders of this machine.
    """
    LOG.error("%s", describe_fault(error))


def describe_fault(error: BaseException) -> str:
    """The types of an error and of what led to it, each with its frames, innermost last; no messages."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < 5:
        frames = traceback.extract_tb(current.__traceback__)
        lines = [f"  {_in_package(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        parts.insert(0, "\n".join([f"Unexpected {type(current).__name__}, raised at:", *lines]))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nThis led to:\n".join(parts)


def _in_package(filename: str) -> str:
    """A source file's path from its package on."""
    parts = PurePath(filename).parts
    for start in ("site-packages", "baa_core"):
        if start in parts:
            place = len(parts) - 1 - parts[::-1].index(start)
            return "/".join(parts[place + (start == "site-packages") :])
    return parts[-1] if parts else filename
