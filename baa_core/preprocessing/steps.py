"""Small named steps that prepare a picture, and the geometry that brings results home.

A step is a frozen dataclass called with a `Picture` and returning a new one. Steps that move
pixels compose their move into `Picture.to_radiograph`, so whatever a network says about a
pixel can be drawn on the original radiograph, however many steps lie between.

No step is random: training augments after them, serving never does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..errors import HandNotFound, LandmarksNotFound
from ..types import Caution, FloatArray
from .picture import Box, ByPoints, Picture, box_of, crop, crop_box, overlap, resized, warp, widen


@dataclass(frozen=True)
class MaskBackground:
    """Set everything outside the hand to 0, after widening the mask a little.

    The widening (a share of the longer side) keeps the skin line, where a mask is least sure.
    """

    widen_share: float = 0.01

    def __call__(self, picture: Picture) -> Picture:
        """The same frame with its background black."""
        radius = max(1, round(self.widen_share * picture.side_px))
        wide = widen(picture.mask, radius)
        black = np.where(wide, picture.pixels, np.float32(0.0))
        return replace(picture, pixels=black, mask=wide, background_masked=True)


@dataclass(frozen=True)
class StretchContrast:
    """Map two percentiles of the hand's grey values to 0 and 1 and clip.

    Deeplasia subtracts the 1st percentile of the masked picture; the upper end is added here
    because a few bright pixels (rings, plates, markers) otherwise set the scale.
    """

    low_percent: float = 1.0
    high_percent: float = 99.5

    def __call__(self, picture: Picture) -> Picture:
        """The same frame; the hand fills [0, 1], what was 0 stays 0."""
        inside = picture.pixels[picture.mask] if picture.mask.any() else picture.pixels
        low, high = np.percentile(inside, (self.low_percent, self.high_percent))
        there: tuple[slice, slice] = np.s_[:, :]
        if picture.background_masked and low >= 0 and picture.mask.any():
            top, left, bottom, right = box_of(picture.mask)
            there = np.s_[top:bottom, left:right]  # beyond it all is 0, and stays so
        pixels = np.zeros_like(picture.pixels)
        pixels[there] = np.clip((picture.pixels[there] - low) / max(float(high - low), 1e-6), 0.0, 1.0)
        return replace(picture, pixels=pixels)


@dataclass(frozen=True)
class Upright:
    """Turn the picture so that the fingers point up, if they are off by more than a tolerance."""

    tolerance_degrees: float = 0.0

    def __call__(self, picture: Picture) -> Picture:
        """The turned picture in a frame that holds all of it; quarter turns lose nothing."""
        angle = picture.tilt_degrees
        if abs(angle) <= self.tolerance_degrees:
            return picture
        height, width = picture.pixels.shape
        turn = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0), np.float64)
        cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
        new_width = int(np.ceil(height * sine + width * cosine - 1e-6))
        new_height = int(np.ceil(height * cosine + width * sine - 1e-6))
        turn[:, 2] += (new_width - width) / 2, (new_height - height) / 2
        return warp(picture, turn, new_width, new_height, tilt_degrees=0.0)


@dataclass(frozen=True)
class CropToHand:
    """Cut a frame around the hand: its box, both sides times `margin_ratio`, zero padded.

    Deeplasia uses 1.15 for pictures from elsewhere (FIELD.md section 1), and a square.
    """

    margin_ratio: float = 1.15
    square: bool = True

    def __call__(self, picture: Picture) -> Picture:
        """The cut picture; the whole one, padded to a square, if there is no mask."""
        if not picture.mask.any():
            return PadSquare()(picture)
        return crop_box(picture, box_of(picture.mask), self.margin_ratio, self.square)


@dataclass(frozen=True)
class PadSquare:
    """Pad with zeros to a square, the picture in the middle."""

    def __call__(self, picture: Picture) -> Picture:
        """The square."""
        height, width = picture.pixels.shape
        side = max(height, width)
        return crop(picture, -((side - height) // 2), -((side - width) // 2), side, side)


@dataclass(frozen=True)
class Resize:
    """Bring a picture's longer side to `side_px`: area averaging down, cubic up."""

    side_px: int

    def __call__(self, picture: Picture) -> Picture:
        """The resized picture. Pixel areas, not centres, map onto each other (OpenCV's resize)."""
        return resized(picture, self.side_px / max(picture.pixels.shape))


