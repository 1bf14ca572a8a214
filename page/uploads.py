"""Uploads on their way from Gradio to memory: each in a folder of its own, until it is read.

Gradio names an upload's folder after its content, so equal files of two visitors would be one file, and the first
visitor whose file is read would take the second's away. Here the guard at the door opens a folder for each upload,
and whoever reads the file deletes that folder and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from uuid import uuid4

FOLDER_PREFIX = "bone-age-uploads-"
OWN_NAME = re.compile(rf"{FOLDER_PREFIX}[a-z0-9_]{{8}}")  # as `tempfile.mkdtemp` makes it: no folder of anybody else
MOST_BYTES = 2 * 2**30  # of the disk, for all uploads that are under way or wait to be read
WAITS_SECONDS = 300  # for an upload to be read; the page reads it at once, behind those of at most 16 visitors
# For one whose event waits in the queue, behind 16 others: an explanation takes 30 s on two cores, and three times as
# long beside busy processes (docs/speed.md).
QUEUED_SECONDS = 1800
_ONE: ContextVar[str | None] = ContextVar("upload", default=None)


def make_private_folder() -> Path:
    """A new folder for this process alone; those that ended processes left behind are deleted.

    A process holds a lock on its folder as long as it lives, so that `kill -9` leaves nothing for longer than until
    the next start. Without such locks (Windows) other folders are left alone.
    """
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX)).resolve()
    with suppress(ImportError):
        import fcntl

        _hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
            with suppress(OSError):  # held by its process, or another one deletes it at the same time
                if other != folder and OWN_NAME.fullmatch(other.name) and _is_old_and_own(other):
                    descriptor = _hold(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(other, ignore_errors=True)
                    os.close(descriptor)
    return folder


def _hold(folder: Path, how: int) -> int:
    """Lock a folder, for as long as the descriptor is open; OSError if another process has."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_old_and_own(folder: Path) -> bool:
    """A folder and no link, of this user alone, and not made just now by a process that has not locked it yet."""
    said = folder.lstat()
    private = stat.S_ISDIR(said.st_mode) and stat.S_IMODE(said.st_mode) == 0o700
    return private and said.st_uid == os.getuid() and time.time() - said.st_mtime > 5


class UploadFolder(os.PathLike[str]):
    """Where Gradio puts uploads: within `one()` a folder of that upload's own, else the private folder itself.

    Gradio asks for its folder anew with every request, so this stands in for the text it holds.
    """

    PREFIX = "upload-"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = Lock()
        self._arriving: dict[str, int] = {}  # folder of an upload under way, and the bytes it may have
        self._queued: set[str] = set()  # folders of uploads whose event waits in the queue

    def __fspath__(self) -> str:
        name = _ONE.get()
        return str(self.root if name is None else self.root / name)

    __str__ = __fspath__

    @contextmanager
    def one(self, expected_bytes: int = 0) -> Iterator[Path | None]:
        """A new upload, for as long as its request lasts: its own folder; None where the disk's share is used up."""
        name = f"{self.PREFIX}{uuid4().hex}"
        with self._lock:
            if expected_bytes + sum(self._arriving.values()) + self._held_bytes() > MOST_BYTES:
                name = ""
            else:
                self._arriving[name] = expected_bytes
        if not name:
            yield None
            return
        token = _ONE.set(name)
        try:
            yield self.root / name
        finally:
            _ONE.reset(token)
            with self._lock:
                self._arriving.pop(name, None)

    def _held_bytes(self) -> int:
        """Of uploads that have arrived and were not read yet; one that is read meanwhile may count or not."""
        total = 0
        for folder in self.root.glob(f"{self.PREFIX}*"):
            if folder.name in self._arriving:
                continue
            for parent, _, names in os.walk(folder):  # goes on where a folder is deleted meanwhile
                for name in names:
                    with suppress(OSError):
                        total += os.stat(Path(parent, name)).st_size
        return total

    def names_in(self, folder: Path, answer: bytes) -> bytes | None:
        """Gradio's answer to an upload, JSON paths of files, without the folders of this machine.

        None if a file lies outside the upload's own folder, as with a name of dots alone.
        """
        names = []
        for text in json.loads(answer or b"[]"):
            path = Path(text)
            if folder not in path.parents or ".." in path.parts or not path.is_file():
                return None
            names.append(str(path.relative_to(self.root)))
        return json.dumps(names).encode()

    def whole_path(self, name: str) -> str:
        """The path of an upload by its name in an answer; any other text as it is."""
        return str(self.root / name) if name.startswith(self.PREFIX) else name

    def await_event(self, names: Iterable[str]) -> None:
        """Uploads, by their names in an answer, that an event in the queue will read."""
        with self._lock:
            self._queued |= {name.partition("/")[0] for name in names}

    def discard_waiting(self, seconds: float = WAITS_SECONDS, queued_seconds: float = QUEUED_SECONDS) -> None:
        """Delete uploads that nobody read: their visitor is gone, or the queue was full."""
        now, folders = time.time(), list(self.root.glob(f"{self.PREFIX}*"))
        with self._lock:
            self._queued &= {folder.name for folder in folders}
        for folder in folders:
            with suppress(OSError), self._lock:
                most = queued_seconds if folder.name in self._queued else seconds
                if folder.name not in self._arriving and now - folder.stat().st_mtime > most:
                    shutil.rmtree(folder, ignore_errors=True)

    def discard(self, path: Path) -> None:
        """Delete the folder of the upload that `path` belongs to; nothing outside the private folder."""
        if self.root not in path.parents or ".." in path.parts:
            return
        top = self.root / path.relative_to(self.root).parts[0]
        if top.is_dir():
            shutil.rmtree(top, ignore_errors=True)
        else:
            top.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete the empty files that gr.File leaves beside the uploads, one for each it hands over."""
        for stray in self.root.glob("tmp*"):
            if stray.is_file() and stray.stat().st_size == 0:
                stray.unlink(missing_ok=True)


def take_upload(path: str, folder: UploadFolder) -> tuple[str, bytes]:
    """The name and bytes of an uploaded file, which is deleted from disk.

    Args:
        path: where Gradio put it: in a folder of its own under `folder`.
        folder: the private folder for uploads.
    """
    file = Path(path)
    content = file.read_bytes()
    folder.discard(file)
    folder.sweep()
    return file.name, content


def take_uploads(paths: Sequence[str], folder: UploadFolder) -> list[tuple[str, bytes]]:
    """`take_upload` of several files that one request brought: they share a folder, so all are read before it goes."""
    taken = [(Path(path).name, Path(path).read_bytes()) for path in paths]
    for path in paths:
        folder.discard(Path(path))
    folder.sweep()
    return taken
