"""Radiograph -> Radiograph without the lines of an alignment grid, with a caution.

A grid's lines run straight through the whole picture, along its rows and columns. Nothing of a hand does, so they are
replaced by what lies on both sides of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from ..types import BoolArray, Caution, FloatArray, Radiograph

WIDEST_SHARE: Final = 0.012  # of the longer side: a line is narrower
LEAST_STEP: Final = 0.04  # of full brightness, above what lies on both sides
LEAST_COVERED_SHARE: Final = 0.8  # of the picture's width or height
# Nearly no picture has a grid: first some columns are tried, with a share that a row on a line reaches in any 200
# of them (0.8 of all columns, less seven standard errors).
SAMPLED_COLUMNS: Final = 200
LEAST_SAMPLED_SHARE: Final = 0.6
FEWEST_LINES: Final = 3  # along each axis: an edge of the field, a scratch or a dead row of a detector is no grid
MOST_SHARE: Final = 0.2  # of all rows or columns: more is a pattern, such as a screen's, and no grid
SOFT_PX: Final = 2  # on both sides, blurred by scaling and compression

CAUTION: Final = Caution(
    "grid_removed",
    "The lines of an alignment grid run through this picture. They were replaced by the greys beside them before the "
    "estimate; use the radiograph without the grid if there is one.",
)


def without_grid(radiograph: Radiograph) -> Radiograph:
    """The radiograph as it is, or with its grid lines filled in and `CAUTION`.

    Args:
        radiograph: pixels (H, W) in [0, 1]; lines are bright.
    """
    lines = []
    for pixels in (radiograph.pixels, radiograph.pixels.T):
        on_line = _rows_with_lines(pixels)
        count = int(np.count_nonzero(np.diff(on_line.astype(np.int8), prepend=0) == 1))
        if count < FEWEST_LINES or on_line.mean() > MOST_SHARE:
            return radiograph
        lines.append(on_line)
    filled = _filled_in(_filled_in(radiograph.pixels, lines[0]).T, lines[1]).T
    return replace(radiograph, pixels=np.ascontiguousarray(filled), cautions=(*radiograph.cautions, CAUTION))


def _rows_with_lines(pixels: FloatArray) -> BoolArray:
    """Which rows are brighter than the rows around them nearly everywhere; bool (H,)."""
    tall = max(5, round(WIDEST_SHARE * max(pixels.shape))) | 1
    every = pixels.shape[1] // SAMPLED_COLUMNS
    if every > 1 and not _covered(pixels[:, ::every], tall, LEAST_SAMPLED_SHARE).any():
        return np.zeros(len(pixels), np.bool_)
    return _covered(pixels, tall, LEAST_COVERED_SHARE)


def _covered(pixels: FloatArray, tall: int, least_share: float) -> BoolArray:
    """Rows brighter than those around them in so many of the columns; bool (H,). Columns do not touch one another."""
    step = pixels - cv2.morphologyEx(np.ascontiguousarray(pixels), cv2.MORPH_OPEN, np.ones((tall, 1), np.uint8))
    on_line = np.asarray((step > LEAST_STEP).mean(axis=1) >= least_share, np.bool_)
    on_line[:tall] = on_line[-tall:] = False  # the frame of a picture is no grid
    return on_line


def _filled_in(pixels: FloatArray, on_line: BoolArray) -> FloatArray:
    """Rows on lines, and `SOFT_PX` beside them, interpolated between the others."""
    kernel = np.ones((2 * SOFT_PX + 1, 1), np.uint8)
    gone = cv2.dilate(on_line.astype(np.uint8)[:, None], kernel)[:, 0] > 0
    kept, missing = np.flatnonzero(~gone), np.flatnonzero(gone)
    after = np.clip(np.searchsorted(kept, missing), 0, len(kept) - 1)
    above, below = kept[np.maximum(after - 1, 0)], kept[after]
    share = (missing - above) / np.maximum(below - above, 1)
    share = np.clip(share, 0.0, 1.0).astype(np.float32)[:, None]
    filled = np.array(pixels)
    filled[missing] = (1 - share) * pixels[above] + share * pixels[below]
    return filled
