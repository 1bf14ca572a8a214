"""Radiograph -> HandMask: where the hand is, which way it points, whether bone is bright.

One network answers all of it, and also says when there is no hand; then no number follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .errors import HandNotFound, SeveralHands
from .preprocessing import prepare
from .recipe import InputSpec
from .steps import IDENTITY, Picture
from .types import BoolArray, Caution, FloatArray, HandMask, Radiograph

PRESENCE_THRESHOLD = 0.8  # a drawn grey gradient reached 0.59; raised from 0.5 for that
MASK_THRESHOLD = 0.5
# A region counts as a hand only if the network is nearly sure somewhere in it (Deeplasia asks for 0.99).
SURE = 0.9
SMALLEST_AREA_SHARE = 0.015
SECOND_HAND_AREA_SHARE = 0.35  # of the largest region's area
QUARTER_TURN_FROM_DEGREES = 45.0
BRIDGE_SHARE = 0.006  # half the width of the widest bridge that is cut, of the picture's longer side
BRIDGE_GRID_PX = 512  # bridges are looked for on a grid as coarse as the network's
LEAST_OVERLAP = 0.5  # intersection over union of the hand that was found and its outline drawn anew
RING_SHARE = 0.03  # width of the ring around the hand, of the picture's side

NOT_DRAWN = Caution(
    "hand_not_drawn",
    "This system's own network did not draw the hand's outline in this picture. The outline by which the hand was "
    "found was used in its place.",
)


@dataclass(frozen=True, eq=False)
class _Look:
    """The network's answers about one picture, in the picture's own frame."""

    probability: FloatArray
    to_radiograph: np.ndarray
    presence: float
    tilt_degrees: float
    inverted: bool


def find_hand(radiograph: Radiograph, network: nn.Module, spec: InputSpec) -> HandMask:
    """Find the one hand of a radiograph.

    A picture that lies on its side, upside down or in wrong polarity is put right and looked
    at again, so that the mask is the same however the picture came.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        network: `models.HandNetwork`.
        spec: the network's input, from the recipe.

    Returns:
        the mask on the radiograph's grid.

    Raises:
        HandNotFound: there is no hand, or too little of one.
        SeveralHands: there is more than one.
    """
    pixels = radiograph.pixels
    look = _look(pixels, 0, network, spec)
    inverted = look.inverted and not radiograph.polarity_stated
    turns = round(look.tilt_degrees / 90.0) % 4 if abs(look.tilt_degrees) > QUARTER_TURN_FROM_DEGREES else 0
    if inverted or turns:
        # Turn counter-clockwise by as many quarters as the fingers lie clockwise of up.
        look = _look(1.0 - pixels if inverted else pixels, turns, network, spec)
    if look.presence < PRESENCE_THRESHOLD:
        raise HandNotFound(_not_found(radiograph))
    height, width = radiograph.shape
    home = np.asarray(
        cv2.warpAffine(look.probability, look.to_radiograph, (width, height), flags=cv2.INTER_LINEAR), np.float32
    )
    tilt = (look.tilt_degrees + 90.0 * turns + 180.0) % 360.0 - 180.0
    return HandMask(_one_region(home, radiograph), look.presence, tilt, inverted)


def draw_hand(radiograph: Radiograph, hand: HandMask, network: nn.Module, spec: InputSpec) -> HandMask:
    """Draw the outline of a hand that was found anew, by another system's network.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        hand: as found; its polarity and tilt are kept.
        network: gives logits of "hand", `published.MaskNetwork`.
        spec: the network's input.

    Returns:
        the largest region that the network draws; where that is not the hand that was found, the hand as found, with a
        caution.
    """
    made = prepare(radiograph, hand, spec)
    with torch.inference_mode():
        probability = network(torch.from_numpy(np.array(made.image)))[0, 0].sigmoid().numpy()
    home = made.bring_home(probability)
    _, regions, statistics, _ = cv2.connectedComponentsWithStats((home > MASK_THRESHOLD).astype(np.uint8))
    areas = statistics[1:, cv2.CC_STAT_AREA]
    drawn = np.asarray(regions == 1 + int(np.argmax(areas)), np.bool_) if areas.size else np.zeros_like(hand.pixels)
    if (drawn & hand.pixels).sum() < LEAST_OVERLAP * (drawn | hand.pixels).sum():
        return replace(hand, cautions=(*hand.cautions, NOT_DRAWN))
    return replace(hand, pixels=drawn)


def _look(pixels: FloatArray, quarter_turns: int, network: nn.Module, spec: InputSpec) -> _Look:
    turned = np.ascontiguousarray(np.rot90(pixels, quarter_turns))
    picture = Picture(turned, np.ones(turned.shape, bool), _turn_back(pixels.shape, quarter_turns))
    for step in spec.steps:
        picture = step(picture)
    image = torch.from_numpy(np.array(spec.normalise(picture).pixels)[None, None])
    with torch.inference_mode():
        mask_logits, presence_logit, up, _ = network(image)
    probability = mask_logits[0, 0].sigmoid().numpy()
    right, upward = (float(v) for v in up[0])
    return _Look(
        probability=probability,
        to_radiograph=picture.to_radiograph,
        presence=float(presence_logit[0].sigmoid()),
        tilt_degrees=float(np.degrees(np.arctan2(right, upward))),
        inverted=_darker_than_around(picture, probability),
    )


def _darker_than_around(picture: Picture, probability: FloatArray) -> bool:
    """Is the hand darker than the film just around it? Then bone is dark and the greys are reversed.

    On 220 `val` films and their negatives this was right every time, the network's own
    `inverted_logit` in 217 of 220 and 219 of 220: so the picture decides, and that answer only trains along.
    """
    hand = (probability > MASK_THRESHOLD).astype(np.uint8)
    radius = max(2, round(RING_SHARE * max(hand.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ring = (cv2.dilate(hand, kernel) > hand) & picture.mask
    inside = (hand > 0) & picture.mask
    if not ring.any() or not inside.any():
        return False
    return bool(np.median(picture.pixels[inside]) < np.median(picture.pixels[ring]))


def _turn_back(shape: tuple[int, ...], quarter_turns: int) -> np.ndarray:
    """Affine from (column, row) of `np.rot90(pixels, quarter_turns)` to those of `pixels`."""
    height, width = shape[0], shape[1]
    return {
        0: IDENTITY,
        1: np.array([[0.0, -1.0, width - 1.0], [1.0, 0.0, 0.0]]),
        2: np.array([[-1.0, 0.0, width - 1.0], [0.0, -1.0, height - 1.0]]),
        3: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, height - 1.0]]),
    }[quarter_turns % 4]


def _one_region(probability: FloatArray, radiograph: Radiograph) -> BoolArray:
    """The largest sure region, its holes filled; bool (H, W)."""
    count, regions, statistics, _ = cv2.connectedComponentsWithStats((probability > MASK_THRESHOLD).astype(np.uint8))
    areas = [(int(statistics[i, cv2.CC_STAT_AREA]), i) for i in range(1, count)]
    sure = sorted((a for a in areas if probability[regions == a[1]].max() > SURE), reverse=True)[:3]
    if not sure or sure[0][0] < SMALLEST_AREA_SHARE * probability.size:
        raise HandNotFound(_not_found(radiograph))
    if len(sure) > 1 and sure[1][0] > SECOND_HAND_AREA_SHARE * sure[0][0]:
        raise SeveralHands(
            f"More than one hand was found in {radiograph.name}. One hand and wrist is expected: "
            "crop the picture to the hand you mean and try again."
        )
    region = _without_bridges((regions == sure[0][1]).astype(np.uint8))
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(region)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return np.asarray(filled, dtype=np.bool_)


def _without_bridges(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The main part of a region, without what hangs on it by a bridge thinner than a finger, such as a lead marker."""
    height, width = region.shape
    scale = min(1.0, BRIDGE_GRID_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    radius = max(1, round(BRIDGE_SHARE * max(size)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    coarse = cv2.resize(region, size, interpolation=cv2.INTER_NEAREST)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(coarse, cv2.MORPH_OPEN, kernel))
    if count <= 2:
        return region
    main = (parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    near = cv2.resize(cv2.dilate(main, kernel), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.minimum(region, near), np.uint8)


def _not_found(radiograph: Radiograph) -> str:
    height, width = radiograph.shape
    return (
        f"No hand was found in {radiograph.name} ({height} x {width} px). A radiograph of one whole hand and wrist "
        "is expected: check that it is the right file, crop away other body parts and try again."
    )


def upright(radiograph: Radiograph, hand: HandMask) -> Radiograph:
    """The radiograph with its polarity put right, as the hand network saw it."""
    return replace(radiograph, pixels=1.0 - radiograph.pixels) if hand.inverted else radiograph
