"""The process that decodes untrusted files for `isolated_decoder`: one request after another, until its input ends.

Decoders in C and C++ abort, crash, fill the memory or run for minutes on some damaged streams (seen by fuzzing gdcm
3.2.6, OpenJPEG and libjpeg-turbo). Here that ends this process, not the one that serves others. It may use
`MOST_MEMORY_BYTES` of memory and `MOST_CPU_SECONDS` for each file, and can write no file.

First it says `READY`. Request: `REQUEST` (task, length of the name, length of the data), name, data. Reply: `REPLY`
(length of the JSON text, length of the pixels), JSON, pixels. JSON and no pickle: a decoder that was taken over cannot
take over its parent.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnreadableImage
from ..faults import describe_fault
from .decode import decode_radiograph
from .limits import out_of_memory
from .source import decode_source_header

REQUEST, REPLY = struct.Struct("<cHQ"), struct.Struct("<IQ")
READY = b"!"  # before the first reply: everything is loaded, and what ends the process from then on is a file
RADIOGRAPH, HEADER = b"R", b"H"  # tasks
MOST_MEMORY_BYTES = 4 * 2**30  # of addresses; 50 megapixel of 16-bit colour take about a half of it
# Of processor time for each file. 49.5 megapixels take 4 s as 8-bit PNG and 6 s as 16-bit TIFF (2 GHz, one core).
MOST_CPU_SECONDS = 9
PIPE_BYTES = 2**20  # Linux's default, 64 KiB, costs a switch between the processes for each
F_SETPIPE_SZ = 1031  # of Linux; Python 3.11's fcntl has it on Linux alone


def main() -> None:
    """Answer requests on standard input until it ends. Whatever a library prints goes nowhere."""
    _limit_once()
    requests, replies = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    write_all(replies, READY)
    while head := read_exactly(requests, REQUEST.size):
        task, name_bytes, data_bytes = REQUEST.unpack(head)
        name = bytes(read_exactly(requests, name_bytes)).decode("utf-8", "replace")
        data = bytes(read_exactly(requests, data_bytes))
        _limit_cpu()
        answer, pixels = _answer(task, name, data)
        del data
        said = json.dumps(answer | {"memory_bytes": _memory_bytes()}).encode()
        content = memoryview(b"") if pixels is None else pixels.data.cast("B")
        for part in (REPLY.pack(len(said), content.nbytes), said, content):
            write_all(replies, part)


def read_exactly(stream: IO[bytes], count: int) -> bytearray:
    """So many bytes of an unbuffered stream, or nothing if it ends before."""
    content = bytearray(count)
    return content if read_into(stream, memoryview(content)) else bytearray()


def read_into(stream: IO[bytes], view: memoryview) -> bool:
    """Fill a buffer from an unbuffered stream; False if it ends before."""
    at = 0
    while at < len(view):
        got = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not got:
            return False
        at += got
    return True


def write_all(stream: IO[bytes], content: bytes | memoryview) -> None:
    """Write everything to an unbuffered stream."""
    view = memoryview(content)
    while len(view):
        view = view[stream.write(view) :]


def _answer(task: bytes, name: str, data: bytes) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """What is found in a file, or why it is refused; of an error of this software where it happened."""
    try:
        if task == HEADER:
            header = decode_source_header(data, name)
            return {"header": None if header is None else asdict(header)}, None
        radiograph = decode_radiograph(data, name)
    except UnreadableImage as refusal:
        return {"refused": type(refusal).__name__, "message": str(refusal)}, None
    except MemoryError:
        return {"refused": UnreadableImage.__name__, "message": str(out_of_memory(name))}, None
    except Exception as fault:  # noqa: BLE001 - the parent logs it
        return {"fault": describe_fault(fault)}, None
    return {
        "shape": radiograph.shape,
        "sex_in_file": radiograph.sex_in_file,
        "age_in_file_months": radiograph.age_in_file_months,
        "polarity_stated": radiograph.polarity_stated,
        "cautions": [[caution.code, caution.message] for caution in radiograph.cautions],
    }, np.ascontiguousarray(radiograph.pixels, np.float32)


def _limit_once() -> None:
    """Limits of memory and files, where the system knows them; on Windows the parent's clock alone holds.

    Where a lower limit is set from outside, that one stays.
    """
    try:
        import resource
    except ImportError:
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform != "darwin":  # there a process begins with more addresses than this, and the limit is refused
        limits[resource.RLIMIT_AS] = MOST_MEMORY_BYTES
    for what, most in limits.items():
        most = _lower(most, resource.getrlimit(what)[1])
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        import fcntl

        for stream in (0, 1):  # both ends of a pipe share its size
            with suppress(OSError):  # a user's pipes may have 64 MiB in all: those of about 30 such processes
                fcntl.fcntl(stream, F_SETPIPE_SZ, PIPE_BYTES)


def _limit_cpu() -> None:
    """Give the next file its processor time; the system ends this process (SIGXCPU) when it is used up."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = int(used.ru_utime + used.ru_stime) + MOST_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (_lower(most, hard), hard))


def _lower(most: int, hard: int) -> int:
    """A limit, or the system's own where that is lower; -1 is none (`resource.RLIM_INFINITY`)."""
    return most if hard < 0 else min(most, hard)


def _memory_bytes() -> int:
    """What this process holds now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
