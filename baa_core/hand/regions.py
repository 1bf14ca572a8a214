"""Landmarks + HandMask -> regions: which pixels belong to which group of bones.

Each bone is a tube between two landmarks. A pixel belongs to the bone whose surface is nearest, if it is near enough,
and to the region of that bone. Lengths are in hands: from the wrist to the tip of the middle finger is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..hand_anatomy import REGION_TITLES
from ..types import BoolArray, HandMask, Landmarks

MEASURED_SIDE_PX = 512  # regions are drawn on a grid of at most this, and enlarged
REACH_SHARE = 0.035  # how far around its bones a region goes, as in the drawn hand

# The palm from whose landmarks the rest of it is placed: x towards the thumb, y towards the fingers, the wrist at the
# origin. Medians over the keypoints of some 500 children; radius and ulna as in the drawn hand.
_PALM: Final[Mapping[str, tuple[float, float]]] = {
    "wrist": (0.0, 0.0),
    "thumb1": (0.186, 0.140),
    "forefinger1": (0.148, 0.529),
    "middle_finger1": (0.019, 0.532),
    "ring_finger1": (-0.092, 0.484),
    "pinky_finger1": (-0.190, 0.422),
    "radius": (0.036, -0.026),
    "ulna": (-0.091, -0.032),
}
_METACARPAL_BASES: Final[Mapping[str, tuple[float, float]]] = {
    "forefinger": (0.082, 0.183),
    "middle_finger": (0.024, 0.190),
    "ring_finger": (-0.034, 0.179),
    "pinky_finger": (-0.077, 0.168),
}
_CARPALS: Final = (
    (-0.048, 0.020), (0.000, 0.000), (0.058, 0.012), (0.086, 0.020), (0.113, 0.055), (0.152, 0.090), (0.163, 0.112),
    (0.134, 0.173), (0.080, 0.176), (0.020, 0.186), (-0.035, 0.175), (-0.076, 0.160), (-0.093, 0.141), (-0.102, 0.090),
    (-0.099, 0.058), (-0.085, 0.037),
)  # fmt: skip
# The forearm runs far beyond the picture, straight on from the palm.
_FOREARM: Final = (("radius", (0.028, -0.75), (0.078, 0.040, 0.038)), ("ulna", (-0.100, -0.75), (0.034, 0.025, 0.025)))
# Half a bone's breadth at the end with the growth plate, at the waist and at the other end, for the middle finger.
_HALF_WIDTHS: Final = {
    "metacarpals": (0.034, 0.019, 0.031),
    "proximal_phalanges": (0.038, 0.023, 0.029),
    "middle_phalanges": (0.031, 0.018, 0.024),
    "distal_phalanges": (0.024, 0.012, 0.017),
}
# How far before a joint the head of its first bone ends: the second bone's growth plate reaches around it.
_CLEARANCE: Final = {"proximal_phalanges": 0.035, "middle_phalanges": 0.030}
_ROBUST: Final = {"thumb": 1.10, "forefinger": 1.02, "middle_finger": 1.0, "ring_finger": 0.92, "pinky_finger": 0.82}

Points = NDArray[np.float64]


def _along(start: Points, end: Points, places: Points) -> tuple[Points, Points]:
    """Of places (M, 2): how far along a line from start to end the nearest point of it is, 0 to 1, and how far away."""
    along = end - start
    share = np.clip((places - start) @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
    apart = places - start - share[:, None] * along
    return share, np.hypot(apart[:, 0], apart[:, 1])


def _outside(corners: Points, places: Points) -> Points:
    """How far places (M, 2) lie outside a convex polygon (K, 2); below 0 within."""
    apart = np.full(len(places), np.inf)
    turns = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        apart = np.minimum(apart, _along(start, end, places)[1])
        (right, down), (rights, downs) = end - start, (places - start).T
        turns.append(right * downs - down * rights >= 0)
    within = np.all(turns, axis=0) | ~np.any(turns, axis=0)
    return np.where(within, -apart, apart)


@dataclass(frozen=True, eq=False)
class _Tube:
    """A bone: (column, row) of its ends, and half its breadth at the first, midway and at the second, in pixels."""

    region: str
    ends: tuple[Points, Points]
    half_widths: tuple[float, float, float]

    def distance(self, places: Points) -> Points:
        """How far places (M, 2) lie outside the bone; below 0 within."""
        share, apart = _along(*self.ends, places)
        return apart - np.interp(share, (0.0, 0.5, 1.0), self.half_widths)


def hand_regions(landmarks: Landmarks, hand: HandMask) -> dict[str, BoolArray]:
    """Divide a hand into its groups of bones.

    Args:
        landmarks: on the radiograph's grid.
        hand: on the same grid.

    Returns:
        each of `REGION_TITLES` to bool (H, W), inside the mask. They do not overlap; soft tissue far from any bone
        belongs to none.
    """
    height, width = hand.pixels.shape
    scale = min(1.0, MEASURED_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    mask = cv2.resize(hand.pixels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    shrink = np.array([size[0] / width, size[1] / height])
    points = {name: (np.array(place)[::-1] + 0.5) * shrink - 0.5 for name, place in landmarks.points.items()}
    owner = _nearest(points, mask)
    owner = np.asarray(cv2.resize(owner, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    return {region: hand.pixels & (owner == number) for number, region in enumerate(REGION_TITLES)}


def _nearest(points: Mapping[str, Points], mask: BoolArray) -> NDArray[np.uint8]:
    """The number of each pixel's region, (H, W); one more than there are beyond the mask and where no bone is near."""
    hand_px = float(np.hypot(*(points["middle_finger4"] - points["wrist"])))
    palm, reach = _palm_affine(points), REACH_SHARE * hand_px
    numbers = {region: number for number, region in enumerate(REGION_TITLES)}
    least = np.full(mask.shape, reach)
    owner = np.full(mask.shape, len(numbers), np.uint8)
    carpals = cv2.convexHull(_placed(palm, _CARPALS).astype(np.float32))[:, 0].astype(np.float64)
    tubes = _tubes(points, palm, hand_px)
    bones: list[tuple[str, Callable[[Points], Points], Points, float]] = [
        ("carpals", partial(_outside, carpals), carpals, 0.0),
        *((tube.region, tube.distance, np.array(tube.ends), max(tube.half_widths)) for tube in tubes),
    ]
    for region, distance_of, corners, breadth in bones:
        # Nothing farther from the bone's box can be within its reach.
        low = np.maximum(np.floor(corners.min(axis=0) - breadth - reach), 0).astype(int)
        high = np.maximum(np.ceil(corners.max(axis=0) + breadth + reach) + 1, 0).astype(int)
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        rows, columns = np.nonzero(mask[box])
        distance = distance_of(np.column_stack([columns, rows]) + low.astype(np.float64))
        nearer = distance < least[box][rows, columns]
        owner[box][rows[nearer], columns[nearer]] = numbers[region]
        least[box][rows[nearer], columns[nearer]] = distance[nearer]
    return owner


