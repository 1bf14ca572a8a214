"""Bytes or a path become a `Radiograph`: PNG, JPEG, TIFF, BMP, WebP and DICOM, told apart by content.

    read_radiograph ─► isolated_decoder ═ another process ═► decoder_process ─► decode ─┐
        ┌───────────────────────────────────────────────────────────────────────────────┘
        ├─► raster (Pillow, OpenCV) ─┬─► grayscale (one channel, 0 to 1) ─► gridlines
        └─► dicom (pydicom)         ─┴─► refusals (limits, sentences)

Whatever decodes or parses a file runs in another process, with limits of memory and time. Sizes are checked in the
header before anything is decoded. Damaged files are refused, never half shown.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ..errors import UnreadableImage
from ..types import ManualEdits, Radiograph
from .edits import apply_edits, box_in_file
from .isolated_decoder import decode_apart, read_source_header, start_decoder
from .limits import MOST_BYTES, too_large
from .source import SourceHeader

__all__ = [
    "SourceHeader",
    "apply_edits",
    "box_in_file",
    "read_bytes",
    "read_radiograph",
    "read_source_header",
    "shown_name",
    "start_decoder",
]


def read_radiograph(
    source: str | os.PathLike[str] | bytes, name: str | None = None, edits: ManualEdits | None = None
) -> Radiograph:
    """Read one radiograph from a file or from bytes.

    The format is told by content, never by extension. Colour becomes luminance, transparency becomes black, EXIF
    orientation is applied, 16 bits are kept. For DICOM the modality and VOI transformations (or window) are applied and
    MONOCHROME1 is inverted. The values are then stretched so that the picture's darkest is 0 and its brightest 1: files
    seldom say which part of their range the detector used (12 bits in 16, say), so its own range is the only one
    that gives the same radiograph, stored in different ways, the same numbers. The lines of an alignment grid are
    filled in.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in messages; a path's last part or "radiograph" if not given.
        edits: what is done to it by hand, last.

    Returns:
        Pixels (H, W), float32 in [0, 1]. Bone is bright if the file states its polarity (`polarity_stated`);
        otherwise polarity is as found, for the hand network to judge.

    Raises:
        UnreadableImage: missing, empty, damaged, or not an image; the decoder crashed or ran out of memory.
        UnsupportedImage: several frames, a side under 100 px, over 50 megapixel, one constant grey, values that
            are no numbers, or a colour photograph; decoding it takes longer than any radiograph.
        InvalidEdits: see `apply_edits`.
    """
    data, name = read_bytes(source, name)
    return apply_edits(decode_apart(data, name), edits or ManualEdits())


def read_bytes(source: str | os.PathLike[str] | bytes, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of a file, and a printable name without folders.

    Raises:
        UnreadableImage: missing, empty, or too large.
    """
    given = name or ("radiograph" if isinstance(source, bytes) else os.fspath(source))
    shown = shown_name(str(given))
    data = source if isinstance(source, bytes) else _file_bytes(Path(source), shown)
    if not data:
        raise UnreadableImage(
            f"{shown} is empty (zero bytes). Copy or export the radiograph again and choose that file."
        )
    if len(data) > MOST_BYTES:
        raise too_large(shown, f"{len(data) / 2**20:.0f} MB")
    return data, shown


def shown_name(file: str) -> str:
    """A file's name for a sentence: printable, without folders."""
    base = PurePosixPath(file.replace("\\", "/")).name
    return "".join(letter for letter in base if letter.isprintable())[:100] or "radiograph"


def _file_bytes(path: Path, name: str) -> bytes:
    try:
        if not path.is_file():
            raise UnreadableImage(f"There is no file called {name} where it was looked for. Check its name and folder.")
        if path.stat().st_size > MOST_BYTES:
            raise too_large(name, f"{path.stat().st_size / 2**20:.0f} MB")
        return path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a null character in the path
        raise UnreadableImage(f"{name} could not be opened. Check that it exists and that you may read it.") from fault
