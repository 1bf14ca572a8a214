"""Radiograph + HandMask + InputSpec -> ModelInput: the picture one network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .recipe import InputSpec
from .steps import IDENTITY, Affine, Picture
from .types import BoolArray, FloatArray, HandMask, Radiograph, freeze


@dataclass(frozen=True, eq=False)
class ModelInput:
    """What a network gets, and the way back.

    Attributes:
        image: float32 (1, 1, S, S), normalised.
        mask: bool (S, S), True on the hand.
        to_radiograph: 2x3 affine from the image's (column, row) to the radiograph's.
        radiograph_shape: (H, W) of the radiograph.
        background_masked: outside the mask the image is constant: nothing there can move the answer.
    """

    image: FloatArray
    mask: BoolArray
    to_radiograph: Affine
    radiograph_shape: tuple[int, int]
    background_masked: bool = False

    def __post_init__(self) -> None:
        freeze(self.image)

    def bring_home(self, values: FloatArray) -> FloatArray:
        """Resample a map on the image's grid, (S, S), onto the radiograph's, (H, W); outside is 0."""
        height, width = self.radiograph_shape
        return np.asarray(
            cv2.warpAffine(values, self.to_radiograph, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32
        )


def arrange(radiograph: Radiograph, hand: HandMask, spec: InputSpec) -> Picture:
    """Everything but the normalisation: crop, turn, resize. Training caches and augments this.

    Returns:
        a picture (side_px, side_px) in [0, 1].
    """
    pixels = 1.0 - radiograph.pixels if hand.inverted else radiograph.pixels
    picture = Picture(pixels, hand.pixels, IDENTITY, hand.tilt_degrees)
    for step in spec.steps:
        picture = step(picture)
    return picture


def prepare(radiograph: Radiograph, hand: HandMask, spec: InputSpec) -> ModelInput:
    """Bring a radiograph to the form one network was trained on.

    Args:
        radiograph: as read; an inverted one is turned right here if `hand.inverted` says so.
        hand: on the same grid.
        spec: steps and normalisation, from the recipe.

    Returns:
        image (1, 1, S, S) and the geometry that brings heatmaps home.
    """
    picture = spec.normalise(arrange(radiograph, hand, spec))
    return ModelInput(
        picture.pixels[None, None], picture.mask, picture.to_radiograph, radiograph.shape, picture.background_masked
    )