@dataclass(frozen=True)
class FitInto:
    """Bring a picture into a frame as large as it fits, its aspect kept, zeros around it."""

    height_px: int
    width_px: int

    def __call__(self, picture: Picture) -> Picture:
        """The picture (height_px, width_px)."""
        height, width = picture.pixels.shape
        small = resized(picture, min(self.height_px / height, self.width_px / width))
        top, left = (
            have - want for have, want in zip(small.pixels.shape, (self.height_px, self.width_px), strict=True)
        )
        return crop(small, top // 2, left // 2, self.height_px, self.width_px)


@dataclass(frozen=True)
class Scale:
    """Map [0, 1] to [-1, 1]: for networks that learn their own normalisation."""

    def __call__(self, picture: Picture) -> Picture:
        """The same frame."""
        return replace(picture, pixels=(2.0 * picture.pixels - 1.0).astype(np.float32))


@dataclass(frozen=True)
class Standardise:
    """Subtract the picture's mean and divide by its standard deviation (Deeplasia's z-score)."""

    def __call__(self, picture: Picture) -> Picture:
        """The same frame with mean 0 and deviation 1."""
        mean, deviation = float(picture.pixels.mean()), float(picture.pixels.std())
        return replace(picture, pixels=((picture.pixels - mean) / max(deviation, 1e-5)).astype(np.float32))


# Iglovikov 2018, section 2.2: every hand in a frame of 2080 x 1600, the tip of the middle finger 100 below its top
# edge, the capitate 480 above its bottom edge, both in the middle.
REGISTERED_SHAPE = (2080, 1600)


TIP_ROW, CAPITATE_ROW = 100, 2080 - 480


NOT_PLACED = Caution(
    "points_not_placed",
    "The joints of this hand could not be placed, so the picture was not cropped to them before the estimate.",
)


NOT_CLUSTERED = Caution(
    "hand_not_clustered",
    "This system's clustering did not find the hand in this picture, so the picture was cropped by the hand network's "
    "mask before the estimate.",
)


@dataclass(frozen=True)
class Register(ByPoints):
    """Bring every hand to the same place: zoom, turn, shift and mirror by three points (Iglovikov 2018).

    Attributes:
        height_px: of the frame; the paper has 2080.
    """

    height_px: int

    def __call__(self, picture: Picture) -> Picture:
        """The registered picture, the thumb on the right.

        Raises:
            LandmarksNotFound: the points lie on top of each other.
        """
        tip, thumb, capitate = (picture.place(name) for name in ("middle_finger4", "thumb4", "capitate"))
        scale = self.height_px / REGISTERED_SHAPE[0]
        width_px = round(REGISTERED_SHAPE[1] * scale)
        middle = (width_px - 1) / 2
        finger, side = complex(*(tip - capitate)), complex(*(thumb - capitate))
        if abs(finger) < 0.1 * picture.side_px:
            raise LandmarksNotFound(
                "The tip of the middle finger and the wrist could not be told apart, so the hand cannot be registered. "
                "Give a picture of the whole hand, fingers straight."
            )
        mirrored = (finger.conjugate() * side).imag < 0
        seen = -finger.conjugate() if mirrored else finger  # mirroring changes the sign of the columns
        turn = complex(0, (TIP_ROW - CAPITATE_ROW) * scale) / seen
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
        shift = np.array([middle, CAPITATE_ROW * scale]) - linear @ capitate
        return warp(picture, np.column_stack([linear, shift]), width_px, self.height_px, tilt_degrees=0.0)


@dataclass(frozen=True)
class CutRegion:
    """A part of the frame by its edges, in shares of the frame's height and width."""

    top: float
    bottom: float
    left: float
    right: float

    def __call__(self, picture: Picture) -> Picture:
        """The cut picture."""
        height, width = picture.pixels.shape
        top, left = round(self.top * height), round(self.left * width)
        return crop(picture, top, left, round(self.bottom * height) - top, round(self.right * width) - left)


@dataclass(frozen=True)
class CropToPoints(ByPoints):
    """Cut the box around all landmarks, widened; a picture without landmarks stays as it is.

    Fanciulli & Motisi 2024 cut from the first to the last of MediaPipe's 21 points and leave the fifth of their
    pictures whole in which MediaPipe finds no hand (section 2.1.2).
    """

    margin_ratio: float = 1.15

    def __call__(self, picture: Picture) -> Picture:
        """The cut picture, zero padded where the box leaves it; the same with a caution if there are no points."""
        if not picture.points:
            return replace(picture, cautions=(*picture.cautions, NOT_PLACED))
        places = np.array([picture.place(name) for name in picture.points])
        (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
        return crop_box(picture, (round(top), round(left), round(bottom) + 1, round(right) + 1), self.margin_ratio)


@dataclass(frozen=True)
class CropToCluster:
    """Cut to the largest region of the picture's own clustering (Li 2021, Algorithm 1).

    Ours, not the paper's: where the region's box and the mask's overlap by less than `least_overlap`, the clustering
    has missed the hand (5 of 50 `val` radiographs, `python -m train clustering`); the mask's is cut to, with a caution.
    """

    margin_ratio: float = 1.02
    least_overlap: float = 0.8

    def __call__(self, picture: Picture) -> Picture:
        """The square around the region's box, or around the mask's."""
        found = self._clustered(picture)
        if found is not None and overlap(found, box_of(picture.mask)) >= self.least_overlap:
            return crop_box(picture, found, self.margin_ratio)
        return CropToHand(self.margin_ratio)(replace(picture, cautions=(*picture.cautions, NOT_CLUSTERED)))

    @staticmethod
    def _clustered(picture: Picture) -> Box | None:
        """The box of the region; None if the clustering leaves none."""
        from .clustering import cluster_hand  # here: it needs PyTorch, and no other step does

        try:
            return cluster_hand(picture.pixels).box
        except HandNotFound:
            return None


@dataclass(frozen=True)
class LargestObject:
    """Keep the largest object of the mask after opening it, and set the rest to 0 (Malanga 2024)."""

    opening_share: float = 0.01

    def __call__(self, picture: Picture) -> Picture:
        """The same frame with one object on black."""
        radius = max(1, round(self.opening_share * picture.side_px))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        opened = cv2.morphologyEx(picture.mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(opened)
        largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])) if len(statistics) > 1 else 0
        mask = parts == largest if largest else picture.mask
        return replace(
            picture, pixels=np.where(mask, picture.pixels, np.float32(0.0)), mask=mask, background_masked=True
        )


