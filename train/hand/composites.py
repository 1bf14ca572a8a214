"""Radiographs with known masks, and the drawn surroundings that cut-out hands are pasted onto."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Composite:
    """A picture with its mask.

    Attributes:
        pixels: uint8 (H, W).
        mask: uint8 (H, W) in {0, 1}; None: there is no hand.
        up: (right, up) unit direction of the fingers, or (0, 0) where unknown.
        cut_out: the background is exactly 0, so it must be pasted on a radiograph.
        marked: a marker or a collimated field is in it, so that it cannot be cut out.
        name: of its file, without the ending; empty for a drawn one.
        weight: how often it is shown, beside others of its kind.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    up: tuple[float, float] = (0.0, 0.0)
    cut_out: bool = False
    marked: bool = False
    name: str = ""
    weight: float = 1.0


def drawn_background(generator: np.random.Generator, height: int, width: int) -> Grey:
    """An empty radiograph: grey level, gradient, noise, and perhaps a collimated field. float32 in [0, 1]."""
    level = generator.uniform(0.0, 0.45) ** 1.5
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = generator.normal(0, 0.08, 2)
    radiograph = level + slope[0] * (rows / height - 0.5) + slope[1] * (columns / width - 0.5)
    radiograph += generator.normal(0, generator.uniform(0.002, 0.03), (height, width))
    return np.clip(radiograph, 0, 1).astype(np.float32)


def add_markers(picture: Grey, generator: np.random.Generator, mask: NDArray[np.uint8] | None) -> Grey:
    """Draw letters on plates, boxes, bright borders and gradient stripes beside the hand."""
    picture = picture.copy()
    height, width = picture.shape
    for _ in range(generator.integers(0, 3)):
        high = int(generator.uniform(0.05, 0.16) * height)
        wide = int(high * generator.uniform(0.5, 1.2))
        top, left = int(generator.integers(0, max(1, height - high))), int(generator.integers(0, max(1, width - wide)))
        if mask is not None and mask[top : top + high, left : left + wide].any():
            continue
        plate = picture[top : top + high, left : left + wide]
        if generator.random() < 0.7:
            plate[:] = plate * generator.uniform(0.2, 1.0) + generator.uniform(0, 0.4)
        letter = str(generator.choice(list("LRABDEGJKMNPRSTVO0123")))
        size = high / 40
        cv2.putText(
            picture,
            letter,
            (left + wide // 5, top + int(high * 0.8)),
            int(generator.integers(0, 5)),
            size,
            float(generator.uniform(0.7, 1.0)),
            max(1, round(size * 3)),
        )
    if generator.random() < 0.25:
        side, thick = generator.integers(0, 4), int(generator.uniform(0.005, 0.06) * width) + 1
        edge = [np.s_[:thick], np.s_[-thick:], np.s_[:, :thick], np.s_[:, -thick:]][side]
        keep = picture[edge].copy()
        picture[edge] = generator.uniform(0.6, 1.0)
        if mask is not None:
            picture[edge] = np.where(mask[edge] > 0, keep, picture[edge])
    if generator.random() < 0.2:
        stripe = np.linspace(generator.uniform(0, 0.4), generator.uniform(0, 0.4), width, dtype=np.float32)
        if generator.random() < 0.5:
            picture += stripe[None, :]
        else:
            picture += cv2.resize(stripe[None, :], (height, 1)).T
    return np.clip(picture, 0, 1)


def pasted(radiograph: Composite, generator: np.random.Generator) -> tuple[Grey, NDArray[np.uint8]]:
    """A cut-out hand on a drawn radiograph; the forearm leaves through the bottom of the field."""
    _height, _width = radiograph.pixels.shape
    scale = generator.uniform(0.6, 1.0)
    hand = radiograph.pixels.astype(np.float32) / 255
    known_mask = radiograph.mask if radiograph.mask is not None else (radiograph.pixels > 0).astype(np.uint8)
    small = cv2.resize(hand, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(known_mask, small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    tall = int(generator.uniform(1.02, 1.35) * small.shape[0])
    broad = int(generator.uniform(1.05, 1.7) * small.shape[1])
    picture, mask = drawn_background(generator, tall, broad), np.zeros((tall, broad), np.uint8)
    left = int(generator.integers(0, broad - small.shape[1] + 1))
    region = np.s_[tall - small.shape[0] :, left : left + small.shape[1]]
    softness = cv2.GaussianBlur(small_mask.astype(np.float32), (0, 0), generator.uniform(0.4, 1.2))
    strength = generator.uniform(0.25, 1.0) * (1 - float(picture.mean()))
    lift = generator.uniform(0.0, 0.25)
    picture[region] += softness * strength * (small * (1 - lift) + lift * small_mask)
    mask[region] = small_mask
    if generator.random() < 0.35:  # a collimated field on a darker or brighter surround
        border = int(generator.uniform(0.02, 0.3) * tall)
        surround = float(generator.choice([0.0, generator.uniform(0, 0.3), generator.uniform(0.5, 1)]))
        picture = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT, value=surround)
        mask = cv2.copyMakeBorder(mask, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
    return np.clip(picture, 0, 1).astype(np.float32), mask
