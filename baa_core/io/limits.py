"""What every format has in common: its limits, the sentences with which a file is refused, and whose fault an error is.

A file is called damaged only where its decoder says so, or a checksum. An error of this package's own is no damage, and
goes on as what it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import cv2
from PIL import Image

from ..errors import BoneAgeError, UnreadableImage, UnsupportedImage

LEAST_SIDE_PX = 100  # the smallest thumbnails in common use for bone age are 100 x 100
MOST_ASPECT = 10  # of the longer side to the shorter; beyond it networks would be given squares of gigapixels
MOST_PIXELS = 50_000_000  # several times the largest detector; beyond it a file is a mistake or an attack
MOST_BYTES = 400 * 2**20  # 50 megapixel of 16-bit colour and some header
MOST_INFLATED_BYTES = 2 * MOST_PIXELS + 2**24  # one grey picture of that size and its header, once unpacked
MARKS = {  # how files begin
    b"\x89PNG\r\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}
# Parts of a file whose number costs time. Progressive JPEG has 6 to 10 scans in common use.
MOST_SCANS = 64
MOST_ITEMS = 20_000  # of sequences and fragments in a DICOM file; a picture in fragments of 64 KiB has 6,400
OWN_PACKAGE = __name__.split(".")[0]
DECODERS = {"PIL", "pydicom", "pylibjpeg", "openjpeg", "jpeg_ls", "gdcm", "simplejpeg"}


class Damaged(Exception):
    """A file's content contradicts its header, its length or its checksum; becomes `damaged` within `decoding`."""


class TooManyParts(Exception):
    """A file is made of so many parts that decoding it takes for ever; its text says how many of what."""


# Compiled decoders leave no frame of their own in a traceback. These types come from them alone.
_COMPILED = (Damaged, EOFError, OSError, struct.error, zlib.error, cv2.error, Image.DecompressionBombError)


def of_decoder(fault: BaseException) -> bool:
    """Whether an error was raised by a decoder because of the bytes it was given, not by this package's own code."""
    return isinstance(fault, _COMPILED) or _called(fault.__traceback__) in DECODERS


def _called(trace: TracebackType | None) -> str:
    """The package whose code this package called last before the error; empty if it called none."""
    called = ""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        called = "" if package == OWN_PACKAGE else called or package
        trace = trace.tb_next
    return called


@contextmanager
def decoding(name: str, kind: str, refusal: UnreadableImage | None = None) -> Iterator[None]:
    """Turn what a decoder raises in here into a refusal: `damaged` if no other is given.

    Raises:
        UnreadableImage: the decoder failed, or memory did not suffice.
        Exception: any error of this package's own, unchanged.
    """
    try:
        yield
    except BoneAgeError:
        raise
    except MemoryError as fault:
        raise out_of_memory(name) from fault
    except TooManyParts as fault:
        raise overloaded(name, str(fault)) from fault
    except Exception as fault:
        if not of_decoder(fault):
            raise
        raise refusal or damaged(name, kind) from fault


def too_large(name: str, found: str) -> UnsupportedImage:
    """Refuse more than memory and patience allow; `found` says how much."""
    return UnsupportedImage(
        f"{name} is too large ({found}). "
        f"At most {MOST_PIXELS // 10**6} megapixel are read; export it at a smaller size."
    )


def out_of_memory(name: str) -> UnreadableImage:
    """Refuse what this computer has no memory for; nothing is said against the file."""
    return UnreadableImage(
        f"There was not enough memory to read {name}. Close other programs or export it at a smaller size."
    )


def kind_of(data: bytes) -> str:
    """What a file begins as, for a sentence: "PNG"; "DICOM" if it begins as no picture."""
    begun = (
        kind for mark, kind in MARKS.items() if data.startswith(mark) and (kind != "WebP" or data[8:12] == b"WEBP")
    )
    return next(begun, "DICOM")


def damaged(name: str, kind: str) -> UnreadableImage:
    """Refuse a file that begins as one of its `kind` ("PNG") but does not go on as one."""
    return UnreadableImage(f"{name} is a {kind} file, but it is damaged or cut short. Copy or export it again.")


def undecodable(name: str, way: str) -> UnreadableImage:
    """Refuse a DICOM file whose picture no decoder could decode; `way` says how it is stored."""
    return UnreadableImage(
        f"{name} is a DICOM file whose {way} cannot be decoded: "
        "it is damaged, cut short, or compressed in an unusual way. Export it again, uncompressed or as PNG."
    )


def overloaded(name: str, found: str) -> UnsupportedImage:
    """Refuse a file made of so many parts that reading it takes for ever; `found` says how many of what."""
    return UnsupportedImage(
        f"{name} is made of {found}, as no radiograph is. Export it again, as PNG or as uncompressed DICOM."
    )


def check_size(height: int, width: int, name: str) -> None:
    """Check the size a header claims, in pixels, before anything is decoded.

    Raises:
        UnsupportedImage: a side under 100 px, over 50 megapixel, or one side more than ten times as long as the other.
    """
    if height * width > MOST_PIXELS:
        raise too_large(name, f"{width} × {height} px")
    if min(height, width) < LEAST_SIDE_PX:
        raise UnsupportedImage(
            f"{name} is too small ({width} × {height} px). "
            f"Both sides must be at least {LEAST_SIDE_PX} px; choose the radiograph at its original size."
        )
    if max(height, width) > MOST_ASPECT * min(height, width):
        raise UnsupportedImage(
            f"{name} is a strip ({width} × {height} px), as no radiograph of a hand is. Crop it to the hand."
        )


def several(name: str, found: str) -> UnsupportedImage:
    """Refuse a file with more than one picture; `found` says how many of what."""
    return UnsupportedImage(f"{name} holds {found}, but exactly one is expected. Export the one radiograph on its own.")
