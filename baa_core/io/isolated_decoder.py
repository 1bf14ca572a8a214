"""Decode untrusted files in a process of their own, which is kept for the next file; see `decoder_process` for why.

A file that crashes the decoder, or takes more memory or time than any radiograph, is refused by name, and the process
is replaced. So is one that has grown, or has decoded `MOST_FILES`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import BoundedSemaphore, Lock, Timer
from typing import Any

import numpy as np

from .. import errors
from ..errors import UnreadableImage, UnsupportedImage
from ..types import Caution, FloatArray, Radiograph
from .decoder_process import (
    HEADER,
    MOST_CPU_SECONDS,
    RADIOGRAPH,
    READY,
    REPLY,
    REQUEST,
    read_exactly,
    read_into,
    write_all,
)
from .dicom import dicom_start
from .limits import MOST_PIXELS, damaged, kind_of, out_of_memory, undecodable
from .source import SourceHeader

LOG = logging.getLogger("baa_core")
ROOT = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from baa_core.io.decoder_process import main; main()"
MOST_DECODERS = 2  # at the same time: one file that takes its whole time does not make the others wait
MOST_SECONDS = 60  # by the clock; on a busy machine processor time comes slowly
MOST_START_SECONDS = 120  # until a new process is ready, which is no file's fault
MOST_FILES = 1000  # decoded by one process: decoders may leak
MOST_IDLE_BYTES = 600 * 2**20  # held by a process that waits; after importing it is about 120 MB
MOST_REPLY_BYTES = 2**20  # of JSON
KILLED = (-9, -15)  # by somebody else, perhaps not because of this file: it is tried once more


class DecoderFault(RuntimeError):
    """An error of this software in the decoding process. It was logged there by its place."""


class _Ended(Exception):
    """The process ended before it replied."""


class _Decoder:
    """One decoding process."""

    def __init__(self) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **threads, "OPENCV_FOR_THREADS_NUM": "1"},
            start_new_session=True,  # Ctrl+C is for the parent, which closes the input
        )
        self._files = 0
        self._memory_bytes = 0
        self.timed_out = False
        self.ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def fresh(self) -> bool:
        """It may decode another file."""
        return self._process.poll() is None and self._files < MOST_FILES and self._memory_bytes < MOST_IDLE_BYTES

    def ask(self, task: bytes, data: bytes, name: str) -> tuple[dict[str, Any], FloatArray | None]:
        """Its answer about a file.

        Raises:
            _Ended: it crashed, was killed, or was ended for the time it took.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise _Ended
        try:
            if not self.ready:
                with self._at_most(MOST_START_SECONDS):
                    self.ready = _expect(read_exactly(stdout, len(READY))) == READY
            with self._at_most(MOST_SECONDS):
                encoded = name.encode("utf-8", "replace")[:1000]
                write_all(stdin, REQUEST.pack(task, len(encoded), len(data)) + encoded)
                write_all(stdin, data)
                said_bytes, pixel_bytes = REPLY.unpack(_expect(read_exactly(stdout, REPLY.size)))
                if said_bytes > MOST_REPLY_BYTES or pixel_bytes > 4 * MOST_PIXELS:
                    raise _Ended
                answer: dict[str, Any] = json.loads(_expect(read_exactly(stdout, said_bytes)))
                pixels = None
                if pixel_bytes:
                    height, width = answer["shape"]
                    if 4 * height * width != pixel_bytes:
                        raise _Ended
                    pixels = np.empty((height, width), np.float32)
                    if not read_into(stdout, pixels.data.cast("B")):
                        raise _Ended
            self._files += 1
            self._memory_bytes = int(answer["memory_bytes"])
        except (OSError, ValueError, KeyError, TypeError) as fault:  # a closed pipe, or a reply that is none
            raise _Ended from fault
        return answer, pixels

    @contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        """End the process when it takes longer."""
        clock = Timer(seconds, self._stop_late)
        clock.daemon = True
        clock.start()
        try:
            yield
        finally:
            clock.cancel()

    def _stop_late(self) -> None:
        self.timed_out = True
        self._process.kill()

    def end(self) -> int:
        """End it at once; how it ended, as `subprocess` says it."""
        self.forget()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.2)  # as its input ended, or by itself
        self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """Close this side's ends of the pipes; the process ends when it finds no further request."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _expect(content: bytearray) -> bytearray:
    if not content:
        raise _Ended
    return content


class _Pool:
    """The decoding processes of this process: started when needed, kept while they are fresh."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[_Decoder] = []
        self._places = BoundedSemaphore(MOST_DECODERS)

    def start(self) -> None:
        """Have one ready, without waiting for it."""
        with self._lock:
            if not self._idle:
                self._idle.append(_Decoder())

    def pids(self) -> list[int]:
        """Of the processes that wait."""
        with self._lock:
            return [decoder.pid for decoder in self._idle]

    def ask(self, task: bytes, data: bytes, name: str) -> tuple[dict[str, Any], FloatArray | None]:
        """A decoder's answer.

        Raises:
            UnreadableImage: the decoder did not survive the file.
        """
        with self._places:
            for attempt in (1, 2):
                decoder = self._take()
                try:
                    answer = decoder.ask(task, data, name)
                except _Ended:
                    status = decoder.end()
                    self.start()  # the next file need not wait for it
                    if attempt == 1 and status in KILLED and not decoder.timed_out:
                        continue
                    if not decoder.ready:  # why, its traceback on standard error says
                        raise DecoderFault("the decoding process did not start") from None
                    raise _refusal(data, name, status, decoder.timed_out) from None
                except BaseException:  # the caller was interrupted in the middle of an answer
                    decoder.end()
                    raise
                if decoder.fresh:
                    with self._lock:
                        self._idle.append(decoder)
                else:
                    decoder.end()
                    self.start()
                return answer
        raise AssertionError("the second attempt answers or raises")

    def _take(self) -> _Decoder:
        while True:
            with self._lock:
                decoder = self._idle.pop() if self._idle else None
            if decoder is None:
                return _Decoder()
            if decoder.fresh:
                return decoder
            decoder.end()

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            decoders, self._idle = self._idle, []
        for decoder in decoders:
            decoder.end()

    def forget_all(self) -> list[_Decoder]:
        """In a process that was forked from this one: leave the decoders to the parent."""
        decoders, self._idle = self._idle, []
        self._lock, self._places = Lock(), BoundedSemaphore(MOST_DECODERS)
        for decoder in decoders:
            decoder.forget()
        return decoders


