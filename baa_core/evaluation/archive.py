"""A zip of radiographs -> its entries, checked without unpacking anything to disk; what is no radiograph is named.

Sizes are counted while an entry is read, never believed: a header may say anything.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import InvalidArchive

MOST_ENTRIES = 500  # radiographs, tables and others; a clinic's afternoon has tens
MOST_RECORDS = 10_000  # entries, folders and hidden files: each is listed before it can be left out
RECORD_START = b"PK\x01\x02"  # of the list at the end of a zip (APPNOTE 6.3.10, 4.3.12)
MOST_ENTRY_BYTES = 100 * 2**20  # as for a single upload of the page
MOST_BYTES = 2 * 2**30  # of all entries unpacked, one after another
MOST_RATIO = 250  # of unpacked to packed; deflate reaches 1000 on zeros, a radiograph on black about 20
RATIO_FROM_BYTES = 2**20  # below it nothing is too much
CHUNK_BYTES = 2**20
ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")  # with entries, without
PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM")
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom"}
TABLE_SUFFIXES = {".csv", ".tsv"}
# What zipfile raises for damage, unknown compression (NotImplementedError) and a password (RuntimeError).
FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


def is_zip(content: bytes) -> bool:
    """Whether bytes begin as a zip does."""
    return content.startswith(ZIP_START)


def is_table(name: str) -> bool:
    """Whether a file is a table by its name."""
    return PurePosixPath(name).suffix.lower() in TABLE_SUFFIXES


def is_picture(name: str, start: bytes) -> bool:
    """Whether a file is meant as a radiograph, by its name or its first 132 bytes; it may be a damaged one."""
    if PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES or start.startswith(PICTURE_STARTS):
        return True
    return start[128:132] == b"DICM" or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


@dataclass(frozen=True)
class Archive:
    """What a zip holds.

    Attributes:
        pictures: path of each radiograph in the zip, in its order.
        tables: path of each table.
        others: path of everything else; folders and the hidden files of operating systems are not named.
        refused: one sentence for each entry that cannot be read.
    """

    pictures: tuple[str, ...]
    tables: tuple[str, ...]
    others: tuple[str, ...]
    refused: tuple[str, ...]


def open_archive(content: bytes, name: str) -> Archive:
    """List a zip; every entry is unpacked once, counted and let go.

    Args:
        content: of the file.
        name: what to call it.

    Raises:
        InvalidArchive: it is damaged, has too many entries, or unpacks to more than it may: nothing of it is used.
    """
    found: dict[str, list[str]] = {"picture": [], "table": [], "other": [], "refused": []}
    total = 0
    if (records := content.count(RECORD_START)) > MOST_RECORDS:  # `ZipFile` would keep a million in memory
        raise _too_many(name, records)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not _is_hidden(entry)]
            if len(entries) > MOST_ENTRIES:
                raise _too_many(name, len(entries))
            seen: set[str] = set()
            for entry in entries:
                path, shown = entry.filename, PurePosixPath(entry.filename).name[:60]
                if path in seen:
                    found["refused"].append(f"{name} holds {shown} twice at one place; the first one is used.")
                    continue
                seen.add(path)
                if entry.flag_bits & 0x1:
                    found["refused"].append(f"{shown} in {name} is locked with a password. Make the zip without one.")
                    continue
                try:
                    start, size = _measure(archive, entry, name)
                except FAULTS:
                    found["refused"].append(f"{shown} in {name} is damaged. Make the zip again.")
                    continue
                total += size
                if total > MOST_BYTES:
                    raise InvalidArchive(
                        f"{name} unpacks to more than {MOST_BYTES // 2**30} GB. Divide it into smaller ones."
                    )
                kind = "table" if is_table(path) else "picture" if is_picture(path, start) else "other"
                found[kind].append(path)
    except InvalidArchive:
        raise
    except FAULTS:
        raise InvalidArchive(f"{name} is no zip that can be read: it is damaged or cut short. Make it again.") from None
    return Archive(*(tuple(found[kind]) for kind in ("picture", "table", "other", "refused")))


def _too_many(name: str, files: int) -> InvalidArchive:
    return InvalidArchive(f"{name} holds {files} files; at most {MOST_ENTRIES} are taken at once. Divide it.")


def read_entry(content: bytes, path: str) -> bytes:
    """One entry of a zip that `open_archive` has checked.

    Raises:
        InvalidArchive: it cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return b"".join(_chunks(archive, next(e for e in archive.infolist() if e.filename == path)))
    except (*FAULTS, StopIteration):
        raise InvalidArchive(
            f"{PurePosixPath(path).name[:60]} cannot be read from its zip. Make the zip again."
        ) from None


def _measure(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> tuple[bytes, int]:
    """The first bytes of an entry and its size, counted.

    Raises:
        InvalidArchive: it is larger than a radiograph can be, or packed more tightly than one can be.
    """
    start, size = b"", 0
    for chunk in _chunks(archive, entry):
        start = (start + chunk[:132])[:132]
        size += len(chunk)
        if size > RATIO_FROM_BYTES and size > MOST_RATIO * max(entry.compress_size, 1):
            raise InvalidArchive(
                f"{name} holds a file that unpacks to over {MOST_RATIO} times its size, as no radiograph does. "
                "Nothing of it was used; make the zip anew from the radiographs alone."
            )
        if size > MOST_ENTRY_BYTES:
            raise InvalidArchive(
                f"{name} holds a file of over {MOST_ENTRY_BYTES // 2**20} MB, larger than any radiograph. "
                "Nothing of it was used; make the zip anew without it."
            )
    return start, size


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _is_hidden(entry: zipfile.ZipInfo) -> bool:
    """A folder, or a file that an operating system puts beside others."""
    parts = PurePosixPath(entry.filename).parts
    return entry.is_dir() or not parts or "__MACOSX" in parts or parts[-1].startswith(".") or (
        parts[-1].lower() in ("thumbs.db", "desktop.ini")
    )  # fmt: skip
