"""A picture on its way to a network, and the geometry that brings results back to the radiograph's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import BoolArray, Caution, FloatArray, freeze

Affine = NDArray[np.float64]


Box = tuple[int, int, int, int]  # top, left, bottom, right; bottom and right are just outside


IDENTITY: Affine = np.eye(3)[:2]


KERNEL_PX = 16  # radius up to which a kernel is as fast as distances
# Radius and pixels from which a reduced mask is enough: its edge is then good to 3 % of the radius. No radiograph of
# RSNA is so large.
COARSE_PX, COARSE_MASK_PX = 128, 8_000_000


def widen(mask: BoolArray, radius_px: int) -> BoolArray:
    """A mask and all that lies within so many pixels of it.

    By distances, whose cost does not grow with the radius: a kernel of a tenth of a hand of 7,000 px takes a minute.

    Args:
        mask: bool (H, W).
        radius_px: at least 1.
    """
    if not mask.any():
        return mask
    top, left, bottom, right = box_of(mask)
    box = np.s_[max(0, top - radius_px) : bottom + radius_px, max(0, left - radius_px) : right + radius_px]
    wide = np.zeros_like(mask)
    wide[box] = _widen_all(mask[box], radius_px)
    return wide


def _widen_all(mask: BoolArray, radius_px: int) -> BoolArray:
    """The same, over the whole of it."""
    if radius_px <= KERNEL_PX:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
        return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0, np.bool_)
    every = max(1, radius_px // 32) if radius_px > COARSE_PX or mask.size > COARSE_MASK_PX else 1
    height, width = mask.shape
    small = mask if every == 1 else cv2.resize(
        mask.astype(np.uint8), (-(-width // every), -(-height // every)), interpolation=cv2.INTER_NEAREST
    )  # fmt: skip
    distance_px = cv2.distanceTransform((small == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = (distance_px * every <= radius_px).astype(np.uint8)
    wide = near if every == 1 else cv2.resize(near, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray((wide > 0) | mask, np.bool_)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The 2x3 affine that applies `inner` first and `outer` second."""
    return np.asarray((np.vstack([outer, [0, 0, 1]]) @ np.vstack([inner, [0, 0, 1]]))[:2], np.float64)


def invert(affine: Affine) -> Affine:
    """The 2x3 affine that undoes `affine`."""
    return np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on its way to a network.

    Attributes:
        pixels: float32 (H, W); [0, 1] until a step normalises.
        mask: bool (H, W), True on the hand.
        to_radiograph: 2x3 affine from this picture's (column, row) to the radiograph's
            (column, row), pixel centres at whole numbers (OpenCV's convention).
        tilt_degrees: how far the fingers point away from up, clockwise positive.
        background_masked: outside the mask the picture is constant, whatever the radiograph shows there.
        points: landmarks by name, (row, column) on the radiograph's grid; empty where none were placed.
        cautions: what a step could not do as meant, for the reader of the number.
    """

    pixels: FloatArray
    mask: BoolArray
    to_radiograph: Affine
    tilt_degrees: float = 0.0
    background_masked: bool = False
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.pixels)

    def place(self, name: str) -> NDArray[np.float64]:
        """Where a landmark lies in this picture, as (column, row)."""
        row, column = self.points[name]
        back = invert(self.to_radiograph)
        return np.asarray(back[:, :2] @ (column, row) + back[:, 2], np.float64)

    @property
    def side_px(self) -> int:
        """The longer side."""
        return int(max(self.pixels.shape))


Step = Callable[[Picture], Picture]


class ByPoints:
    """Base of the steps that go by `Picture.points`."""


def warp(picture: Picture, affine: Affine, width: int, height: int, tilt_degrees: float | None = None) -> Picture:
    """Resample a picture by `affine` (old to new, (column, row)); outside is 0 and not hand."""
    pixels = np.asarray(cv2.warpAffine(picture.pixels, affine, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    mask = cv2.warpAffine(picture.mask.astype(np.uint8), affine, (width, height), flags=cv2.INTER_NEAREST)
    return replace(
        picture,
        pixels=pixels,
        mask=mask.astype(bool),
        to_radiograph=compose(picture.to_radiograph, invert(affine)),
        tilt_degrees=picture.tilt_degrees if tilt_degrees is None else tilt_degrees,
    )


def box_of(region: BoolArray) -> Box:
    """The box of what is True, which must not be nothing."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, height) * max(0, width)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in (one, other)]
    return shared / (sum(areas) - shared)


def crop_box(picture: Picture, box: Box, margin_ratio: float, square: bool = True) -> Picture:
    """Cut around a box, its sides times `margin_ratio`; square: both as the longer one."""
    top, left, bottom, right = box
    height, width = max(1, round((bottom - top) * margin_ratio)), max(1, round((right - left) * margin_ratio))
    if square:
        height = width = max(height, width)
    first_row, first_column = (top + bottom - height) / 2, (left + right - width) / 2
    return crop(picture, int(np.floor(first_row)), int(np.floor(first_column)), height, width)


def crop(picture: Picture, top: int, left: int, height: int, width: int) -> Picture:
    """The rectangle whose first pixel is (top, left); outside is 0."""
    whole_height, whole_width = picture.pixels.shape
    pixels = np.zeros((height, width), np.float32)
    mask = np.zeros((height, width), bool)
    rows = slice(min(max(0, top), whole_height), max(0, min(whole_height, top + height)))
    columns = slice(min(max(0, left), whole_width), max(0, min(whole_width, left + width)))
    target = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    pixels[target], mask[target] = picture.pixels[rows, columns], picture.mask[rows, columns]
    shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    return replace(picture, pixels=pixels, mask=mask, to_radiograph=compose(picture.to_radiograph, shift))


def resized(picture: Picture, scale: float) -> Picture:
    """The picture enlarged by a factor, or reduced."""
    height, width = picture.pixels.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = np.asarray(np.clip(cv2.resize(picture.pixels, size, interpolation=interpolation), 0.0, 1.0), np.float32)
    mask = cv2.resize(picture.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    across, down = width / size[0], height / size[1]
    back = np.array([[across, 0.0, (across - 1) / 2], [0.0, down, (down - 1) / 2]])
    return replace(picture, pixels=pixels, mask=mask, to_radiograph=compose(picture.to_radiograph, back))