_POOL = _Pool()
_OF_PARENT: list[_Decoder] = []  # kept, as subprocess warns of a process that is let go while it runs
atexit.register(_POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _OF_PARENT.extend(_POOL.forget_all()))


def start_decoder() -> None:
    """Have a decoding process ready before the first file comes; returns at once."""
    _POOL.start()


def decoder_pids() -> list[int]:
    """The decoding processes that wait for a file, for those who measure."""
    return _POOL.pids()


def decode_apart(data: bytes, name: str) -> Radiograph:
    """Decode a whole file in a process of its own, as `read_radiograph` describes it.

    Raises:
        UnreadableImage: see `read_radiograph`; also if the decoder crashed or took too long.
        DecoderFault: an error of this software.
    """
    answer, pixels = _checked(*_POOL.ask(RADIOGRAPH, data, name))
    if pixels is None:
        raise DecoderFault("a reply without pixels")
    return Radiograph(
        pixels=pixels,
        name=name,
        sex_in_file=answer["sex_in_file"],
        age_in_file_months=answer["age_in_file_months"],
        polarity_stated=bool(answer["polarity_stated"]),
        cautions=tuple(Caution(code, message) for code, message in answer["cautions"]),
    )


def read_source_header(data: bytes, name: str) -> SourceHeader | None:
    """The header of a DICOM file, parsed in a process of its own; None if the bytes are none.

    Raises:
        UnreadableImage: a damaged DICOM file.
        DecoderFault: an error of this software.
    """
    if dicom_start(data) is None:
        return None
    answer, _ = _checked(*_POOL.ask(HEADER, data, name))
    header = answer["header"]
    return None if header is None else SourceHeader(**header | {"orientation": tuple(header["orientation"])})


def _checked(answer: dict[str, Any], pixels: FloatArray | None) -> tuple[dict[str, Any], FloatArray | None]:
    """An answer that is none of an error."""
    if "fault" in answer:
        LOG.error("In the decoding process: %s", answer["fault"])
        raise DecoderFault("the decoding process failed")
    if "refused" in answer:
        kind = getattr(errors, str(answer["refused"]), None)
        is_refusal = isinstance(kind, type) and issubclass(kind, UnreadableImage)
        raise (kind if is_refusal else UnreadableImage)(str(answer["message"]))  # type: ignore[misc]
    return answer, pixels


def _refusal(data: bytes, name: str, status: int, timed_out: bool) -> UnreadableImage:
    """Why a file is refused whose decoder ended with this status."""
    if timed_out or status == -getattr(signal, "SIGXCPU", 0):
        return UnsupportedImage(
            f"{name} takes longer to decode than any radiograph (over {MOST_CPU_SECONDS} seconds). "
            "Export it again, as PNG or as uncompressed DICOM."
        )
    if status == -9:  # by the system, which ran out of memory
        return out_of_memory(name)
    kind = kind_of(data)
    return undecodable(name, "picture") if kind == "DICOM" else damaged(name, kind)
