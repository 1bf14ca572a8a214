"""What Gradio keeps of a session, and what it prints: made as short-lived and as silent as this page promises.

Gradio 6.31 keeps every component's value of a session in memory until 32 newer sessions have come, for deep links;
asks its own page once, at start, with three seconds' patience; and quotes a choice that is none with Python's words.
"""

from __future__ import annotations

import datetime
import logging
import os
import threading
import time
from contextlib import suppress
from typing import Any

import gradio as gr
import httpx
from gradio.state_holder import SessionState, StateHolder

from .batch_work import Works
from .security import LOOPBACK
from .uploads import UploadFolder

FORGET_AFTER_SECONDS = 3600  # without any event
FORGET_CLOSED_AFTER_SECONDS = 120  # a connection that broke may come back
LOOK_EVERY_SECONDS = 30
START_SECONDS = 120  # that the page may take to answer itself on a busy machine
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def forget_sessions(holder: StateHolder, now: datetime.datetime | None = None) -> int:
    """Drop what is kept of sessions that ended or were not used for an hour; how many."""
    now = now or datetime.datetime.now()
    old = []
    for name, session in list(holder.session_data.items()):
        used = holder.time_last_used.get(name, now)
        most = FORGET_CLOSED_AFTER_SECONDS if session.is_closed else FORGET_AFTER_SECONDS
        if (now - used).total_seconds() > most:
            old.append(name)
    for name in old:
        holder.delete_state(name)  # calls what each State wants done
        with holder.lock:
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)
    return len(old)


def forget_old_sessions(holder: StateHolder, uploads: UploadFolder) -> None:
    """Do so every half minute, for as long as this process lives; batches and uploads that nobody read go likewise."""

    def look() -> None:
        while True:
            time.sleep(LOOK_EVERY_SECONDS)
            with suppress(Exception):
                forget_sessions(holder)
            with suppress(Exception):
                uploads.discard_waiting()
            for works in list(Works.everybody):
                with suppress(Exception):
                    works.forget_old()

    threading.Thread(target=look, name="forget", daemon=True).start()


def _choice_or_refusal(radio: gr.Radio, payload: Any) -> Any:
    if payload is not None and payload not in [value for _, value in radio.choices]:
        raise gr.Error("This choice is not offered. Choose one of those on the page.", print_exception=False)
    return payload


def answers(url: str) -> bool:
    """Wait until the page answers itself; False if it does not for two minutes."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.head(url, timeout=10, verify=False, trust_env=False).status_code < 500:
                return True
        time.sleep(0.3)
    return False


def harden_gradio() -> None:
    """Change, in this process, what Gradio does otherwise than this page promises."""
    SessionState._update_value_in_config = lambda *_: None  # type: ignore[method-assign]  # only deep links read it
    gr.Radio.preprocess = _choice_or_refusal  # type: ignore[method-assign]
    gr.networking.url_ok = answers
    logging.setLogRecordFactory(_without_controls)


def _without_controls(*given: Any, **named: Any) -> logging.LogRecord:
    """A log record whose values cannot begin a new line or speak to a terminal."""
    record = logging.LogRecord(*given, **named)
    if isinstance(record.args, tuple):
        record.args = tuple(
            value.translate(CONTROLS) if isinstance(value, str) and not record.name.startswith(OWN) else value
            for value in record.args
        )
    return record


OWN = ("baa_core", "bone_age")  # their lines are made of places in the source alone


def no_proxy_for(host: str) -> None:
    """Have requests to this machine go past a proxy that the environment names."""
    for name in ("NO_PROXY", "no_proxy"):
        kept = [part for part in os.environ.get(name, "").split(",") if part.strip()]
        os.environ[name] = ",".join([*kept, *LOOPBACK, host])
