"""Skin, fat and muscle: the outline of the hand and how thick it is along the beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import BoolArray, FloatArray
from .proportions import FINGERS
from .shapes import Points

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_FINGER_HALF_WIDTHS = {
    1: (0.080, 0.064, 0.058, 0.044),
    2: (0.064, 0.055, 0.046, 0.036),
    3: (0.064, 0.056, 0.047, 0.037),
}
_FINGER_HALF_WIDTHS |= {4: (0.062, 0.052, 0.044, 0.035), 5: (0.060, 0.046, 0.039, 0.031)}
_DEPTH = 0.078  # half thickness that the palm reaches a little inside its outline
# Thickness along the hand beside the palm's, by y: fingertips are thin, the forearm is round.
_THICKNESS_BY_Y = ((-0.75, 1.45), (-0.20, 1.22), (0.05, 1.06), (0.35, 1.0), (0.55, 0.84), (0.80, 0.74), (1.05, 0.66))


@dataclass(frozen=True, eq=False)
class Frame:
    """From hand units to pixels of a canvas: turned by `tilt_degrees` about the wrist.

    Attributes:
        shape: (height, width) of the canvas in pixels.
        unit_px: pixels from the wrist to the tip of the middle finger.
        wrist: (row, column) of the wrist.
        tilt_degrees: clockwise positive.
    """

    shape: tuple[int, int]
    unit_px: float
    wrist: tuple[float, float]
    tilt_degrees: float

    def to_px(self, points: Points) -> Points:
        """(…, 2) hand units (x, y) to pixels (column, row)."""
        angle = np.deg2rad(self.tilt_degrees)
        x, y = points[..., 0], points[..., 1]
        column = self.wrist[1] + self.unit_px * (x * np.cos(angle) + y * np.sin(angle))
        row = self.wrist[0] + self.unit_px * (x * np.sin(angle) - y * np.cos(angle))
        return np.stack([column, row], axis=-1)

    def height_map(self) -> FloatArray:
        """Height above the wrist (y), in hand units, of every pixel."""
        angle = np.deg2rad(self.tilt_degrees)
        across = (np.arange(self.shape[1]) - self.wrist[1]) * np.sin(angle) / self.unit_px
        down = (np.arange(self.shape[0]) - self.wrist[0]) * np.cos(angle) / self.unit_px
        return np.asarray(across[None, :] - down[:, None], dtype=np.float32)

    def scaled(self, factor: int) -> Frame:
        """The same picture on a canvas `factor` times finer (pixel centres kept in place)."""
        height, width = self.shape
        row, column = ((at + 0.5) * factor - 0.5 for at in self.wrist)
        return Frame((height * factor, width * factor), self.unit_px * factor, (row, column), self.tilt_degrees)


def fill(canvas: NDArray[Any], polygons: Sequence[Points], value: int = 255) -> None:
    """Fill closed polygons (column, row) at sub-pixel coordinates, united."""
    for polygon in polygons:
        fixed = np.round(polygon * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(canvas, [fixed], (value,), lineType=cv2.LINE_8, shift=_SHIFT)


def united(polygons: Sequence[Points]) -> Points:
    """The outline (N, 2) around closed polygons (column, row) that overlap, in pixels; the largest if they do not."""
    finer = 4
    corner = np.floor(np.concatenate(polygons).min(0)) - 1
    size = np.ceil((np.concatenate(polygons).max(0) - corner + 1) * finer).astype(int)
    canvas = np.zeros((size[1], size[0]), np.uint8)
    fill(canvas, [(polygon - corner) * finer for polygon in polygons])
    outlines, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(outlines, key=cv2.contourArea)[:, 0] / finer + corner, dtype=np.float64)


def _limb(path: Points, half_widths: Sequence[float], creases: float) -> list[Points]:
    """Discs along a bent path with changing width; narrower at the joints by `creases`, as fat hands are."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    steps = np.linspace(0.0, at[-1], 70)
    xs, ys = (np.interp(steps, at, path[:, axis]) for axis in (0, 1))
    widths = np.interp(steps, at, half_widths)
    for joint in at[1:-1]:
        widths *= 1.0 - creases * np.exp(-(((steps - joint) / 0.022) ** 2))
    circle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring = np.column_stack([np.cos(circle), np.sin(circle)])
    return [np.array([x, y]) + width * ring for x, y, width in zip(xs, ys, widths, strict=True)]


