"""HandMask + Landmarks -> cautions: is the outline that of one whole hand and of nothing else?

The joints are placed in a crop that shows more than the outline, so that a finger which the outline misses is still
seen. Lengths are in hands, from the wrist to the tip of the middle finger. `python -m train robustness
--outlines` measures false alarms and how many faults are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ..hand_anatomy import FINGER_NAMES, FINGERS
from ..preprocessing.picture import box_of
from ..types import BoolArray, Caution, HandMask, Landmarks, Radiograph
from .landmarks import widened

MEASURED_PX = 256  # longer side of the box in the reduced mask on which areas are counted
# Of 33 sharp `val` and 39 `train` radiographs the tips of sound outlines lie at most 0.023 outside; with the last
# phalanx or the thumb left out of the mask of 11 others, from 0.07 on.
MOST_TIP_OUTSIDE_HANDS = 0.045
# Of the contrast between the hand's and the background's median grey, over a square of half this side around the tip.
LEAST_TISSUE_SHARE, TIP_HANDS = 0.15, 0.02
# Half the width that a hand may have around its bones: fingers, palm, forearm.
FINGER_HANDS, PALM_HANDS, FOREARM_HANDS = 0.08, 0.16, 0.2
# What lies farther from any bone, of the square of the hand's length. Of the same 39 `train` radiographs four lie over
# this, all with edges of the field or a neighbour's grey in the outline.
MOST_BESIDE_SHARE = 0.006

UNCHECKED = Caution(
    "outline_unchecked",
    "The joints of this hand could not be placed, so whether its outline is that of one whole hand was not checked. "
    "Look at the outline before you trust the number.",
)

Place = NDArray[np.float64]


def about_outline(radiograph: Radiograph, hand: HandMask, landmarks: Landmarks) -> tuple[Caution, ...]:
    """That the outline misses a fingertip, or takes in what is no hand.

    Args:
        radiograph: as read.
        hand: on the same grid.
        landmarks: all of `types.LANDMARKS` on the same grid, placed in the `landmarks.widened` hand.
    """
    said = [f"misses the tip of the {FINGER_NAMES[finger]}" for finger in missed_fingers(radiograph, hand, landmarks)]
    beside = share_beside(hand, landmarks)
    if beside > MOST_BESIDE_SHARE:
        said.append("takes in something beside the hand, such as a marker or the edge of the field")
    if not said:
        return ()
    return (
        Caution(
            "outline_doubtful",
            f"The outline of the hand may be wrong: it {' and '.join(said)}. Look at the outline before you trust the "
            "number; crop the picture closer to the hand and try again if it is wrong.",
        ),
    )


def missed_fingers(radiograph: Radiograph, hand: HandMask, landmarks: Landmarks) -> list[str]:
    """The fingers whose tip lies outside the outline by more than `MOST_TIP_OUTSIDE_HANDS`, where there is a finger.

    A tip that was placed on what is as dark as the background misses nothing: a marker may have drawn it there.
    """
    shape, tips = hand.pixels.shape, {finger: landmarks.points[f"{finger}4"] for finger in FINGERS}
    places = {finger: _within(*tip, shape) for finger, tip in tips.items()}
    if all(hand.pixels[place] for place in places.values()):
        outside = np.zeros(shape, np.float32)  # the same at the tips, in no time
    else:
        outside = np.asarray(cv2.distanceTransform((~hand.pixels).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    limit = MOST_TIP_OUTSIDE_HANDS * landmarks.hand_length_px
    found = []
    for finger, (row, column) in tips.items():
        at = places[finger]
        beyond = float(np.hypot(row - at[0], column - at[1]))
        if float(outside[at]) + beyond > limit and _is_tissue(radiograph, hand, landmarks, finger):
            found.append(finger)
    return found


def _is_tissue(radiograph: Radiograph, hand: HandMask, landmarks: Landmarks, finger: str) -> bool:
    """Is it brighter where a fingertip was placed outside the outline than in most of the background near the hand?"""
    radius = max(1, round(TIP_HANDS * landmarks.hand_length_px))
    row, column = _within(*landmarks.points[f"{finger}4"], hand.pixels.shape)
    near = np.s_[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]
    around = radiograph.pixels[widened(hand).pixels & ~hand.pixels]
    tip, inside = np.median(radiograph.pixels[near]), np.median(radiograph.pixels[hand.pixels])
    if around.size == 0:
        return True
    background = np.median(around)
    contrast = float(inside - background)  # below 0 where bone is dark
    return abs(contrast) < 1e-6 or float(tip - background) / contrast > LEAST_TISSUE_SHARE


def _within(row: float, column: float, shape: tuple[int, ...]) -> tuple[int, int]:
    """The pixel of a grid (H, W) nearest to a place."""
    return min(max(round(row), 0), shape[0] - 1), min(max(round(column), 0), shape[1] - 1)


def share_beside(hand: HandMask, landmarks: Landmarks) -> float:
    """How much of the mask lies farther from every bone than a hand reaches, of the square of the hand's length."""
    if not hand.pixels.any():
        return 0.0
    top, left, bottom, right = box_of(hand.pixels)
    box = hand.pixels[top:bottom, left:right].astype(np.uint8)
    scale = min(1.0, MEASURED_PX / max(box.shape))
    size = max(1, round(scale * box.shape[1])), max(1, round(scale * box.shape[0]))
    small = cv2.resize(255 * box, size, interpolation=cv2.INTER_AREA) > 127
    at = {name: scale * np.array([column - left, row - top]) for name, (row, column) in landmarks.points.items()}
    length = max(1.0, scale * landmarks.hand_length_px)
    near = np.zeros(small.shape, np.uint8)
    for one, other, half_width in (*_bones(at), *_forearm(at, small)):
        start, end = (np.round(np.clip(place, -4096, 4096)).astype(int).tolist() for place in (one, other))
        cv2.line(near, start, end, 1, max(1, round(2 * half_width * length)))
    return float((small & (near == 0)).sum() / length**2)