@dataclass(frozen=True)
class Equalise:
    """Spread the grey values evenly over [0, 1]: histogram equalisation in 256 steps.

    What is exactly 0 stays 0 and does not count: it is background that was removed.
    """

    def __call__(self, picture: Picture) -> Picture:
        """The same frame."""
        levels = np.asarray(np.round(picture.pixels * 255), np.uint8)
        shown = levels[picture.pixels > 0]
        if shown.size == 0:
            return picture
        ranks = np.cumsum(np.bincount(shown, minlength=256)) / shown.size
        return replace(picture, pixels=np.where(picture.pixels > 0, ranks[levels], 0.0).astype(np.float32))


@dataclass(frozen=True)
class WindowFromPeak:
    """Set to 0 whatever is darker than the right base of the histogram's leftmost peak (Fanciulli & Motisi 2024).

    What is black already does not count at first: beside the beam's field it would be the leftmost peak, and the field
    stay grey. Where the hand itself would go, the black counts; where it goes even then, nothing is cut.
    """

    bins: int = 64
    least_share: float = 0.01
    black: float = 0.02
    most_of_hand_lost: float = 0.4

    def __call__(self, picture: Picture) -> Picture:
        """The same frame, its darkest peak black."""
        hand = picture.pixels[picture.mask]
        for shown in (picture.pixels[picture.pixels > self.black], picture.pixels.ravel()):
            level = self._right_base(shown)
            if np.count_nonzero(hand < level) <= self.most_of_hand_lost * hand.size:
                return replace(picture, pixels=np.where(picture.pixels < level, np.float32(0.0), picture.pixels))
        return picture

    def _right_base(self, pixels: FloatArray) -> float:
        """The grey where the leftmost peak ends; 0 if there is none."""
        counts, edges = np.histogram(pixels, bins=self.bins, range=(0.0, 1.0))
        smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same") / max(1, pixels.size)
        peaks = np.flatnonzero(
            (smooth >= np.append(smooth[1:], 0))
            & (smooth >= np.insert(smooth[:-1], 0, 0))
            & (smooth >= self.least_share)
        )
        if peaks.size == 0:
            return 0.0
        base = int(peaks[0])
        while base + 1 < self.bins and smooth[base + 1] < smooth[base]:
            base += 1
        return float(edges[base])