def _fingers(joints: Mapping[str, Points], girth: float, creases: float) -> list[Points]:
    outlines: list[Points] = []
    for digit, finger in FINGERS.items():
        path = np.array([joints[f"{finger}{number}"] for number in (1, 2, 3, 4)])
        tip = path[3] + (path[3] - path[2]) / np.hypot(*(path[3] - path[2])) * -0.008
        widths = np.array(_FINGER_HALF_WIDTHS[digit]) * girth
        outlines += _limb(np.vstack([path[:3], tip]), list(widths), creases)
    return outlines


def _palm(joints: Mapping[str, Points], girth: float) -> list[Points]:
    """Palm, thenar web and forearm as closed outlines."""
    index, little, thumb_base, thumb = (joints[name] for name in ("forefinger1", "pinky_finger1", "thumb1", "thumb2"))
    wide = 0.5 + 0.5 * girth
    forearm = [(-0.180 * girth, -0.80), (-0.174 * girth, -0.45), (-0.166 * girth, -0.20), (-0.158 * girth, -0.06)]
    ulnar = [(-0.156 * wide, 0.01), (-0.188 * wide, 0.09), (-0.222 * wide, 0.20), (little[0] - 0.052 * wide, 0.32)]
    knuckles = [(little[0] - 0.056 * girth, little[1]), (little[0], little[1] + 0.02)]
    knuckles += [tuple(joints[f"{finger}1"] + [0.0, 0.03]) for finger in ("ring_finger", "middle_finger", "forefinger")]
    knuckles += [(index[0] + 0.060 * girth, index[1]), (index[0] + 0.066 * wide, 0.43)]
    web = [(index[0] + 0.078, 0.365), (thumb[0] - 0.045, thumb[1] + 0.045)]
    radial = [(thumb[0] + 0.050, thumb[1] - 0.045), (thumb_base[0] + 0.074 * wide, thumb_base[1] - 0.035)]
    radial += [(0.178 * wide, 0.03)]
    arm = [(0.160 * girth, -0.06), (0.152 * girth, -0.20), (0.152 * girth, -0.45), (0.154 * girth, -0.80)]
    return [np.array(forearm + ulnar + knuckles + web + radial + arm, dtype=np.float64)]


def outline_hand(frame: Frame, joints: Mapping[str, Points], girth: float, creases: float) -> BoolArray:
    """True inside the skin, forearm included; corners between the parts are rounded off."""
    canvas = np.zeros(frame.shape, np.uint8)
    fill(canvas, [frame.to_px(part) for part in _fingers(joints, girth, creases) + _palm(joints, girth)])
    for sigma in (0.013, 0.007):
        border = int(0.06 * frame.unit_px)
        padded = cv2.copyMakeBorder(canvas, 0, border, 0, 0, cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(padded, (0, 0), sigma * frame.unit_px)[: frame.shape[0]]
        canvas = np.where(soft > 127, 255, 0).astype(np.uint8)
    return canvas > 0


def chord(depth: NDArray[Any], half_depth: float) -> FloatArray:
    """Length of the beam's path at `depth` inside the edge of a body whose half thickness is `half_depth`."""
    inside = np.clip(depth, 0.0, half_depth)
    return np.asarray(2.0 * np.sqrt(inside * (2.0 * half_depth - inside)), dtype=np.float32)


def tissue_thickness(frame: Frame, hand: BoolArray, joints: Mapping[str, Points]) -> FloatArray:
    """Thickness along the beam in hand units, float32, 0 outside the hand."""
    depth = cv2.distanceTransform(hand.astype(np.uint8), cv2.DIST_L2, 5) / frame.unit_px
    thickness = chord(depth, _DEPTH)
    ys, factors = zip(*_THICKNESS_BY_Y, strict=True)
    table = np.interp(np.arange(512) / 256 - 0.9, ys, factors).astype(np.float32)
    thickness *= table[np.clip((frame.height_map() + 0.9) * 256, 0, 511).astype(np.int16)]
    eminence = (joints["thumb1"] + joints["thumb2"] + joints["forefinger1"] * 0.7) / 2.7
    at_column, at_row = frame.to_px(eminence)
    reach = 0.13 * frame.unit_px
    bump_down = np.exp(-(((np.arange(frame.shape[0]) - at_row) / reach) ** 2)).astype(np.float32)
    bump_across = np.exp(-(((np.arange(frame.shape[1]) - at_column) / reach) ** 2)).astype(np.float32)
    thickness *= 1.0 + 0.22 * bump_down[:, None] * bump_across[None, :]
    return cv2.GaussianBlur(thickness, (0, 0), 0.8).astype(np.float32, copy=False)
