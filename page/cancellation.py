"""Long work that the visitor who began it can stop, and nobody else."""

from __future__ import annotations

import math
from threading import Event, Lock
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
    """One visitor's work under way. It looks here between its steps.

    Attributes:
        begun: when the visitor asked for it, by the visitor's own clock, milliseconds.
    """

    def __init__(self, begun: float = 0.0) -> None:
        self.begun = begun
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
    """The work under way, one for each session of the page.

    Requests of one browser can overtake each other on a slow network. So each says when it was made, by the browser's
    clock: a change of the entries stops what was asked for before it, whether that has begun or still waits, and
    leaves alone what was asked for after it.
    """

    def __init__(self) -> None:
        self._of: dict[str, Run] = {}
        self._changed: dict[str, float] = {}
        self._replaced: dict[str, float] = {}
        self._lock = Lock()

    def begin(self, session: str, begun: float = math.inf) -> Run:
        """A session's work begins; what it had under way stops.

        Args:
            session: whose it is.
            begun: when it was asked for; if the entries changed since, the work stops at its first look.
        """
        run = Run(begun)
        with self._lock:
            before, self._of[session] = self._of.get(session), run
            if begun < self._changed.get(session, -math.inf):
                run.stop()
        if before is not None:
            before.stop()
        return run

    def end(self, session: str, run: Run) -> None:
        """A session's work is over, one way or another."""
        with self._lock:
            if self._of.get(session) is run:
                del self._of[session]

    def stop(self, session: str, at: float = math.inf) -> bool:
        """Stop a session's work; True if it had any.

        Args:
            session: whose it is.
            at: when this was asked for; work that was asked for later goes on.
        """
        with self._lock:
            if at < math.inf:
                self._changed[session] = max(at, self._changed.get(session, at))
            run = self._of.get(session)
            if run is None or run.begun >= at:
                return False
            del self._of[session]
        run.stop()
        return True

    def replace(self, session: str, at: float) -> None:
        """Another picture was chosen, or none: stop what was asked for before."""
        self.stop(session, at)
        with self._lock:
            self._replaced[session] = max(at, self._replaced.get(session, at))

    def is_newest(self, session: str, at: float) -> bool:
        """No other picture has been chosen since: what was chosen at that time may be shown."""
        with self._lock:
            return at >= self._replaced.get(session, at)

    def forget(self, session: str) -> None:
        """A session ended: stop its work, keep nothing of it."""
        self.stop(session)
        with self._lock:
            self._changed.pop(session, None)
            self._replaced.pop(session, None)
