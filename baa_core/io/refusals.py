"""What every format has in common: its limits, and the sentences with which a file is refused."""

from __future__ import annotations

import struct
import zlib

import cv2
from PIL import Image

from ..errors import UnreadableImage, UnsupportedImage

LEAST_SIDE_PX = 100  # the smallest thumbnails in common use for bone age are 100 x 100
MOST_PIXELS = 50_000_000  # several times the largest detector; beyond it a file is a mistake or an attack
MOST_BYTES = 400 * 2**20  # 50 megapixel of 16-bit colour and some header
MOST_INFLATED_BYTES = 2 * MOST_PIXELS + 2**24  # one grey picture of that size and its header, once unpacked
# What Pillow, OpenCV and Python raise on broken files; fuzzing finds no other.
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error, cv2.error, Image.DecompressionBombError,
)  # fmt: skip


def too_large(name: str, found: str) -> UnsupportedImage:
    """Refuse more than memory and patience allow; `found` says how much."""
    return UnsupportedImage(
        f"{name} is too large ({found}). "
        f"At most {MOST_PIXELS // 10**6} megapixel are read; export it at a smaller size."
    )


def damaged(name: str, kind: str) -> UnreadableImage:
    """Refuse a file that begins as one of its `kind` ("PNG") but does not go on as one."""
    return UnreadableImage(f"{name} is a {kind} file, but it is damaged or cut short. Copy or export it again.")


def check_size(height: int, width: int, name: str) -> None:
    """Judge the size a header claims, in pixels, before anything is decoded.

    Raises:
        UnsupportedImage: a side under 100 px, or over 50 megapixel.
    """
    if height * width > MOST_PIXELS:
        raise too_large(name, f"{width} × {height} px")
    if min(height, width) < LEAST_SIDE_PX:
        raise UnsupportedImage(
            f"{name} is too small ({width} × {height} px). "
            f"Both sides must be at least {LEAST_SIDE_PX} px; choose the radiograph at its original size."
        )


def several(name: str, found: str) -> UnsupportedImage:
    """Refuse a file with more than one picture; `found` says how many of what."""
    return UnsupportedImage(f"{name} holds {found}, but exactly one is expected. Export the one radiograph on its own.")
