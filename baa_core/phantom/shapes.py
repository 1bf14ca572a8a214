"""Outlines of bones in a bone's own frame, and how to carry them into the hand.

Own frame: `along` runs from the growth plate's joint surface into the shaft, `across` to the side. Lengths are hand
units. All outlines are closed polygons (N, 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
FarEnd = Literal["condyles", "flat", "tuft"]


def smooth(points: Sequence[tuple[float, float]] | Points, per_segment: int = 6) -> Points:
    """A closed curve through the points (uniform Catmull-Rom), `per_segment` vertices between neighbours."""
    knots = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    t = (np.arange(per_segment) / per_segment)[None, :, None]
    p0, p1, p2, p3 = (array[:, None, :] for array in (before, knots, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.asarray(curve.reshape(-1, 2))


def _both_sides(side: Sequence[tuple[float, float]]) -> Points:
    """A half outline (along, across > 0), from one end on the axis to the other, mirrored to a whole one."""
    half = np.asarray(side, dtype=np.float64)
    back = half[::-1][1:-1] * [1.0, -1.0]
    return smooth(np.concatenate([half, back]))


def shaft(start: float, end: float, plate_half: float, waist_half: float, far_half: float, far_end: FarEnd) -> Points:
    """A waisted shaft: flared metaphysis at `start`, waist past the middle, joint end at `end`."""
    length = end - start
    flare = (  # along (share of length), shares of the three half widths
        (0.000, 0.00, 0.0, 0.0),
        (-0.004, 0.55, 0.0, 0.0),
        (0.000, 0.88, 0.0, 0.0),
        (0.030, 1.00, 0.0, 0.0),
        (0.100, 0.90, 0.1, 0.0),
        (0.210, 0.48, 0.52, 0.0),
        (0.350, 0.16, 0.84, 0.0),
        (0.540, 0.00, 1.00, 0.0),
        (0.700, 0.00, 0.86, 0.14),
        (0.820, 0.00, 0.38, 0.62),
    )
    ends: dict[FarEnd, tuple[tuple[float, float], ...]] = {  # along, share of the far half width
        "condyles": ((0.905, 0.98), (0.960, 0.98), (0.992, 0.76), (0.998, 0.42), (0.982, 0.0)),
        "flat": ((0.900, 0.96), (0.960, 1.00), (0.993, 0.84), (1.000, 0.42), (0.994, 0.0)),
        "tuft": ((0.860, 0.80), (0.925, 1.00), (0.975, 0.84), (0.998, 0.44), (1.000, 0.0)),
    }
    side = [(start + u * length, a * plate_half + b * waist_half + c * far_half) for u, a, b, c in flare]
    side += [(start + u * length, share * far_half) for u, share in ends[far_end]]
    return _both_sides(side)


def disc(top: float, thickness: float, half: float, capping: float) -> Points:
    """The epiphysis of a phalanx: a lens when young, a disc as wide as the shaft, then a cap with horns."""
    horn = thickness * (0.92 + 0.42 * capping)
    side = (
        (top + 0.10 * thickness * capping, 0.0),
        (top, 0.50 * half),
        (top + 0.06 * thickness, 0.84 * half),
        (top + 0.42 * thickness, 1.00 * half),
        (top + 0.78 * horn, 0.99 * half),
        (top + horn, 0.88 * half),
        (top + thickness * (0.98 + 0.03 * capping), 0.50 * half),
        (top + 1.04 * thickness, 0.0),
    )
    return _both_sides(side)


def dome(top: float, height: float, half: float) -> Points:
    """The round head of a metacarpal, flat towards its plate."""
    side = (
        (top, 0.0),
        (top + 0.05 * height, 0.42 * half),
        (top + 0.22 * height, 0.80 * half),
        (top + 0.55 * height, 1.00 * half),
        (top + 0.88 * height, 0.97 * half),
        (top + 1.00 * height, 0.78 * half),
        (top + 0.97 * height, 0.40 * half),
        (top + 1.04 * height, 0.0),
    )
    return _both_sides(side)


def bridge(start: float, end: float, half: float) -> Points:
    """Bone across a growth plate, centred on the axis."""
    return np.array([(start, -half), (start, half), (end, half), (end, -half)])


def shrunk(outline: Points, size: float, roundness: float) -> Points:
    """An outline scaled about its centre by `size` and pulled towards the ellipse of the same extent.

    Args:
        outline: closed polygon (N, 2) of the adult bone.
        size: 0 to 1, in length.
        roundness: 0 keeps the adult shape, 1 is an ellipse: young bone is a round dot.
    """
    centre = (outline.min(0) + outline.max(0)) / 2
    half = np.ptp(outline, axis=0) / 2
    offset = outline - centre
    reach = np.linalg.norm(offset / half, axis=1, keepdims=True)
    ellipse = 0.94 * offset / np.maximum(reach, 1e-9)
    return np.asarray(centre + size * ((1 - roundness) * offset + roundness * ellipse))


def place(outline: Points, origin: Points, direction: Points) -> Points:
    """From a bone's own frame into the hand: `along` runs from `origin` along the unit vector `direction`."""
    normal = np.array([-direction[1], direction[0]])
    return np.asarray(origin + outline[:, :1] * direction + outline[:, 1:] * normal)
