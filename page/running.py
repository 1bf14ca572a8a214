"""Long work that the visitor who began it can stop, and nobody else."""

from __future__ import annotations

from threading import Event
from typing import Protocol


class Stopped(Exception):
    """The visitor asked to stop."""


class HasSession(Protocol):
    """What is needed of `gradio.Request`."""

    session_hash: str | None


def session_of(request: HasSession) -> str:
    """Which visitor asks; one name for all who come without a session, from outside a browser."""
    return request.session_hash or ""


class Run:
    """One visitor's work under way. It looks here between its steps."""

    def __init__(self) -> None:
        self._asked = Event()

    def stop(self) -> None:
        """Ask the work to end at its next look."""
        self._asked.set()

    def look(self) -> None:
        """Go on.

        Raises:
            Stopped: it was asked to end.
        """
        if self._asked.is_set():
            raise Stopped


class Runs:
    """The work under way, one for each session of the page."""

    def __init__(self) -> None:
        self._of: dict[str, Run] = {}

    def begin(self, session: str) -> Run:
        """A session's work begins; what it had under way stops."""
        self.stop(session)
        self._of[session] = run = Run()
        return run

    def end(self, session: str, run: Run) -> None:
        """A session's work is over, one way or another."""
        if self._of.get(session) is run:
            del self._of[session]

    def stop(self, session: str) -> bool:
        """Stop a session's work; True if it had any."""
        run = self._of.pop(session, None)
        if run is not None:
            run.stop()
        return run is not None
