"""Radiograph -> nothing, or a refusal: is it one picture, or a page or screen that shows several?

A page is told by its paper: the grey of its rim, which also separates the rectangles that lie on it.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from ..errors import SeveralPictures
from ..types import Radiograph

MEASURED_PX: Final = 512  # longer side of the reduced page
RIM_SHARE: Final = 0.015  # of the longer side: the strip along the four edges that has to be paper
LEAST_PAPER_SHARE: Final = 0.9  # of the rim that has the paper's grey
PAPER_TOLERANCE: Final = 0.035  # of full brightness; JPEG leaves less
# A picture on a page fills at least so much of the page and of its own rectangle. The hand of a radiograph whose
# background is even is one region, and no rectangle.
LEAST_PANEL_SHARE: Final = 0.025
LEAST_FILLED_SHARE: Final = 0.9
MOST_ASPECT: Final = 3.0
FEWEST: Final = 3  # two may be both hands of one child on two radiographs: `masking` finds those, and the user chooses


def count_panels(radiograph: Radiograph) -> int:
    """How many rectangular pictures lie apart on even paper; 0 where the rim is no paper."""
    height, width = radiograph.shape
    scale = min(1.0, MEASURED_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
    wide = max(1, round(RIM_SHARE * max(size)))
    rim = np.concatenate([side.ravel() for side in (small[:wide], small[-wide:], small[:, :wide], small[:, -wide:])])
    paper = float(np.median(rim))
    if float((np.abs(rim - paper) <= PAPER_TOLERANCE).mean()) < LEAST_PAPER_SHARE:
        return 0
    printed = (np.abs(small - paper) > PAPER_TOLERANCE).astype(np.uint8)
    contours, _ = cv2.findContours(printed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = 0
    for contour in contours:
        area = cv2.contourArea(contour)
        sides = sorted(cv2.minAreaRect(contour)[1])
        if area < LEAST_PANEL_SHARE * small.size or sides[1] > MOST_ASPECT * sides[0]:
            continue
        found += area >= LEAST_FILLED_SHARE * sides[0] * sides[1]
    return found


def check_one_picture(radiograph: Radiograph) -> None:
    """Refuse a page or screen that shows several pictures.

    Raises:
        SeveralPictures: there are `FEWEST` or more.
    """
    found = count_panels(radiograph)
    if found >= FEWEST:
        raise SeveralPictures(
            f"{radiograph.name} shows {found} separate pictures on one page. An estimate is made of one radiograph at "
            "a time: use the original file of the radiograph you mean, or crop the page to it."
        )
