"""What a session keeps of an assessment: small pictures, enough to draw mask and heatmap anew without a network."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from baa_core import Report
from baa_core.figures import overlay
from baa_core.types import BoolArray, FloatArray

LONGEST_SIDE_PX = 1000


@dataclass(frozen=True, eq=False)
class View:
    """A radiograph at display size, with its mask and heatmap, all (h, w).

    Attributes:
        pixels: float32 in [0, 1], bone bright.
        mask: True on the hand.
        heat: float32 in [0, 1], or None.
    """

    pixels: FloatArray
    mask: BoolArray
    heat: FloatArray | None

    def png(self, with_mask: bool, with_heat: bool, opacity: float) -> bytes:
        """The picture as PNG, with mask outline and heatmap if wanted, opacity 0 to 1."""
        mask = self.mask if with_mask else None
        drawn = overlay(self.pixels, mask, self.heat if with_heat else None, opacity)
        return encode_png(drawn)


def encode_png(picture: np.ndarray) -> bytes:
    """8-bit pixels, (H, W) or (H, W, 3) in RGB order, as PNG."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", ordered)[1].tobytes()


def data_address(png: bytes) -> str:
    """A PNG as an address of its own, so that no picture is ever written to the server's disk."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def view_of(report: Report) -> View:
    """A report's picture at display size, its greys turned the right way."""
    height, width = report.radiograph.shape
    scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = 1.0 - report.radiograph.pixels if report.hand.inverted else report.radiograph.pixels

    def shrink(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    heat = None if report.explanation is None else shrink(report.explanation.heat)
    return View(shrink(pixels), shrink(report.hand.pixels) > 0.5, heat)
