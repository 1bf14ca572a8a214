"""Uploads on their way from Gradio to memory: each in a folder of its own, until it is read.

Gradio names an upload's folder after its content, so equal files of two visitors would be one file, and the first
visitor whose file is read would take the second's away. Here the guard at the door opens a folder for each upload,
and whoever reads the file deletes that folder and nothing else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from uuid import uuid4

_ONE: ContextVar[str | None] = ContextVar("upload", default=None)


class UploadFolder(os.PathLike[str]):
    """Where Gradio puts uploads: within `one()` a folder of that upload's own, else the private folder itself.

    Gradio asks for its folder anew with every request, so this stands in for the text it holds.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __fspath__(self) -> str:
        name = _ONE.get()
        return str(self.root if name is None else self.root / name)

    __str__ = __fspath__

    @contextmanager
    def one(self) -> Iterator[Path]:
        """A new upload, for as long as its request lasts: its own folder."""
        token = _ONE.set(f"upload-{uuid4().hex}")
        try:
            yield Path(self)
        finally:
            _ONE.reset(token)

    def discard(self, path: Path) -> None:
        """Delete the folder of the upload that `path` belongs to; nothing outside the private folder."""
        if self.root not in path.parents:
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
