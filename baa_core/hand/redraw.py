"""What the network that draws uncertain outlines again is shown, and which outlines are uncertain.

An overexposed, underexposed or pale hand shows in one range of greys what another hides. So that network sees a crop in
three of them at once, with the probability that the hand network gave.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..preprocessing.picture import Picture
from ..types import BoolArray, FloatArray
from .trimming import disc

# A settled outline is uncertain, and drawn again, if more pixels than this of its crop have a probability within the
# range, for each pixel of the outline's length. Of 100 sharp `val` radiographs 16 lie over it: their outlines become
# better by eye (webs between fingers, a thumb's tip, no edge of the field) or hardly change, Dice with the first one
# 0.976 to 0.995. Of 61 `val` thumbnails 31 do, of synthetic collimated frames two thirds.
MOST_UNCERTAIN, UNCERTAIN_RANGE = 1.5, (0.1, 0.9)
SMOOTH_PX = 4.0  # blur of a mask by which its length is measured; of a crop of 512 px
# Grey that the background has, and percentiles that the hand has, in the crops of 30 sharp `train` radiographs: what
# an uncertain hand's greys are mapped to.
USUAL_BACKGROUND = 0.05
USUAL_PERCENTS, USUAL_GREYS = (1, 5, 25, 50, 75, 95, 99), (0.10, 0.17, 0.30, 0.45, 0.63, 0.85, 0.97)
BESIDE_SHARES = (0.012, 0.08)  # nearest and farthest background that counts for that, of the crop's side
# The plane through that background. In place of one grey it mends the two of 200 synthetic frames that were under Dice
# 0.93; on the mean of 600 others it changes nothing (train/RUNS.md). Greys it is fitted to, percentile at which it
# begins, rounds, how little it slopes without cause, and the sum of weights and the contrast with the hand below which
# there is none.
PLANE_POINTS, PLANE_PERCENT, PLANE_ROUNDS, PLANE_STEADY = 6000, 70, 12, 1e-5
LEAST_PLANE_POINTS, LEAST_CONTRAST = 50, 1e-3
# Rows at the lower end of an outline whose grey lies within this of what is beside them, of the hand's contrast, show
# no forearm. On 400 synthetic collimated frames 11 outlines are cut at 0.12 and 12 at 0.18, 10 of them nearer to the
# truth then (Dice up to 0.07 more); of the redrawn ones among 100 sharp `val` radiographs and 61 `val` thumbnails none.
# At 0.25 of 17 one more becomes worse.
LEAST_END_CONTRAST = 0.15
END_SMOOTH_PX, END_GAP_PX, END_BESIDE_PX, END_MISSES = 2.0, 4, 24, 6  # of a crop of 512 px
LEAST_END_SHARE = 0.02  # of the outline's height
# A part that the second network draws apart from the rest, as a thumb whose root lies in the dark, is joined to it
# through what has at least this probability by the second network, or this by the second within the first outline. Of
# 400 synthetic collimated frames two thumbs are joined so, for 0.02 and 0.07 more Dice.
JOINING, JOINING_WITHIN_FIRST, JOINED = 0.15, 0.05, 0.6
LEAST_PART_SHARE = 0.03  # of the largest part's area: the thumbs have 0.056 and 0.075, two edges of the field 0.012


def uncertainty(probability: FloatArray) -> float:
    """Pixels with a probability within `UNCERTAIN_RANGE`, for each pixel of the smoothed outline's length.

    Args:
        probability: of "hand", (S, S).
    """
    least, most = UNCERTAIN_RANGE
    smooth = cv2.GaussianBlur((probability > 0.5).astype(np.float32), (0, 0), SMOOTH_PX) > 0.5
    contours, _ = cv2.findContours(smooth.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(contour, True) for contour in contours)
    return float(((probability > least) & (probability < most)).sum() / max(length, 1.0))


def redraw_channels(
    plain: Picture, low_high: tuple[float, float], probability: FloatArray, hand: BoolArray
) -> FloatArray:
    """What `RedrawNetwork` sees: the crop stretched, with usual greys, and squared, and the first probability.

    Args:
        plain: the crop, bone bright, with the radiograph's own greys; (S, S).
        low_high: the greys that become 0 and 1 in the first of them.
        probability: of "hand" by the hand network in that one, (S, S).
        hand: where it lies by that, (S, S).

    Returns:
        float32 (4, S, S); each range of greys with mean 0 and deviation 1, the probability from -1 to 1.
    """
    bright = stretched(plain, *low_high).pixels
    greys = (bright, with_usual_greys(plain, hand).pixels, bright**2)
    return np.stack([*(_standardised(grey) for grey in greys), 2.0 * probability - 1.0]).astype(np.float32)


def _standardised(pixels: FloatArray) -> FloatArray:
    return np.asarray((pixels - pixels.mean()) / max(float(pixels.std()), 1e-5), np.float32)


def stretched(picture: Picture, low: float, high: float) -> Picture:
    """The same with two greys brought to 0 and 1; what its mask leaves out stays as it is."""
    pixels = np.clip((picture.pixels - low) / max(high - low, 1e-6), 0.0, 1.0).astype(np.float32)
    return replace(picture, pixels=np.where(picture.mask, pixels, picture.pixels))


def with_usual_greys(shown: Picture, hand: BoolArray) -> Picture:
    """A crop in which background and hand have the greys that they have in most radiographs.

    Args:
        shown: the crop, with the radiograph's own greys.
        hand: where the hand lies in it.
    """
    width = shown.pixels.shape[1]
    near, far = (cv2.dilate(hand.astype(np.uint8), disc(max(1, round(share * width)))) > 0 for share in BESIDE_SHARES)
    inside = shown.pixels[hand & shown.mask]
    if not inside.size:
        return shown
    middle = float(np.median(inside))
    # What is brighter is no background: a marker, the field's surround.
    slope, background = _background(shown.pixels, far & ~near & shown.mask & (shown.pixels < middle), middle)
    if background is None:
        background = float(inside.min())
    level = shown.pixels - slope
    inside = level[hand & shown.mask]
    greys = np.percentile(inside, USUAL_PERCENTS)
    knots = [(background, USUAL_BACKGROUND)]
    for grey, usual in zip(greys.tolist(), USUAL_GREYS, strict=True):
        if grey > knots[-1][0] + 1e-4:
            knots.append((grey, usual))
    contrast = float(np.median(inside)) - background
    last = knots[-1][0]
    knots = [(background - 0.2 * contrast, 0.0), *knots, (last + 0.3 * (last - background) + 1e-4, 1.0)]
    own, usual_greys = np.array(knots).T
    pixels = np.interp(level, own, usual_greys).astype(np.float32)
    return replace(shown, pixels=np.where(shown.mask, pixels, shown.pixels))


def _background(pixels: FloatArray, beside: BoolArray, middle: float) -> tuple[FloatArray, float | None]:
    """A slope of the field's grey, and its level once that is taken away.

    A plane through the greys beside the hand by Tukey's biweight, so that a dark surround that begins beside the hand
    counts for nothing.

    Args:
        pixels: of the crop, (H, W).
        beside: what may be background, (H, W).
        middle: median grey of the hand.

    Returns:
        the plane less its level, within the greys it has beside the hand, (H, W); the level, None of nothing.
    """
    rows, columns = np.nonzero(beside)
    level = np.zeros(pixels.shape, np.float32)
    if not rows.size:
        return level, None
    every = max(1, rows.size // PLANE_POINTS)
    rows, columns = rows[::every], columns[::every]
    greys = pixels[rows, columns].astype(np.float64)
    height, width = pixels.shape
    points = np.stack([np.ones(len(rows)), columns / width - 0.5, rows / height - 0.5], axis=1)
    plane = np.array([np.percentile(greys, PLANE_PERCENT), 0.0, 0.0])
    reach = max(middle - float(plane[0]), LEAST_CONTRAST) / 2
    steady = np.diag([0.0, PLANE_STEADY, PLANE_STEADY])
    for _ in range(PLANE_ROUNDS):
        weight = np.clip(1.0 - ((greys - points @ plane) / reach) ** 2, 0.0, None) ** 2
        if weight.sum() < LEAST_PLANE_POINTS:
            return level, float(np.median(greys))
        weighted = points * weight[:, None]
        plane = np.linalg.solve(weighted.T @ points + weight.sum() * steady, weighted.T @ greys)
    low, high = np.percentile(points @ plane, (1, 99))
    across, down = np.arange(width) / width - 0.5, np.arange(height) / height - 0.5
    surface = np.clip(plane[0] + plane[1] * across[None, :] + plane[2] * down[:, None], low, high)
    background = float(np.median(surface))
    return np.asarray(surface - background, np.float32), background


def without_blank_end(probability: FloatArray, shown: Picture) -> FloatArray:
    """A probability that ends where the forearm does: beyond an edge of the field a network guesses how it goes on.

    Args:
        probability: of "hand", (S, S), fingers up.
        shown: the same crop with the radiograph's own greys.
    """
    hand = largest_part(probability > 0.5)
    if hand is None:
        return probability
    greys, seen = cv2.GaussianBlur(shown.pixels, (0, 0), END_SMOOTH_PX), shown.mask
    near, far = (cv2.dilate(hand.astype(np.uint8), disc(px)) > 0 for px in (END_GAP_PX, END_GAP_PX + END_BESIDE_PX))
    beside = greys[far & ~near & seen]
    middle = float(np.median(greys[hand]))
    darker = beside[beside < middle]
    limit = LEAST_END_CONTRAST * (middle - float(np.median(darker if darker.size else greys[hand].min())))
    rows = np.flatnonzero(hand.any(axis=1))
    first, last = int(rows[0]), int(rows[-1])
    end, misses = last + 1, 0
    for row in range(last, (first + last) // 2, -1):
        columns = np.flatnonzero(hand[row])
        if columns.size and _blank(greys[row], seen[row], columns, limit):
            end, misses = row, 0
        else:
            misses += 1
        if misses > END_MISSES:
            break
    if last + 1 - end < LEAST_END_SHARE * (last - first):
        return probability
    ended = probability.copy()
    ended[end:] = 0.0
    return ended


def with_parts_joined(probability: FloatArray, first: FloatArray) -> FloatArray:
    """A probability in which parts of one hand that a faint place divides are one region.

    Args:
        probability: of "hand" by the second network, (S, S).
        first: the same by the hand network.
    """
    count, parts, statistics, _ = cv2.connectedComponentsWithStats((probability > 0.5).astype(np.uint8))
    if count < 3:
        return probability
    areas = statistics[1:, cv2.CC_STAT_AREA]
    main = 1 + int(np.argmax(areas))
    faint = (probability > JOINING) | ((probability > JOINING_WITHIN_FIRST) & (first > 0.5))
    _, regions = cv2.connectedComponents(faint.astype(np.uint8))
    one = regions == regions[parts == main][0]
    others = [part for part in np.unique(parts[one & (probability > 0.5)]) if part != main]
    if not any(areas[part - 1] > LEAST_PART_SHARE * areas[main - 1] for part in others):
        return probability
    return np.where(one, np.maximum(probability, np.float32(JOINED)), probability)


def _blank(greys: FloatArray, seen: BoolArray, columns: NDArray[np.intp], limit: float) -> bool:
    """Does a row of an outline differ in nothing from what lies on either side of it?"""
    left, right = int(columns[0]) - END_GAP_PX, int(columns[-1]) + 1 + END_GAP_PX
    sides = np.s_[max(0, left - END_BESIDE_PX) : max(0, left)], np.s_[right : right + END_BESIDE_PX]
    levels = [np.median(greys[side][seen[side]]) for side in sides if 2 * seen[side].sum() >= END_BESIDE_PX]
    own = np.median(greys[columns])
    return bool(levels) and all(abs(own - level) < limit for level in levels)


def largest_part(region: BoolArray) -> BoolArray | None:
    """The largest connected part, or None of nothing."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    if count < 2:
        return None
    return np.asarray(parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])), np.bool_)
