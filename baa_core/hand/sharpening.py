"""Radiograph + hand -> Radiograph with strong edge enhancement undone.

Unsharp masking adds to every pixel a multiple of what it differs by from its blurred surround. The networks learned
from radiographs with little of it. How much there is can be told from the hand's fine detail against its bone-sized
detail, and then the pixels before it follow but for what was clipped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..types import Caution, FloatArray, Radiograph
from .quality import MEASURED_LENGTH_PX, MOST_EDGE_FINENESS, HandGreys, edge_fineness

# Of `Framing.length_px`. Real ones differ: undone with 0.4 and 0.9 % what was done with 0.6 % of a hand's length, the
# months of 30 `val` radiographs and 8 drawn hands still came back (train/RUNS.md).
RADIUS_SHARE = 0.006
USUAL_EDGE_FINENESS = 0.3  # median of 926 `train` and `val` radiographs 0.29, of 8 drawn hands 0.33
MOST_AMOUNT = 6.0
AMOUNT_HALVINGS = 6  # from `MOST_AMOUNT` to a tenth
COARSE_RADIUS_PX = 2.0  # of the blur on a grid that is made coarser for it: a hand of 7,000 px would take minutes
ROUNDS = 12  # leave 0.3 % of a step at an amount of 3

REDUCED = Caution(
    "sharpening_reduced",
    "The edges of this picture were strongly sharpened. The sharpening was undone before the estimate, as far as it "
    "can be; use the original, or an export without edge enhancement, if there is one.",
)


@dataclass(frozen=True)
class Sharpening:
    """Unsharp masking as it was found: pixels + amount * (pixels - blurred pixels).

    Attributes:
        amount: multiple of the detail that was added, above 0.
        radius_px: standard deviation of the blur, on the radiograph's grid.
    """

    amount: float
    radius_px: float


def measure_sharpening(hand_greys: HandGreys) -> Sharpening | None:
    """The unsharp masking that explains how sharp the edges are; None where they are no sharper than usual."""
    pixels, whole, core = hand_greys.with_skin
    if edge_fineness(pixels, whole, core) <= MOST_EDGE_FINENESS:
        return None
    least, most = 0.0, MOST_AMOUNT
    for _ in range(AMOUNT_HALVINGS):
        amount = (least + most) / 2
        before = _without(pixels, Sharpening(amount, RADIUS_SHARE * MEASURED_LENGTH_PX))
        if edge_fineness(before, whole, core) > USUAL_EDGE_FINENESS:
            least = amount
        else:
            most = amount
    return Sharpening((least + most) / 2, RADIUS_SHARE * hand_greys.framing.length_px)


def without_sharpening(radiograph: Radiograph, sharpening: Sharpening | None) -> Radiograph:
    """The radiograph as it was before its edges were sharpened; as it is where they were not."""
    if sharpening is None:
        return radiograph
    return replace(radiograph, pixels=np.clip(_without(radiograph.pixels, sharpening), 0.0, 1.0))


def _without(pixels: FloatArray, sharpening: Sharpening) -> FloatArray:
    """Solve sharpened = before + amount * (before - blurred before), by rounds; it is blurred on a coarse grid."""
    height, width = pixels.shape
    coarser = max(1, int(sharpening.radius_px / COARSE_RADIUS_PX))
    size, radius_px = (max(1, width // coarser), max(1, height // coarser)), sharpening.radius_px / coarser
    small = pixels if coarser == 1 else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    amount, blurred = np.float32(sharpening.amount), cv2.GaussianBlur(small, (0, 0), radius_px)
    for _ in range(ROUNDS):
        blurred = cv2.GaussianBlur((small + amount * blurred) / (1 + amount), (0, 0), radius_px)
    if coarser > 1:
        blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((pixels + amount * blurred) / (1 + amount), np.float32)
