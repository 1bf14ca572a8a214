"""Traces of strong JPEG compression, in a file's tables or, where it was stored anew, in the picture itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..types import Caution, FloatArray

BLOCK_PX = 8
LEAST_BLOCKS = 8  # along a side; fewer tell nothing
# 5 `val` radiographs stored as JPEG by Pillow: at quality 10 the estimate moves by 5.1 months on average (8.9 at most),
# at 15 by 2.6 (7.2), at 20 by 1.4 (2.4), at 30 by 2.1 (5.2). The mean step of the luminance table is 196, 167, 142 and
# 96; at quality 50 it is 58.
MOST_STEP = 90.0
# `block_ratio` of 78 `val` pictures as they come is at most 1.7. Of 12 radiographs it is 2.7 to 4.3 at quality 50, 3.5
# to 5.9 at 30, 4.9 to 7.4 at 20, 4.9 to 11 at 10.
MOST_BLOCK_RATIO = 4.5
GRAIN = 0.25 / 255  # added to both sides of the ratio: in a drawing without grain it would be one of rounding errors

STRONG = Caution(
    "strong_compression",
    "The picture was compressed so strongly as JPEG that blocks of 8 x 8 pixels show in it, which moves the estimate. "
    "Use the original, or an export of high quality.",
)


def about_compression(pixels: FloatArray, tables: Mapping[int, Sequence[int]] | None) -> tuple[Caution, ...]:
    """That the picture was compressed too strongly.

    Args:
        pixels: (H, W) in [0, 1].
        tables: quantisation tables of a JPEG file, the luminance first; None for another file.
    """
    coarse = bool(tables) and float(np.mean(next(iter((tables or {}).values())))) > MOST_STEP
    return (STRONG,) if coarse or block_ratio(pixels) > MOST_BLOCK_RATIO else ()


def block_ratio(pixels: FloatArray) -> float:
    """How much rougher a picture is where blocks of 8 pixels meet than elsewhere; about 1 without compression.

    The third difference across each border of two pixels is sorted by where it lies modulo 8, in rows and in columns,
    and its median over all blocks taken. The ratio is that of the roughest place to the median of all eight, in the
    direction where it is less: a straight edge or the lines of a screen lie in one.

    Args:
        pixels: (H, W) in [0, 1].
    """
    ratios = []
    for lines in (pixels, pixels.T):
        if lines.shape[1] < BLOCK_PX * LEAST_BLOCKS:
            return 1.0
        rough = np.abs(np.diff(lines, n=3, axis=1)).mean(axis=0)
        by_place = np.array([np.median(rough[place::BLOCK_PX]) for place in range(BLOCK_PX)])
        ratios.append(float((by_place.max() + GRAIN) / (np.median(by_place) + GRAIN)))
    return min(ratios)