def _bones(at: dict[str, Place]) -> Iterator[tuple[Place, Place, float]]:
    """Both ends of every bone, and half the width of the hand around it."""
    for finger in FINGERS:
        joints = [at[f"{finger}{joint}"] for joint in (1, 2, 3, 4)]
        yield at["wrist"], joints[0], PALM_HANDS
        wide = 1.15 * FINGER_HANDS
        if finger == "thumb":
            yield joints[0], joints[1], PALM_HANDS
        else:
            yield joints[0], (joints[0] + joints[1]) / 2, 0.8 * PALM_HANDS  # the skin between the fingers
            yield joints[0], joints[1], wide
        for one, other in pairwise(joints[1:]):
            yield one, other, wide if finger == "thumb" else FINGER_HANDS
    for one_finger, other_finger in pairwise(FINGERS):
        yield at[f"{one_finger}1"], at[f"{other_finger}1"], PALM_HANDS
    yield at["radius"], at["ulna"], PALM_HANDS


def _forearm(at: dict[str, Place], mask: BoolArray) -> Iterator[tuple[Place, Place, float]]:
    """The same for the forearm: straight on from the palm, and where most of the mask lies, should it bend."""
    middle, along = (at["radius"] + at["ulna"]) / 2, at["wrist"] - at["middle_finger1"]
    yield at["wrist"], middle, FOREARM_HANDS
    yield middle, middle + 4 * along, FOREARM_HANDS
    rows, columns = np.nonzero(mask)
    places = np.column_stack([columns, rows])
    beyond = places[(places - middle) @ along > 0.5 * float(along @ along)]
    if len(beyond):
        towards = np.median(beyond, axis=0) - middle
        yield middle, middle + 3 * towards, FOREARM_HANDS
