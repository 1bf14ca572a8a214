"""Region of a hand -> the region without what is no hand: thin bridges and strips, and background.

A network's outline may take in a lead marker, the edge of the collimated field, or a piece of background beside the
hand. What each of these has that no part of a hand has is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..preprocessing.picture import box_of
from ..types import BoolArray, FloatArray

BRIDGE_SHARE = 0.006  # half the width of the widest bridge that is cut, of the picture's longer side
# Half the width of the widest strip that is cut, of the palm's radius. Of 25 sharp `val` outlines 24 stay as they are
# at 0.10, and one with an edge of the field loses 1 %; at 0.13 one finger loses a little, at 0.16 many.
STRIP_SHARE = 0.11
# Of the angle between a part beyond a thinner place and its direction from the palm. Of 926 sharp `train` and `val`
# radiographs three had lost a finger (0.95 to 1.0); edges of the field have at most 0.7. In 600 synthetic collimated
# frames 19 of 25 lost parts of fingers lie above it, and 2 of 15 of something else.
FINGER_COSINE = 0.94
BRIDGE_GRID_PX = 512  # bridges are looked for on a grid as coarse as the network's
PALM_GRID_PX = 256  # palms are measured on a grid this coarse
# Background in an outline. Lengths in pixels of a grid on which the palm's circle has `PALM_PX` as its radius.
PALM_PX = 50.0
LONGEST_PX = 1024  # of that grid: a hand is shorter on it, a region that is none may be long and thin
SMOOTHED_PX = 1.5
BESIDE_FROM_TO_PX = (4, 20)  # around the outline: background
COARSER = 4  # how many times coarser the grid is on which they are carried
SPREAD_PX = 12.0  # over which the greys of background are carried into the outline
LEAST_SPREAD = 0.02  # of these greys at a place: farther in there is nothing to compare with
MOST_CONTRAST_SHARE = 0.2  # of the step from background to the hand's median grey
LEAST_STEP = 0.02  # of full brightness
NARROWEST_PX = 2  # half the width of the narrowest part that is cut off
LEAST_AREA_PALMS = 0.03  # of the square of the palm's radius


def without_background(region: BoolArray, pixels: FloatArray) -> BoolArray:
    """A region without parts at its rim that are as dark as the background beside them.

    Args:
        region: of the hand, (H, W).
        pixels: bone bright, (H, W).
    """
    top, left, bottom, right = box_of(region)
    scale = PALM_PX / max(_palm_radius_px(region[top:bottom, left:right]), 1.0)
    around = int(np.ceil((BESIDE_FROM_TO_PX[1] + 1) / scale))
    box = np.s_[max(0, top - around) : bottom + around, max(0, left - around) : right + around]
    height, width = region[box].shape
    scale = min(scale, LONGEST_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels[box], size, interpolation=how)
    greys = np.asarray(cv2.GaussianBlur(small, (0, 0), SMOOTHED_PX), np.float32)
    inside = cv2.resize(region[box].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    middle = float(np.median(greys[inside]))
    beside = (away > BESIDE_FROM_TO_PX[0]) & (away <= BESIDE_FROM_TO_PX[1]) & (greys < middle)
    background, spread = _carried(greys, beside)
    limit = background + MOST_CONTRAST_SHARE * np.maximum(middle - background, LEAST_STEP)
    dark = (inside & (spread > LEAST_SPREAD) & (greys < limit)).astype(np.uint8)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(dark, cv2.MORPH_OPEN, disc(NARROWEST_PX))
    )
    large = [
        number for number in range(1, count) if statistics[number, cv2.CC_STAT_AREA] > LEAST_AREA_PALMS * PALM_PX**2
    ]
    if not large:
        return region
    gone = dark & cv2.dilate(np.isin(parts, large).astype(np.uint8), disc(NARROWEST_PX))
    kept = np.array(region)
    kept[box] &= cv2.resize(gone, (width, height), interpolation=cv2.INTER_NEAREST) == 0
    _, regions, sizes, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8))
    return np.asarray(regions == 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA])), np.bool_)


def _palm_radius_px(region: BoolArray) -> float:
    """Of the largest circle in a region, measured on a coarse grid."""
    height, width = region.shape
    scale = min(1.0, PALM_GRID_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    coarse = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return float(cv2.distanceTransform(np.pad(coarse, 1), cv2.DIST_L2, 5).max() / scale)


def _carried(greys: FloatArray, where: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Greys of some places carried to the others by a wide blur, and how much of them arrives there, both (H, W)."""
    size = (greys.shape[1], greys.shape[0])
    coarse = tuple(max(1, length // COARSER) for length in size)
    weight = cv2.resize(where.astype(np.float32), coarse, interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(np.where(where, greys, np.float32(0)), coarse, interpolation=cv2.INTER_AREA)
    weight, weighted = (cv2.GaussianBlur(each, (0, 0), SPREAD_PX / COARSER) for each in (weight, weighted))
    carried = cv2.resize(weighted / np.maximum(weight, 1e-4), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(carried, np.float32), np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR))


def disc(radius: int) -> NDArray[Any]:
    """A filled circle as a kernel."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def without_bridges(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The main part of a region, without what hangs on it by a bridge thinner than a finger, such as a lead marker."""
    height, width = region.shape
    scale = min(1.0, BRIDGE_GRID_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    radius = max(1, round(BRIDGE_SHARE * max(size)))
    kernel = disc(radius)
    coarse = cv2.resize(region, size, interpolation=cv2.INTER_NEAREST)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(coarse, cv2.MORPH_OPEN, kernel))
    if count <= 2:
        return region
    main = (parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    near = cv2.resize(cv2.dilate(main, kernel), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.minimum(region, near), np.uint8)


def without_strips(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A region without what is thinner than any finger, such as the edge of the field that starts at the wrist.

    A part beyond such a thin place that points away from the palm is a finger, and stays.
    """
    height, width = region.shape
    scale = min(1.0, BRIDGE_GRID_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    coarse = cv2.resize(255 * region, size, interpolation=cv2.INTER_AREA) // 128
    rim = BRIDGE_GRID_PX // 16
    coarse = np.pad(coarse, rim)  # so that a strip along the frame's edge is thin too
    depth = cv2.distanceTransform(coarse, cv2.DIST_L2, 5)
    radius = round(STRIP_SHARE * float(depth.max()))
    if radius < 1:
        return region
    kernel = disc(radius)
    top, left, bottom, right = box_of(coarse > 0)
    around = radius + 1  # of nothing, so that the cut does not tell
    box = np.s_[max(0, top - around) : bottom + around, max(0, left - around) : right + around]
    opened = cv2.morphologyEx(coarse[box], cv2.MORPH_OPEN, kernel)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return region
    main = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    kept = cv2.dilate((parts == main).astype(np.uint8), kernel) > 0
    _, beyond = cv2.connectedComponents(np.where(kept, 0, coarse[box]).astype(np.uint8))
    palm = np.unravel_index(int(np.argmax(depth[box])), opened.shape)
    for number in np.setdiff1d(beyond[(opened > 0) & ~kept], 0):
        if _points_away(beyond == number, palm):
            kept |= beyond == number
    near = np.zeros_like(coarse)
    near[box] = kept
    near = near[rim:-rim, rim:-rim]
    return np.asarray(np.minimum(region, cv2.resize(near, (width, height), interpolation=cv2.INTER_NEAREST)), np.uint8)


def _points_away(part: BoolArray, palm: Sequence[Any]) -> bool:
    """Does the longer axis of a part point to the middle of the palm (row, column), as a finger's does?"""
    places = np.argwhere(part)
    centred = places - places.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    away = places.mean(axis=0) - palm
    return abs(float(axis @ away)) >= FINGER_COSINE * float(np.hypot(*away))
