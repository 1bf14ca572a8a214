"""HandMask -> Framing: how a hand lies in its picture, and what the picture's edges cut off.

The palm is the largest circle that fits into the mask. It serves as the measure for everything
else, so that the same thresholds hold for an infant and an adult, near and far.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .types import BoolArray, HandMask

MEASURED_SIDE_PX = 256  # of the reduced mask; its edges are then good to half a percent
# Close to an edge is on it: of 16 films cut through the fingers, up to 14 masks ended up to 0.8 % short of the cut.
EDGE_SHARE = 0.01


@dataclass(frozen=True)
class Framing:
    """How a hand lies in its picture. Lengths in palms are in diameters of the palm's circle.

    Attributes:
        length_px: longer side of the box around the hand, on the radiograph's grid; 0 for an empty mask.
        fingers_on_edge_share: how much of the finger half lies on the picture's edge, of its longer side.
        fingers_on_edge_palms: the same, in palms.
        finger_reach_palms: from the palm's middle to the farthest fingertip.
        wrist_reach_palms: from the palm's middle to the end of the wrist or forearm.
        wrist_on_edge_palms: how much of the edge that end takes up; 0 if the forearm ends within the picture.
    """

    length_px: int
    fingers_on_edge_share: float = 0.0
    fingers_on_edge_palms: float = 0.0
    finger_reach_palms: float = 0.0
    wrist_reach_palms: float = 0.0
    wrist_on_edge_palms: float = 0.0


def measure_framing(hand: HandMask) -> Framing:
    """Measure how a hand lies in its picture.

    Args:
        hand: mask (H, W) and the direction of its fingers.
    """
    rows, columns = np.flatnonzero(hand.pixels.any(axis=1)), np.flatnonzero(hand.pixels.any(axis=0))
    if rows.size == 0:
        return Framing(0)
    length_px = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    small = _reduced(hand.pixels)
    # A rim of no hand, so that the palm's circle ends at the picture's edge.
    depth = cv2.distanceTransform(np.pad(small, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    palm = 2.0 * float(depth.max())
    if palm == 0.0:
        return Framing(length_px)
    towards = _Direction(hand.tilt_degrees)
    middle = float(towards(*np.nonzero(depth == depth.max()))[0])
    reach = towards(*np.nonzero(small))
    half = float(reach.mean())
    edge = towards(*_on_edge(small))
    fingers = int((edge > half).sum())
    wrist = int((edge < (reach.min() + middle) / 2).sum())
    return Framing(
        length_px=length_px,
        fingers_on_edge_share=fingers / max(small.shape),
        fingers_on_edge_palms=fingers / palm,
        finger_reach_palms=float(reach.max() - middle) / palm,
        wrist_reach_palms=float(middle - reach.min()) / palm,
        wrist_on_edge_palms=wrist / palm,
    )


def finger_edge(hand: HandMask) -> tuple[NDArray[np.float64], float]:
    """Where the fingers or the thumb reach the picture's edge.

    Args:
        hand: mask (H, W) and the direction of its fingers.

    Returns:
        (N, 2), (row, column) on the mask's grid of places along the edge, and the length of edge that each stands for,
        in palms. Their number times that length is `Framing.fingers_on_edge_palms`.
    """
    small = _reduced(hand.pixels)
    depth = cv2.distanceTransform(np.pad(small, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    palm = 2.0 * float(depth.max())
    if palm == 0.0:
        return np.zeros((0, 2)), 0.0
    towards, (rows, columns) = _Direction(hand.tilt_degrees), _on_edge(small)
    beyond = towards(rows, columns) > float(towards(*np.nonzero(small)).mean())
    places = np.column_stack([rows, columns])[beyond].astype(np.float64)
    return (places + 0.5) * max(hand.pixels.shape) / max(small.shape) - 0.5, 1.0 / palm


def without_far_forearm(mask: BoolArray, tilt_degrees: float, most_palms: float) -> BoolArray:
    """The mask without what lies farther from the palm's middle than a forearm is usually shown.

    Args:
        mask: (H, W), True on the hand.
        tilt_degrees: direction of the fingers, clockwise of up.
        most_palms: what is kept below the middle of the palm, in palms.
    """
    small = _reduced(mask)
    depth = cv2.distanceTransform(np.pad(small, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    palm = 2.0 * float(depth.max())
    if palm == 0.0:
        return mask
    towards, scale = _Direction(tilt_degrees), max(mask.shape) / max(small.shape)
    middle = scale * float(towards(*np.nonzero(depth == depth.max()))[0])
    rows, columns = np.nonzero(mask)
    far = towards(rows, columns) < middle - most_palms * scale * palm
    kept = np.array(mask)
    kept[rows[far], columns[far]] = False
    return kept


@dataclass(frozen=True)
class _Direction:
    """How far places lie in the direction of the fingers, in pixels."""

    tilt_degrees: float

    def __call__(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        tilt = np.deg2rad(self.tilt_degrees)
        return np.asarray(columns * np.sin(tilt) - rows * np.cos(tilt), np.float64)


def _reduced(mask: BoolArray) -> BoolArray:
    height, width = mask.shape
    scale = MEASURED_SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small > 127, np.bool_)


def _on_edge(mask: BoolArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(row, column) of every place along the four edges that the mask reaches."""
    height, width = mask.shape
    band = max(1, round(EDGE_SHARE * max(height, width)))
    top, bottom = (np.flatnonzero(side.any(axis=0)) for side in (mask[:band], mask[-band:]))
    left, right = (np.flatnonzero(side.any(axis=1)) for side in (mask[:, :band], mask[:, -band:]))
    rows = [np.zeros_like(top), np.full_like(bottom, height - 1), left, right]
    columns = [top, bottom, np.zeros_like(left), np.full_like(right, width - 1)]
    return np.concatenate(rows), np.concatenate(columns)
