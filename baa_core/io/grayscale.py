"""Numbers of any kind, grey or colour, to one channel in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedImage
from ..types import BoolArray, Caution, FloatArray

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # luma of red, green, blue, ITU-R BT.601
# Mean distance of colours from the picture's own tint, `_colour_spread`. Measured: radiographs tinted blue, sepia or
# cyan, unevenly lit or labelled in red reach 0.008; ten photographs lie between 0.015 and 0.058, noise at 0.3.
COLOUR_SPREAD_LIMIT = 0.012
SAMPLE_PX = 2**20  # limits are sought among so many pixels, evenly spread
# Of 103 `val` radiographs 4 have such a gap, all for a label three times as bright as the hand; without it they move by
# 0.8 months on average. 12 bits in 16 leave a gap of 0.94 of the range, 14 bits in 16 one of 0.75.
GAP_SHARE = 0.7
GAP_PIXELS_SHARE = 0.002  # of the pixels may lie in a gap: the soft edge of a label
STRAY_SHARE = 2e-4  # of the pixels may be strays at either end: dead ones, or some damaged bytes
STRAY_GAP_SHARE = 0.04  # of the range between them and the next value; 1 of 103 `val` radiographs has such a gap
LEAST_LEVELS = 16  # different greys that make a picture; `quality` asks for as many in the hand
MOST_GAPS = 4  # one at either end, twice
# `_second_hue`. Measured on a drawn hand and 4 `train` and `val` radiographs: four tints, sepia, a duotone and OpenCV's
# map "bone" reach 0.016, a red sticker on them 0.027. Of 20 other colour maps 12 exceed the limit in every picture; the
# others fall below it in some, and are then read with the caution that only their brightness was used.
SECOND_HUE_LIMIT = 0.04
TINT_WORTH_TELLING = 0.02  # mean difference of the largest and least channel: above the rounding of JPEG


def stretch(values: NDArray[Any], name: str, left_out: BoolArray | None = None) -> FloatArray:
    """Any finite numbers (H, W) to float32 in [0, 1], the limits of `grey_limits` at 0 and 1, what lies beyond clipped.

    Args:
        values: (H, W).
        name: what to call the file.
        left_out: bool (H, W), True where a pixel is padding; it has no part in the limits.

    Raises:
        UnsupportedImage: NaN or infinity somewhere, or the same value everywhere.
    """
    used = values if left_out is None else values[~left_out]
    if values.dtype.kind == "f" and not np.isfinite(np.ptp(used)):
        raise UnsupportedImage(
            f"{name} holds pixels that are not finite numbers (NaN or infinity). "
            "Export it again with whole-number pixels."
        )
    low, high = (0.0, 0.0) if used.min() == used.max() else grey_limits(used)
    if low >= high:  # the same everywhere, but perhaps for a stray pixel
        raise UnsupportedImage(
            f"{name} is one even grey, black or white from edge to edge. "
            "A picture of a hand is expected; export it again."
        )
    exact: NDArray[Any] = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    stretched: FloatArray = np.clip((exact - low) / (high - low), 0, 1).astype(np.float32)
    return stretched


def grey_limits(values: NDArray[Any]) -> tuple[float, float]:
    """The greys that become black and white: least and greatest, but for what stands far apart from the picture.

    A label, dead pixels or undeclared padding at full scale, as in 12-bit data in a 16-bit file, would leave the hand a
    sixteenth of the range. So whatever lies beyond a gap of `GAP_SHARE` of the range is left out. In one without
    such a gap the limits are the least and the greatest value, as they always were.

    Args:
        values: finite numbers of any shape, not all the same.
    """
    flat = values.reshape(-1)
    low, high = _without_strays(flat)
    sample = np.clip(np.sort(flat[:: max(1, flat.size // SAMPLE_PX)].astype(np.float64)), low, high)
    for _ in range(MOST_GAPS):
        between = round(GAP_PIXELS_SHARE * sample.size)
        padded = np.concatenate(([low], sample, [high]))
        widths = padded[1 + between :] - padded[: -1 - between]
        at = int(np.argmax(widths))
        if widths[at] < GAP_SHARE * (high - low):
            break
        below, above = padded[1 : at + 1], padded[at + 1 + between : -1]
        kept = below if _varied(below) >= _varied(above) else above
        if kept.size == 0 or len(np.unique(kept)) < LEAST_LEVELS:
            break
        low, high, sample = float(kept[0]), float(kept[-1]), kept
    return low, high


def _without_strays(flat: NDArray[Any]) -> tuple[float, float]:
    """Least and greatest value, but for a few dead pixels or one value of padding, far from all others."""
    few = min(max(1, round(STRAY_SHARE * flat.size)), flat.size // 2)
    ends = np.partition(flat, (few, flat.size - 1 - few))
    lows, highs = np.sort(ends[: few + 1]).astype(np.float64), np.sort(ends[-few - 1 :]).astype(np.float64)
    low, high = float(lows[0]), float(highs[-1])
    for _ in range(2):  # a stray at one end hides one at the other
        above = np.flatnonzero(np.diff(highs) > STRAY_GAP_SHARE * (high - low))
        high = float(highs[above[0]]) if above.size else high
        below = np.flatnonzero(np.diff(lows) > STRAY_GAP_SHARE * (high - low))
        low = float(lows[below[-1] + 1]) if below.size else low
    inner = flat[(flat > low) & (flat < high)]
    if inner.size and len(np.unique(inner[:: max(1, inner.size // SAMPLE_PX)])) >= LEAST_LEVELS:
        gap = STRAY_GAP_SHARE * (high - low)
        least, greatest = float(inner.min()), float(inner.max())
        low, high = least if least - low > gap else low, greatest if high - greatest > gap else high
    return low, high


def _varied(sample: NDArray[np.float64]) -> int:
    """How many of sorted values are not the most frequent one: padding has none, a picture many."""
    if sample.size == 0:
        return 0
    starts = np.flatnonzero(np.concatenate(([True], np.diff(sample) > 0)))
    return int(sample.size - np.diff(np.append(starts, sample.size)).max())


def _sampled(colours: FloatArray) -> FloatArray:
    """Colours (H, W, 3) as (N, 3) with N of at most some 260 000: enough to judge them by."""
    step = max(1, max(colours.shape[:2]) // 256)
    return colours[::step, ::step].reshape(-1, 3)


def _tints(sample: FloatArray) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
    """Opponent colours (N, 2), the brightness of each of 64 levels, and the median opponent colour of each level."""
    grey = sample @ GREY_WEIGHTS
    opponent = sample[:, (0, 2)] - grey[:, None]
    level = np.minimum((grey * 64).astype(np.intp), 63)
    tint = np.zeros((64, 2), np.float32)
    for each in np.unique(level):
        tint[each] = np.median(opponent[level == each], axis=0)
    return opponent, level, tint


def _colour_spread(sample: FloatArray) -> float:
    """How far colours lie from the picture's own tint, the tenth that fits worst left out (labels, marker pens).

    A tinted radiograph has one colour for each brightness, a photograph has many. So the median colour at each of 64
    brightnesses is taken away, and the mean distance that remains is returned, in units of full brightness.
    """
    opponent, level, tint = _tints(sample)
    distance = np.sort(np.hypot(*(opponent - tint[level]).T))
    return float(distance[: max(1, len(distance) * 9 // 10)].mean())


def _second_hue(sample: FloatArray) -> float:
    """How far the tint itself leaves a single hue as brightness grows, as a root mean square over pixels.

    A tint is one hue, more or less of it; a colour map goes through several. The twentieth that fits worst is left out.
    """
    _, level, tint = _tints(sample)
    shown = tint[level]
    for _ in range(2):  # without what fits the hue worst the hue itself is found better
        _, _, axes = np.linalg.svd(shown.T @ shown)
        beside = np.abs(shown @ axes[1])
        shown = shown[np.argsort(beside, kind="stable")[: max(1, len(shown) * 19 // 20)]]
    return float(np.sqrt(np.mean((shown @ axes[1]) ** 2)))


def to_grey(samples: NDArray[Any], name: str) -> tuple[NDArray[Any], list[Caution]]:
    """Samples (H, W) or (H, W, 2 to 4) in the order grey or RGB, then alpha; to one channel (H, W).

    Raises:
        UnsupportedImage: a colour photograph, or false colours.
    """
    if samples.ndim == 2:
        return samples, []
    cautions = []
    full = np.iinfo(samples.dtype).max
    colours = samples[..., : 1 if samples.shape[-1] == 2 else 3]
    if samples.shape[-1] in (2, 4) and (samples[..., -1] < full).any():
        colours = colours * (samples[..., -1:] / np.float32(full))
        cautions.append(Caution("transparency_black", "The picture has transparent parts; they were taken as black."))
    if colours.shape[-1] == 1 or all(np.array_equal(colours[..., 0], colours[..., band]) for band in (1, 2)):
        return colours[..., 0], cautions
    fractions = colours.astype(np.float32) / np.float32(full)
    sample = _sampled(fractions)
    if _colour_spread(sample) > COLOUR_SPREAD_LIMIT:
        raise UnsupportedImage(
            f"{name} looks like a colour photograph or drawing. "
            "A grey radiograph is expected; a slight tint does no harm."
        )
    if _second_hue(sample) > SECOND_HUE_LIMIT:
        raise UnsupportedImage(
            f"{name} is in false colours: a colour map stands for its greys, and cannot be undone. "
            "A grey radiograph is expected; export it without the colour map."
        )
    if np.ptp(sample, axis=-1).mean() > TINT_WORTH_TELLING:
        cautions.append(Caution("colour_to_grey", "The picture is in colour; only its brightness was used."))
    return fractions @ GREY_WEIGHTS, cautions
