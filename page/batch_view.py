"""Thumbnails of a batch: small radiographs with the hand outlined, as addresses that hold them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from baa_core.errors import BoneAgeError
from baa_core.io import read_radiograph
from baa_core.reporting.charts import hands_picture
from baa_core.reporting.overlays import Bytes, downsample_for_display, encode_jpeg, overlay
from baa_core.types import HandMask, Report

LONGEST_PX = 260  # about 10 kB as JPEG: 500 rows are 5 MB


def thumbnail(report: Report) -> str:
    """An assessed radiograph with the outline of the hand that was read."""
    pixels = downsample_for_display(report.radiograph.pixels, LONGEST_PX)
    mask = downsample_for_display(report.hand.pixels, LONGEST_PX)
    return _address(overlay(pixels, inverted=report.hand.inverted, mask=mask))


def refused_thumbnail(content: bytes, name: str, hands: Sequence[HandMask] = ()) -> str:
    """A refused radiograph, with the outline of every hand if there are several; "" where it cannot be read."""
    try:
        radiograph = read_radiograph(content, name)
    except BoneAgeError:
        return ""
    if hands:
        return _address(hands_picture(radiograph, hands, LONGEST_PX))
    return _address(overlay(downsample_for_display(radiograph.pixels, LONGEST_PX)))


def _address(picture: Bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture)).decode()
