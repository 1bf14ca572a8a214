"""Radiograph + HandMask -> nothing, or a refusal: is enough of a hand there, and can bone be seen in it?

Thresholds lie well outside what was measured on 200 sharp radiographs and 100 thumbnails (100 px, enlarged to 256) of
the `train` split, of which these rules refuse one (a thumbnail without fingertips), and where 16 other train
radiographs came to lie after the damage named beside each. Greys are measured with the hand brought to one length, so
that they mean the same for every picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import HandCutOff, QualityTooLow
from ..preprocessing.picture import box_of
from ..types import BoolArray, Caution, FloatArray, HandMask, Radiograph

# Cut off, in palms (see `framing`). Train radiographs: fingers on the edge at most 0.37, thumbnails 0.34 in 99 of 100;
# finger reach from 0.96; wrist reach from 0.66, the wrist on the edge up to 0.91.
# Of radiographs cut across the fingers 50 of 62 are refused, of radiographs cut at the wrist or through the carpals 25
# of 31.
MOST_FINGERS_ON_EDGE_PALMS = 0.45
LEAST_FINGER_REACH_PALMS = 0.9
TOUCHING_PALMS = 0.1  # on the edge at all, beyond the chance of a pixel or two
LEAST_WRIST_REACH_PALMS = 0.68
WRIST_TOUCHING_PALMS = 0.3
MOST_WRIST_ON_EDGE_PALMS = 1.0  # wider than the palm is: the cut goes through the palm

LEAST_LENGTH_PX = 60  # 98 of 100 train thumbnails have a hand of more than 61 px on their own 100 px grid
LEAST_LEVELS = (
    16  # train radiographs have 33 or more different greys of 256 in the hand; at 3 % brightness 3 to 8 are left
)
MOST_CLIPPED_SHARE = 0.1  # train radiographs up to 0.021; at four times the brightness most of the hand
LEAST_BONE_CONTRAST = 0.03  # train radiographs from 0.053; blurred until no bone shows 0.015 to 0.042, half under 0.028
LEAST_BONE_TO_GRAIN = 1.0  # train radiographs from 3.8; with noise of 0.2 of full brightness 0.5 to 1.8, half under 0.7
LEAST_FINENESS = (
    0.12  # train thumbnails from 0.17, sharp radiographs from 0.24; blurred over 1 % of the height up to 0.11
)

# Detail in palm and wrist against detail in the fingers: plaster hides the one and not the other. Lowest of 372 sharp
# `train` radiographs 0.46, of 94 thumbnails 0.45, of 34 `val` radiographs 0.47; drawn plaster to 0.40.
LEAST_PALM_DETAIL = 0.44
PALM_FROM_TO, FINGERS_FROM = (-1.2, 0.4), 0.75  # in palms from the palm's middle, towards the fingers
LEAST_PART_PX = 50
# What is as bright as dense bone at the skin, as metal is. 926 sharp `train` and `val` radiographs have at most 0.0008;
# with a drawn aluminium splint 25 of `val` from 0.010 and 8 drawn hands from 0.043, with a ring 0.005 in the median.
SKIN_INSIDE_PX, SKIN_OUTSIDE_PX, DENSE_BONE_PERCENT = 4, 3, 90
MOST_BRIGHT_SKIN = 0.0025
VEILED = Caution(
    "foreign_material",
    "Wrist and palm show far less detail than the fingers, as under plaster or another dressing. The estimate can be "
    "off by a year and more there; use a radiograph without it if you can.",
)
METAL = Caution(
    "foreign_material",
    "Something as bright as dense bone lies at the skin of the fingers, such as a splint or a ring. The bones below it "
    "are assessed less surely; use a radiograph without it if you can.",
)

# Strong processing of the greys. Of 926 sharp `train` and `val` radiographs none lies over the limits of local contrast
# and edge fineness, ten over that of the skin step. Told are, of 30 `val` radiographs (`python -m train robustness
# --processing`), with what it moves the estimate by on average: local equalisation (OpenCV's CLAHE, 8 x 8 tiles) with a
# clip limit of 8 29 (2.2 months), of 4 28 (1.9); the histogram equalised 27 of 28 (2.1); a power of 0.5 13 (0.7), of 2
# none of 29 (1.7). Of 14 others windowed to the 10th to 99th percentile of the hand or harder 100 % (8.6 to 15), to the
# 5th to 99th 93 % (4.7), to the 2nd to 99.5th none (3.2).
MOST_LOCAL_CONTRAST = 1.6  # ordinary radiographs up to 1.29, drawn ones 1.48, CLAHE of 8 from 1.4
MOST_EDGE_FINENESS = 0.46  # those 926 up to 0.453, median 0.29; 60 of them sharpened threefold from 0.49, 57 from 0.55
STRONGEST_PERCENT = 5  # edges of metal and letters, which are no sharpening
MOST_SKIN_STEP = 0.48  # ordinary ones up to 0.51
MOST_BLACK_SHARE, MOST_WHITE_SHARE = 0.4, 0.01  # 27 and 5 ordinary ones lie over either, none over both
SKIN_FROM_TO_PX = (3, 6)  # to either side of the outline, in the hand of `MEASURED_LENGTH_PX`
NEARLY_BLACK = 4 / 255  # of the range of greys: what storing as JPEG makes of black
AROUND_SHARE = 0.12  # of the longer side of the hand's box

MEASURED_LENGTH_PX = 256  # of the hand, in the picture that greys are measured in
SKIN_PX = 4  # there: left out at the hand's outline, which is no bone
BLACK, WHITE = 0.5 / 255, 254.5 / 255


class HandGreys:
    """One radiograph and hand, and what the checks of its greys have in common, each measured once.

    Args:
        radiograph: as read; wrong polarity does not matter here.
        hand: on the same grid.
    """

    def __init__(self, radiograph: Radiograph, hand: HandMask) -> None:
        self.radiograph, self.hand = radiograph, hand
        self._blurred: dict[float, FloatArray] = {}

    @cached_property
    def framing(self) -> Framing:
        """How the hand lies in its picture."""
        return measure_framing(self.hand)

    @cached_property
    def inside(self) -> FloatArray:
        """The greys of the hand, (N,)."""
        return self.radiograph.pixels[self.hand.pixels]

    @cached_property
    def grey_range(self) -> float:
        """From the 1st to the 99th percentile of the hand's greys."""
        low, high = np.percentile(self.inside, (1.0, 99.0))
        return max(float(high - low), 1e-6)

    @cached_property
    def at_one_length(self) -> tuple[FloatArray, BoolArray, BoolArray]:
        """See `_at_one_length`."""
        return _at_one_length(self.radiograph.pixels, self.hand.pixels, max(1, self.framing.length_px))

    @cached_property
    def with_skin(self) -> tuple[FloatArray, BoolArray, BoolArray]:
        """The same with a margin in which the skin's outer side can be measured."""
        length_px = max(1, self.framing.length_px)
        return _at_one_length(self.radiograph.pixels, self.hand.pixels, length_px, SKIN_FROM_TO_PX[1])

    def palms_towards_fingers(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """How far places of `at_one_length` lie from the palm's middle towards the fingers, in palms."""
        row, column, palm_px = self._palm
        tilt = np.deg2rad(self.hand.tilt_degrees)
        return np.asarray(((columns - column) * np.sin(tilt) - (rows - row) * np.cos(tilt)) / palm_px, np.float64)

    @cached_property
    def _palm(self) -> tuple[int, int, float]:
        """Row and column of the middle of the widest place of the hand at one length, and its width."""
        _, whole, _ = self.at_one_length
        depth = cv2.distanceTransform(np.pad(whole, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        return int(row), int(column), max(2.0 * float(depth.max()), 1.0)

    def blurred(self, sigma_px: float) -> FloatArray:
        """The hand at one length, blurred; see `_blurred_within`."""
        if sigma_px not in self._blurred:
            pixels, whole, _ = self.at_one_length
            self._blurred[sigma_px] = _blurred_within(whole, pixels, sigma_px)
        return self._blurred[sigma_px]


@dataclass(frozen=True)
class _Greys:
    """What the greys in a hand allow to be seen.

    Attributes:
        levels: different greys of 256.
        clipped_share: of the hand that is pure black or pure white, whichever is more.
        bone_contrast: deviation of bone-sized detail, of the hand's grey range (1st to 99th percentile).
        bone_to_grain: the same detail against the deviation of pixel noise.
        fineness: detail a pixel or two wide against bone-sized detail.
    """

    levels: int
    clipped_share: float
    bone_contrast: float
    bone_to_grain: float
    fineness: float


def check_quality(hand_greys: HandGreys) -> None:
    """Refuse a hand in which bone cannot be seen.

    Raises:
        QualityTooLow: the hand is too small, too dark, too bright, too flat, too grainy or too blurred.
    """
    radiograph, length_px = hand_greys.radiograph, hand_greys.framing.length_px
    if length_px < LEAST_LENGTH_PX:
        raise _too_low(radiograph, f"is only {length_px} pixels long, {LEAST_LENGTH_PX} are the least")
    greys = _measure_greys(hand_greys)
    if greys.clipped_share > MOST_CLIPPED_SHARE:
        clipped = f"is pure black or white over {greys.clipped_share:.0%} of its area, as in a hard window"
        raise _too_low(radiograph, clipped)
    if greys.levels < LEAST_LEVELS:
        raise _too_low(radiograph, f"has only {greys.levels} different greys, {LEAST_LEVELS} are the least")
    if greys.bone_to_grain < LEAST_BONE_TO_GRAIN:
        raise _too_low(radiograph, f"is grainy: the grain is {1 / greys.bone_to_grain:.1f} times as strong as the bone")
    if greys.bone_contrast < LEAST_BONE_CONTRAST:
        raise _too_low(radiograph, f"is flat: bone makes up {greys.bone_contrast:.1%} of its range of greys")
    if greys.fineness < LEAST_FINENESS:
        raise _too_low(
            radiograph, f"is blurred: fine detail is {greys.fineness:.2f} of the coarse, {LEAST_FINENESS} is the least"
        )


def about_foreign_material(hand_greys: HandGreys) -> tuple[Caution, ...]:
    """That plaster or another foreign material veils wrist and palm, or metal lies on the fingers."""
    detail = palm_detail(hand_greys)
    veiled = detail is not None and detail < LEAST_PALM_DETAIL
    metal = bright_skin_share(hand_greys) > MOST_BRIGHT_SKIN
    return (*((VEILED,) if veiled else ()), *((METAL,) if metal else ()))


def palm_detail(hand_greys: HandGreys) -> float | None:
    """Bone-sized detail in palm and wrist, of that in the fingers; None where either is hardly there."""
    _, _, core = hand_greys.at_one_length
    rows, columns = np.nonzero(core)
    along = hand_greys.palms_towards_fingers(rows, columns)
    detail = np.abs(hand_greys.blurred(1.5) - hand_greys.blurred(8.0))[rows, columns]
    fingers, below = along > FINGERS_FROM, (along > PALM_FROM_TO[0]) & (along < PALM_FROM_TO[1])
    if min(int(fingers.sum()), int(below.sum())) < LEAST_PART_PX:
        return None
    return float(detail[below].mean()) / max(float(detail[fingers].mean()), 1e-6)


def bright_skin_share(hand_greys: HandGreys) -> float:
    """How much of the skin of the fingers' half is as bright as dense bone, which lies deeper in any hand."""
    pixels, whole, core = hand_greys.at_one_length
    beyond = np.pad(whole, 1)
    inside, outside = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] for side in (beyond, ~beyond)
    )
    band = (inside <= SKIN_INSIDE_PX) & (outside <= SKIN_OUTSIDE_PX)
    band[[0, -1]] = band[:, [0, -1]] = False
    rows, columns = np.nonzero(band)
    there = hand_greys.palms_towards_fingers(rows, columns) > 0.0
    if int(there.sum()) < LEAST_PART_PX:
        return 0.0
    turned = -pixels if hand_greys.hand.inverted else pixels
    dense = np.percentile(turned[core], DENSE_BONE_PERCENT)
    return float((turned[rows[there], columns[there]] > dense).mean())


def about_processing(hand_greys: HandGreys) -> tuple[Caution, ...]:
    """That the greys were windowed hard or equalised, as a whole or part by part, or edges strongly enhanced."""
    found = measure_processing(hand_greys)
    if found.hard_window:
        how = ["soft tissue is black and dense bone white, as in a hard bone window"]
    else:
        traces = {
            "it has nearly the same contrast everywhere": found.local_contrast > MOST_LOCAL_CONTRAST,
            "its edges are strongly sharpened": found.edge_fineness > MOST_EDGE_FINENESS,
            "its soft tissue is as bright as in an equalised picture": found.skin_step > MOST_SKIN_STEP,
        }
        how = [said for said, there in traces.items() if there]
    if not how:
        return ()
    return (
        Caution(
            "strong_processing",
            f"The greys of this picture look strongly processed: {' and '.join(how)}. The estimate can be off by a "
            "year and more for it. Use the original, or an export in its usual window without enhancement.",
        ),
    )


@dataclass(frozen=True)
class Processing:
    """What strong processing of the greys leaves behind.

    All but the shares are measured with the hand brought to `MEASURED_LENGTH_PX`.

    Attributes:
        local_contrast: deviation of bone-sized detail, of that of the hand's coarse brightness; local equalisation
            (CLAHE) raises the one and levels the other.
        edge_fineness: detail a pixel or two wide against bone-sized detail; unsharp masking raises it.
        skin_step: how much brighter it is just inside the skin than just outside, of the hand's grey range (1st to 99th
            percentile); equalising the histogram of a picture with much background raises it.
        black_share: of the box around the hand, hand included, that is black; bone bright.
        white_share: of the hand that is white.
    """

    local_contrast: float
    edge_fineness: float
    skin_step: float
    black_share: float
    white_share: float

    @property
    def hard_window(self) -> bool:
        """Soft tissue is black and dense bone white."""
        return self.black_share > MOST_BLACK_SHARE and self.white_share > MOST_WHITE_SHARE


def measure_processing(hand_greys: HandGreys) -> Processing:
    """Measure the traces of processing; all 0 for an empty mask."""
    radiograph, hand = hand_greys.radiograph, hand_greys.hand
    if hand_greys.framing.length_px == 0:
        return Processing(0.0, 0.0, 0.0, 0.0, 0.0)
    pixels, whole, core = hand_greys.with_skin
    middle, coarse, coarsest = (_blurred_within(whole, pixels, sigma) for sigma in (1.5, 8.0, 16.0))
    bone = max(float((middle - coarse)[core].std()), 1e-6)
    sides = [_at_distance(pixels, side) for side in (whole, ~whole)]
    step = float(abs(sides[0] - sides[1])) / hand_greys.grey_range
    return Processing(
        local_contrast=bone / max(float(coarsest[core].std()), 1e-6),
        edge_fineness=edge_fineness(pixels, whole, core),
        skin_step=step if np.isfinite(step) else 0.0,
        black_share=float((_around(radiograph.pixels, hand) < NEARLY_BLACK).mean()),
        white_share=float((_bone_bright(hand_greys.inside, hand) > 1.0 - NEARLY_BLACK).mean()),
    )


def edge_fineness(pixels: FloatArray, whole: BoolArray, core: BoolArray) -> float:
    """Detail a pixel or two wide against bone-sized detail, each without its strongest, such as edges of metal.

    Args:
        pixels: the hand at one length, (H, W).
        whole: the hand in it.
        core: where it is measured.
    """
    fine, middle, coarse = (_blurred_within(whole, pixels, sigma) for sigma in (0.7, 1.5, 8.0))
    return _ordinary_deviation((fine - middle)[core]) / max(_ordinary_deviation((middle - coarse)[core]), 1e-6)


def _ordinary_deviation(detail: FloatArray) -> float:
    """Root mean square of values, the strongest `STRONGEST_PERCENT` counted no stronger than the next."""
    size = np.abs(detail)
    return float(np.sqrt(np.mean(np.minimum(size, np.percentile(size, 100 - STRONGEST_PERCENT)) ** 2)))


def _bone_bright(pixels: FloatArray, hand: HandMask) -> FloatArray:
    return 1.0 - pixels if hand.inverted else pixels


def _around(pixels: FloatArray, hand: HandMask) -> FloatArray:
    """The box around the hand, with a margin, bone bright."""
    top, left, bottom, right = box_of(hand.pixels)
    margin = round(AROUND_SHARE * max(bottom - top, right - left))
    box = np.s_[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    return _bone_bright(pixels[box], hand)


def _at_distance(pixels: FloatArray, side: BoolArray) -> float:
    """Median grey on one side of the outline at `SKIN_FROM_TO_PX` from it; NaN where there is hardly anything."""
    away = cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
    there = (away > SKIN_FROM_TO_PX[0]) & (away <= SKIN_FROM_TO_PX[1])
    return float(np.median(pixels[there])) if there.sum() >= LEAST_PART_PX else float("nan")


def _too_low(radiograph: Radiograph, what: str) -> QualityTooLow:
    """The error every fault of the greys ends in."""
    return QualityTooLow(
        f"The hand in {radiograph.name} {what}, so no bone can be assessed in it. "
        "Use the original file, not a copy made smaller, darkened or photographed from a screen."
    )


def check_whole(hand: HandMask, name: str) -> None:
    """Refuse a hand of which the picture's edge cuts the fingers or the wrist off, by its mask alone.

    It stands in for `cut.find_cuts` where no joints are placed.

    Args:
        hand: on the radiograph's grid.
        name: what to call the picture.

    Raises:
        HandCutOff: fingers or wrist lie beyond the picture's edge.
    """
    framing = measure_framing(hand)
    fingers = framing.fingers_on_edge_palms
    short = framing.finger_reach_palms < LEAST_FINGER_REACH_PALMS and fingers > TOUCHING_PALMS
    if fingers > MOST_FINGERS_ON_EDGE_PALMS or short:
        raise HandCutOff(
            f"The fingers in {name} are cut off: {fingers:.1f} palm widths of them lie on the picture's edge. "
            "All fingers and the wrist are needed: use the whole radiograph, or take a new one if it ends there."
        )
    wrist = framing.wrist_on_edge_palms
    short = framing.wrist_reach_palms < LEAST_WRIST_REACH_PALMS and wrist > WRIST_TOUCHING_PALMS
    if wrist > MOST_WRIST_ON_EDGE_PALMS or short:
        raise HandCutOff(
            f"The wrist in {name} is cut off: the picture ends {framing.wrist_reach_palms:.1f} palm widths below the "
            "middle of the palm. The ends of radius and ulna are needed: use the whole radiograph, or take a new one."
        )


def _measure_greys(hand_greys: HandGreys) -> _Greys:
    inside, (pixels, _, core) = hand_greys.inside, hand_greys.at_one_length
    fine, middle, coarse = (hand_greys.blurred(sigma) for sigma in (0.7, 1.5, 8.0))
    bone = max(float((middle - coarse)[core].std()), 1e-6)
    return _Greys(
        levels=int(np.count_nonzero(np.bincount(np.round(inside * 255).astype(np.uint8)))),
        clipped_share=float(max((inside < BLACK).mean(), (inside > WHITE).mean())),
        bone_contrast=bone / hand_greys.grey_range,
        bone_to_grain=bone / max(_noise_deviation(pixels, core), 1e-6),
        fineness=float((fine - middle)[core].std()) / bone,
    )


def _noise_deviation(pixels: FloatArray, core: BoolArray) -> float:
    """Deviation of pixel noise by a mask that edges hardly move (Immerkaer, CVIU 1996;64:300-302)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(pixels, cv2.CV_32F, kernel)[core])
    return float(response.mean() * np.sqrt(np.pi / 2) / 6)


def _blurred_within(whole: BoolArray, pixels: FloatArray, sigma_px: float) -> FloatArray:
    """Gaussian blur that mixes in nothing from beside the hand: the step at the skin is no bone."""
    weight = whole.astype(np.float32)
    total, area = (cv2.GaussianBlur(values, (0, 0), sigma_px) for values in (pixels * weight, weight))
    return np.asarray(total / np.maximum(area, 1e-3), np.float32)


def _at_one_length(
    pixels: FloatArray, mask: BoolArray, length_px: int, margin_px: int = SKIN_PX
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """The box around the hand, brought to where the hand is `MEASURED_LENGTH_PX` long, the hand, and it without skin.

    Cut out first: a small hand in a huge picture must not make it larger still.
    """
    scale = MEASURED_LENGTH_PX / length_px
    margin = int(np.ceil(margin_px / scale))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.s_[
        max(0, rows[0] - margin) : rows[-1] + margin + 1, max(0, columns[0] - margin) : columns[-1] + margin + 1
    ]
    size = (max(1, round(pixels[box].shape[1] * scale)), max(1, round(pixels[box].shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(pixels[box], size, interpolation=how), np.float32)
    hand = cv2.resize(mask[box].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    core = cv2.erode(hand, np.ones((2 * SKIN_PX + 1, 2 * SKIN_PX + 1), np.uint8)) > 0
    return small, hand > 0, core if core.any() else hand > 0


MEASURED_SIDE_PX = 256  # of the reduced mask; its edges are then good to half a percent


# Close to an edge is on it: of 16 radiographs cut through the fingers, up to 14 masks ended up to 0.8 % short of the
# cut.
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
    top, left, bottom, right = box_of(mask)
    corners = towards(np.array([top, top, bottom, bottom]), np.array([left, right, left, right]))
    if corners.min() >= middle - most_palms * scale * palm:  # nothing in the box lies so far
        return mask
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