def _palm_affine(points: Mapping[str, Points]) -> Points:
    """The 3x2 matrix that brings (x, y, 1) of `_PALM` to the picture, least squares over its landmarks."""
    known = np.array([(*place, 1.0) for place in _PALM.values()])
    found, *_ = np.linalg.lstsq(known, np.array([points[name] for name in _PALM]), rcond=None)
    return np.asarray(found)


def _placed(palm: Points, places: tuple[tuple[float, float], ...]) -> Points:
    return np.asarray(np.column_stack([np.array(places), np.ones(len(places))]) @ palm)


def _tubes(points: Mapping[str, Points], palm: Points, hand_px: float) -> list[_Tube]:
    """Every long bone of the hand and the forearm."""
    tubes = []
    for finger, robust in _ROBUST.items():
        at = [points[f"{finger}{number}"] for number in (1, 2, 3, 4)]
        if finger == "thumb":
            bones = {"metacarpals": at[:2], "proximal_phalanges": at[1:3], "distal_phalanges": at[2:]}
        else:
            base = _placed(palm, (_METACARPAL_BASES[finger],))[0]
            bones = {
                "metacarpals": [at[0], base],
                "proximal_phalanges": at[:2],
                "middle_phalanges": at[1:3],
                "distal_phalanges": at[2:],
            }
        for region, (start, end) in bones.items():
            first, waist, last = (half * robust * hand_px for half in _HALF_WIDTHS[region])
            along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
            head = end - along * _CLEARANCE.get(region, 0.0) * hand_px
            tubes.append(_Tube(region, (start, head), (first, waist, last)))
    for bone, far, half_widths in _FOREARM:
        first, waist, last = (half * hand_px for half in half_widths)
        tubes.append(_Tube("radius_ulna", (points[bone], _placed(palm, (far,))[0]), (first, waist, last)))
    return tubes
