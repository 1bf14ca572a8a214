"""What a session keeps of an assessment: small pictures, enough to draw mask and heatmap anew without a network."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from baa_core.figures import Bytes, downsample_for_display, encode_png, hands_picture, overlay
from baa_core.types import BoolArray, FloatArray, HandMask, Radiograph, Report

LONGEST_SIDE_PX = 1000
PNG_HEADER_BYTES = 33  # signature and the IHDR chunk, which comes first


@dataclass(frozen=True, eq=False)
class View:
    """A radiograph at display size, with its mask and heatmap, all (h, w).

    Attributes:
        pixels: float32 in [0, 1], as read.
        inverted: bone is dark in `pixels`.
        mask: True on the hand.
        heat: float32 in [0, 1], or None.
    """

    pixels: FloatArray
    inverted: bool
    mask: BoolArray
    heat: FloatArray | None

    def address(self, with_mask: bool, with_heat: bool, opacity: float, words: str = "") -> str:
        """The picture with the layers wanted, as an address that holds it: nothing is written to the server's disk.

        Args:
            with_mask: outline the hand.
            with_heat: lay the heatmap on it.
            opacity: of the heatmap, 0 to 1.
            words: written into the file, see `captioned`.
        """
        mask, heat = self.mask if with_mask else None, self.heat if with_heat else None
        drawn = overlay(self.pixels, inverted=self.inverted, mask=mask, heat=heat, opacity=opacity)
        return address_of(drawn, words)


def address_of(picture: Bytes, words: str = "") -> str:
    """A picture as an address that holds it, with words in its file if there are any."""
    png = encode_png(picture)
    return "data:image/png;base64," + base64.b64encode(captioned(png, words) if words else png).decode()


def captioned(png: bytes, words: str) -> bytes:
    """A PNG with a description in its metadata (iTXt, after the header): a kept file says what it is."""
    content = b"iTXt" + b"Description\0" + b"\0\0" + b"\0" + b"\0" + words.encode()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:PNG_HEADER_BYTES] + chunk + png[PNG_HEADER_BYTES:]


def hands_address(radiograph: Radiograph, hands: Sequence[HandMask]) -> str:
    """A radiograph with every hand outlined, as an address that holds it."""
    return address_of(hands_picture(radiograph, hands, LONGEST_SIDE_PX))


def view_of(report: Report, longest_side_px: int = LONGEST_SIDE_PX) -> View:
    """A report's picture at display size."""
    pixels, mask, heat = (
        None if layer is None else downsample_for_display(layer, longest_side_px)
        for layer in (report.radiograph.pixels, report.hand.pixels, report.explanation and report.explanation.heat)
    )
    return View(pixels, report.hand.inverted, mask, heat)
