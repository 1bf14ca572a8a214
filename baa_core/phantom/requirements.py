"""Drawn hands that show which radiograph is needed: what is assessed as it is, and what is refused.

Every picture is one drawn child's hand, changed as such radiographs are. `tests/e2e/test_help.py` holds what the
assessor says of each against `REQUIREMENTS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import cv2
import numpy as np

from ..errors import UnsupportedImage
from ..types import Radiograph
from . import Phantom, draw_phantom

HEIGHT_PX = 480
MONTHS, SEED = 96.0, 5
FINGERS_LOST, WRIST_LOST = 0.17, 0.05  # of the hand's length, from the tip of the middle finger and above the wrist
BLUR_PX = 9.0  # standard deviation
OVEREXPOSED = 4.0  # times as bright


@dataclass(frozen=True)
class Requirement:
    """One drawn picture.

    Attributes:
        name: of `draw_requirement`.
        refused: the name of the error by which the assessor refuses it; "" where it is assessed.
    """

    name: str
    refused: str = ""


REQUIREMENTS: Final = (
    Requirement("whole"),
    Requirement("side"),
    Requirement("dark"),
    Requirement("fingers", "HandCutOff"),
    Requirement("wrist", "HandCutOff"),
    Requirement("two", "SeveralHands"),
    Requirement("blurred", "QualityTooLow"),
    Requirement("white", "HandNotFound"),
)


@cache
def draw_requirement(name: str) -> Radiograph:
    """The picture of one of `REQUIREMENTS`.

    Raises:
        UnsupportedImage: there is none of that name.
    """
    if name not in {each.name for each in REQUIREMENTS}:
        raise UnsupportedImage(f"There is no drawing '{name[:20]}'. Give one of those that the page shows.")
    hand = _hand()
    pixels = hand.radiograph.pixels
    wrist, tip = hand.landmarks["wrist"][0], hand.landmarks["middle_finger4"][0]
    length = wrist - tip
    if name == "side":
        pixels = np.rot90(pixels)
    elif name == "dark":
        pixels = 1.0 - pixels
    elif name == "fingers":
        pixels = pixels[round(tip + FINGERS_LOST * length) :]
    elif name == "wrist":
        pixels = pixels[: round(wrist - WRIST_LOST * length)]
    elif name == "two":
        pixels = np.concatenate([_hand(mirrored=True).radiograph.pixels, pixels], axis=1)
    elif name == "blurred":
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), BLUR_PX), np.float32)
    elif name == "white":
        pixels = np.clip(OVEREXPOSED * pixels, 0.0, 1.0)
    return replace(hand.radiograph, pixels=np.array(pixels, np.float32), name=name)


def _hand(mirrored: bool = False) -> Phantom:
    return draw_phantom(MONTHS, "female", seed=SEED, height_px=HEIGHT_PX, mirrored=mirrored)
