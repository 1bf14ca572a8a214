"""Radiograph -> HandMask: where the hand is, which way it points, whether bone is bright.

One network answers all of it, and also says when there is no hand; then no number follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import HandNotFound, SeveralHands
from ..networks.weights import check_finite
from ..preprocessing.picture import IDENTITY, Box, Picture, box_of, compose, crop, invert, resized, warp, widen
from ..preprocessing.prepare import InputSpec, prepare
from ..types import BoolArray, Caution, FloatArray, HandChoice, HandMask, Radiograph
from .quality import without_far_forearm
from .redraw import (
    MOST_UNCERTAIN,
    largest_part,
    redraw_channels,
    stretched,
    uncertainty,
    with_parts_joined,
    with_usual_greys,
    without_blank_end,
)
from .trimming import without_background, without_bridges, without_strips

Range = tuple[float, float]

PRESENCE_THRESHOLD = 0.8  # a drawn grey gradient reached 0.59; raised from 0.5 for that
MASK_THRESHOLD = 0.5
# A region counts as a hand only if the network is nearly sure somewhere in it (Deeplasia asks for 0.99).
SURE = 0.9
SMALLEST_AREA_SHARE = 0.015
MOST_REGIONS = 4  # that are looked at, from the largest down
SECOND_HAND_AREA_SHARE = 0.35  # of the largest region's area
QUARTER_TURN_FROM_DEGREES = 45.0
CROP_MARGIN_RATIO = 1.3  # side of the square crop around a region, of the longer side of its box
SECOND_CHANCE_RATIO = 2.0  # the same after a refusal
SETTLED_DEGREES = 5.0  # a crop in which the fingers point up within this is the last one
MOST_CROPS = 4
NEIGHBOURHOOD_SHARE = 0.06  # greys are stretched to those of the hand and of this much around it, of its longer side
# Black is set below the lower percentile by this much of their range, as it lies in most radiographs: set at it, one
# of 99 sharp `val` outlines lost a finger. Dice on 60 pasted hands 0.989 (0.988 without a crop).
LOW_PERCENT, HIGH_PERCENT, LOW_SLACK = 0.5, 99.5, 0.25
# From the middle of the palm: of 39 `train` radiographs one shows more. The age networks saw hands in a frame around
# hand and forearm, so twice the forearm made a drawn hand 4 months older, three times 7.
MOST_FOREARM_PALMS = 1.7
PALM_GRID_PX = 256  # palms are looked for on a grid this coarse
NARROW_SHARE = 0.45  # of the palm's radius: what is narrower on both sides divides hands that touch
SECOND_PALM_SHARE = 0.6  # of the larger palm's radius
# Blur of a frame in which no hand was found, of its longer side. It undoes edge enhancement and grain: of one drawn
# and one real hand, neither found when equalised or sharpened strongly, the outlines have Dice 0.97 to 0.99 then.
SOFTENED_SHARE = 0.006
LEAST_OVERLAP = 0.5  # intersection over union of the hand that was found and its outline drawn anew
# Where no hand is found in the whole frame, it is looked for once more in its field (`field_box`).
FIELD_GRID_PX = 256
EVEN_STEP = 0.012  # of full brightness, between neighbours on that grid: less than at any edge of a hand or field
FIELD_MARGIN_SHARE = 0.05  # of the part's longer side
FIELD_SHARES = (0.01, 0.85)  # of the frame's area, least and most
RING_SHARE = 0.03  # width of the ring around the hand, of the picture's side

SOFTENED = Caution(
    "hand_found_blurred",
    "The hand was found only after the picture was blurred, as in pictures with strong edge enhancement or equalised "
    "greys. The estimate can be off by 10 months there; use the original file if you can.",
)
NOT_DRAWN = Caution(
    "hand_not_drawn",
    "This system's own network did not draw the hand's outline in this picture. The outline by which the hand was "
    "found was used in its place.",
)


@dataclass(frozen=True, eq=False)
class _Look:
    """The network's answers about one picture of the radiograph, whole or cropped.

    Attributes:
        probability: of "hand", on the picture's grid.
        to_radiograph: 2x3 affine from the picture's (column, row) to the radiograph's.
        presence: probability that there is a hand.
        tilt_degrees: of the fingers on the radiograph, clockwise of up.
        residual_degrees: the same in this picture.
        darker: the region is darker than what lies around it.
    """

    probability: FloatArray
    to_radiograph: np.ndarray
    presence: float
    tilt_degrees: float
    residual_degrees: float
    darker: bool

    def home(self, shape: tuple[int, int]) -> FloatArray:
        """The probability on the radiograph's grid (H, W); 0 where this picture shows nothing."""
        height, width = shape
        return np.asarray(
            cv2.warpAffine(self.probability, self.to_radiograph, (width, height), flags=cv2.INTER_LINEAR), np.float32
        )


def find_hand(radiograph: Radiograph, network: nn.Module, spec: InputSpec, redraw: nn.Module | None = None) -> HandMask:
    """Find the one hand of a radiograph.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        network: `hand.HandNetwork`.
        spec: the network's input, from the recipe.
        redraw: `hand.RedrawNetwork`, which draws an uncertain outline again; None: it stays as it is.

    Returns:
        the mask on the radiograph's grid.

    Raises:
        HandNotFound: there is no hand, or too little of one.
        SeveralHands: there is more than one.
    """
    return choose_hand(find_hands(radiograph, network, spec, redraw), None, radiograph.name)


def find_hands(
    radiograph: Radiograph, network: nn.Module, spec: InputSpec, redraw: nn.Module | None = None
) -> tuple[HandMask, ...]:
    """Find every hand of a radiograph.

    The network is run on the whole frame first; a frame that lies on its side, upside down or in wrong polarity is put
    right and shown again. Then each hand is cropped, turned upright, its greys stretched to its own range, and
    segmented again until its fingers point up, so that the mask depends neither on the frame nor on how the hand lies
    in it. An uncertain outline is drawn again by a second network (`redraw`). Where none is found, the frame's field is
    shown, then the frame blurred by `SOFTENED_SHARE`, then the frame once more, its crops with the usual greys.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        network: `hand.HandNetwork`.
        spec: the network's input, from the recipe.
        redraw: `hand.RedrawNetwork`, for uncertain outlines; None: they stay as they are.

    Returns:
        one mask for each hand on the radiograph's grid, from left to right; at least one.

    Raises:
        HandNotFound: there is no hand, or too little of one.
    """
    shown = _Shown(radiograph, network, spec, redraw)
    with suppress(HandNotFound):
        return _hands_in(shown)
    box = field_box(radiograph.pixels)
    if box is not None:
        top, left, bottom, right = box
        field = replace(radiograph, pixels=radiograph.pixels[top:bottom, left:right].copy())
        with suppress(HandNotFound):
            hands = _hands_in(replace(shown, radiograph=field))
            return tuple(_outside_field(hand, box, radiograph.shape) for hand in hands)
    blurred = cv2.GaussianBlur(radiograph.pixels, (0, 0), SOFTENED_SHARE * max(radiograph.shape))
    with suppress(HandNotFound):
        hands = _hands_in(replace(shown, radiograph=replace(radiograph, pixels=np.asarray(blurred, np.float32))))
        return tuple(replace(hand, cautions=(*hand.cautions, SOFTENED)) for hand in hands)
    return _hands_in(replace(shown, usual_greys=True))


def field_box(pixels: FloatArray) -> Box | None:
    """The part of a frame that its surround leaves: the collimated field, or what lies on an even ground.

    The surround is what can be reached from the frame's edge without a step of grey larger than `EVEN_STEP`.

    Args:
        pixels: (H, W) in [0, 1].

    Returns:
        (top, left, bottom, right) of its largest part with a margin; None if it is nearly the whole frame or tiny.
    """
    height, width = pixels.shape
    scale = min(1.0, FIELD_GRID_PX / max(height, width))
    size = max(8, round(scale * width)), max(8, round(scale * height))
    small = cv2.GaussianBlur(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    reached = np.zeros((size[1] + 2, size[0] + 2), np.uint8)
    edge = [(x, y) for x in range(size[0]) for y in (0, size[1] - 1)]
    edge += [(x, y) for y in range(size[1]) for x in (0, size[0] - 1)]
    for x, y in edge:
        if not reached[y + 1, x + 1]:
            cv2.floodFill(small, reached, (x, y), 0, EVEN_STEP, EVEN_STEP, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    left_over = cv2.morphologyEx((reached[1:-1, 1:-1] == 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    part = largest_part(left_over > 0)
    if part is None:
        return None
    top, left, bottom, right = box_of(part)
    margin = FIELD_MARGIN_SHARE * max(bottom - top, right - left)
    down, across = height / size[1], width / size[0]
    box = (
        max(0, int((top - margin) * down)),
        max(0, int((left - margin) * across)),
        min(height, int(np.ceil((bottom + margin) * down))),
        min(width, int(np.ceil((right + margin) * across))),
    )
    share = (box[2] - box[0]) * (box[3] - box[1]) / (height * width)
    return box if FIELD_SHARES[0] <= share <= FIELD_SHARES[1] else None


def _outside_field(hand: HandMask, box: Box, shape: tuple[int, int]) -> HandMask:
    """A hand that was found in a part of the radiograph, on the grid of the whole."""
    whole = np.zeros(shape, np.bool_)
    whole[box[0] : box[2], box[1] : box[3]] = hand.pixels
    return replace(hand, pixels=whole)


def _hands_in(shown: _Shown) -> tuple[HandMask, ...]:
    """The hands of a radiograph, or of its field, from left to right; at least one.

    Raises:
        HandNotFound: there is none.
    """
    radiograph = shown.radiograph
    look = shown.whole(inverted=False, quarter_turns=0)
    inverted = look.darker
    turns = round(look.tilt_degrees / 90.0) % 4 if abs(look.tilt_degrees) > QUARTER_TURN_FROM_DEGREES else 0
    if inverted or turns:
        # Turn counter-clockwise by as many quarters as the fingers lie clockwise of up.
        look = shown.whole(inverted, turns)
    home = look.home(radiograph.shape)
    regions = _hand_regions(home) if look.presence >= PRESENCE_THRESHOLD else []
    if not regions:
        regions = [shown.second_chance(home, look, inverted)]
    parts = [part for region in regions for part in _palms_apart(region)]
    found = shown.all_settled(parts, look, inverted)
    if len(found) < len(parts) > len(regions):  # what was divided was one hand after all
        found = shown.all_settled(regions, look, inverted)
    if not found:
        raise HandNotFound(_not_found(radiograph))
    return tuple(sorted(found, key=_middle_column))


def choose_hand(hands: Sequence[HandMask], choice: HandChoice | None, name: str) -> HandMask:
    """The hand that is meant.

    Args:
        hands: from left to right, at least one.
        choice: which of several, by its side of the picture or by its area; it does not matter if there is one only.
        name: what to call the picture.

    Raises:
        SeveralHands: there are several and none was chosen; it carries them.
    """
    if len(hands) == 1:
        return hands[0]
    if choice is None:
        raise SeveralHands(
            f"{len(hands)} hands were found in {name}. An estimate is made of one hand at a time: choose the left, the "
            "right or the largest one in the picture, or crop the picture to the hand you mean.",
            hands,
        )
    areas = [int(np.count_nonzero(hand.pixels)) for hand in hands]
    number = {"left": 0, "right": len(hands) - 1, "largest": int(np.argmax(areas))}[choice]
    said = Caution(
        "one_of_several_hands",
        f"{len(hands)} hands were found in the picture. The estimate is of the {_place(number, len(hands))} one, as "
        "seen in the picture.",
    )
    return replace(hands[number], cautions=(*hands[number].cautions, said))


def resegment(radiograph: Radiograph, hand: HandMask, network: nn.Module, spec: InputSpec) -> HandMask:
    """Draw the outline of a hand that was found anew, by another system's network.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        hand: as found; its polarity and tilt are kept.
        network: gives logits of "hand", `hand.MaskNetwork`.
        spec: the network's input.

    Returns:
        the largest region that the network draws; where that is not the hand that was found, the hand as found, with a
        caution.
    """
    made = prepare(radiograph, hand, spec)
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.array(made.image)))
    check_finite(network, logits)
    probability = logits[0, 0].sigmoid().numpy()
    home = made.to_radiograph_grid(probability)
    _, regions, statistics, _ = cv2.connectedComponentsWithStats((home > MASK_THRESHOLD).astype(np.uint8))
    areas = statistics[1:, cv2.CC_STAT_AREA]
    drawn = np.asarray(regions == 1 + int(np.argmax(areas)), np.bool_) if areas.size else np.zeros_like(hand.pixels)
    if (drawn & hand.pixels).sum() < LEAST_OVERLAP * (drawn | hand.pixels).sum():
        return replace(hand, cautions=(*hand.cautions, NOT_DRAWN))
    return replace(hand, pixels=drawn)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A radiograph as it is shown to the hand network, whole and cropped."""

    radiograph: Radiograph
    network: nn.Module
    spec: InputSpec
    redraw: nn.Module | None = None
    usual_greys: bool = False

    def whole(self, inverted: bool, quarter_turns: int) -> _Look:
        """The whole frame."""
        turned = np.ascontiguousarray(np.rot90(self._pixels(inverted), quarter_turns))
        picture = Picture(turned, np.ones(turned.shape, bool), _turn_back(self.radiograph.shape, quarter_turns))
        for step in self.spec.steps:
            picture = step(picture)
        return self._run(picture, 90.0 * quarter_turns)

    def crop(self, region: BoolArray, ratio: float, turn_degrees: float, inverted: bool, low_high: Range) -> _Look:
        """A square around a region, turned counter-clockwise, with its greys stretched.

        With `usual_greys` it is shown in those where no hand is seen in it: a pale hand stands out in them.
        """
        look = self._run(self._square(region, ratio, turn_degrees, inverted, low_high), turn_degrees)
        if look.presence >= PRESENCE_THRESHOLD or not self.usual_greys:
            return look
        plain = self._square(region, ratio, turn_degrees, inverted)
        usual = self._run(with_usual_greys(plain, _in_crop(region, plain)), turn_degrees)
        return max(look, usual, key=lambda each: each.presence)

    def _square(
        self, region: BoolArray, ratio: float, turn_degrees: float, inverted: bool, low_high: Range = (0.0, 1.0)
    ) -> Picture:
        """The square as it is shown: two greys become 0 and 1."""
        pixels = self._pixels(inverted)
        picture = Picture(pixels, np.ones(pixels.shape, bool), IDENTITY)
        return square_around(picture, region, ratio, turn_degrees, self.spec.side_px, low_high)

    def second_chance(self, home: FloatArray, look: _Look, inverted: bool) -> BoolArray:
        """The hand in a crop around the largest region of a frame in which no hand was found.

        Raises:
            HandNotFound: there is none in the crop either.
        """
        region = largest_part(home > MASK_THRESHOLD)
        if region is None:
            raise HandNotFound(_not_found(self.radiograph))
        low_high = self._range(region, SECOND_CHANCE_RATIO - 1.0, inverted)
        again = self.crop(region, SECOND_CHANCE_RATIO, look.tilt_degrees, inverted, low_high)
        regions = _hand_regions(again.probability) if again.presence >= PRESENCE_THRESHOLD else []
        if len(regions) != 1:
            raise HandNotFound(_not_found(self.radiograph))
        height, width = self.radiograph.shape
        return cv2.warpAffine(regions[0].astype(np.uint8), again.to_radiograph, (width, height)) > 0

    def all_settled(self, regions: list[BoolArray], look: _Look, inverted: bool) -> list[HandMask]:
        """The hands of several regions, each shown without the others; a region without one is left out."""
        found = []
        for number, region in enumerate(regions):
            alone = self.without(regions[:number] + regions[number + 1 :], region)
            with suppress(HandNotFound):
                found.append(alone.settled(region, look, inverted))
        return found

    def without(self, others: Sequence[BoolArray], region: BoolArray) -> _Shown:
        """The radiograph with other hands painted over in the grey of what lies around a region."""
        if not others:
            return self
        hidden = np.any(others, axis=0) & ~region
        top, left, bottom, right = box_of(region)
        near = np.s_[top:bottom, left:right]
        beside = self.radiograph.pixels[near][~(region | hidden)[near]]
        grey = np.float32(np.median(beside)) if beside.size else np.float32(0.0)
        return replace(self, radiograph=replace(self.radiograph, pixels=np.where(hidden, grey, self.radiograph.pixels)))

    def settled(self, region: BoolArray, look: _Look, inverted: bool) -> HandMask:
        """The hand of a region, from a crop in which its fingers point up and bone is bright.

        Raises:
            HandNotFound: there is none in the crop.
        """
        tilt = look.tilt_degrees
        for _ in range(MOST_CROPS):
            low_high = self._range(region, NEIGHBOURHOOD_SHARE, inverted)
            look = self.crop(region, CROP_MARGIN_RATIO, tilt, inverted, low_high)
            tilt = look.tilt_degrees
            if look.presence < PRESENCE_THRESHOLD:
                raise HandNotFound(_not_found(self.radiograph))
            region = _outline(look.home(self.radiograph.shape), region, self.radiograph)
            if abs(look.residual_degrees) < QUARTER_TURN_FROM_DEGREES:
                region = without_far_forearm(region, tilt, MOST_FOREARM_PALMS)
            if abs(look.residual_degrees) <= SETTLED_DEGREES and not look.darker:
                break
            inverted ^= look.darker
        if self.redraw is not None and uncertainty(look.probability) > MOST_UNCERTAIN:
            region = self.drawn_again(region, self.redraw, tilt, inverted)
        region = without_background(region, self._pixels(inverted))
        return HandMask(region, look.presence, tilt, inverted)

    def drawn_again(self, region: BoolArray, redraw: nn.Module, tilt: float, inverted: bool) -> BoolArray:
        """An uncertain outline as the second network draws it; as it was where that is no hand, or another one.

        Such hands are overexposed, underexposed, or of little contrast in a bright surround.
        """
        low_high = self._range(region, NEIGHBOURHOOD_SHARE, inverted)
        plain = self._square(region, CROP_MARGIN_RATIO, tilt, inverted)
        first = self._run(stretched(plain, *low_high), tilt)
        hand = largest_part(first.probability > MASK_THRESHOLD)
        if hand is None:
            return region
        image = torch.from_numpy(redraw_channels(plain, low_high, first.probability, hand)[None])
        with torch.inference_mode():
            logits = redraw(image)
        check_finite(redraw, logits)
        drawn_now = without_blank_end(logits[0, 0].sigmoid().numpy(), plain)
        second = replace(first, probability=with_parts_joined(drawn_now, first.probability))
        with suppress(HandNotFound):
            drawn = _outline(second.home(self.radiograph.shape), region, self.radiograph)
            drawn = without_far_forearm(drawn, tilt, MOST_FOREARM_PALMS)
            if (drawn & region).sum() >= LEAST_OVERLAP * (drawn | region).sum():
                return drawn
        return region

    def _pixels(self, inverted: bool) -> FloatArray:
        return 1.0 - self.radiograph.pixels if inverted else self.radiograph.pixels

    def _range(self, region: BoolArray, around_share: float, inverted: bool) -> Range:
        return grey_range(self._pixels(inverted), region, around_share)

    def _run(self, picture: Picture, turned_degrees: float) -> _Look:
        image = torch.from_numpy(np.array(self.spec.normalise(picture).pixels)[None, None])
        with torch.inference_mode():
            mask_logits, presence_logit, up, _ = self.network(image)
        check_finite(self.network, mask_logits, presence_logit, up)
        probability = mask_logits[0, 0].sigmoid().numpy()
        right, upward = (float(v) for v in up[0])
        residual = float(np.degrees(np.arctan2(right, upward)))
        return _Look(
            probability=probability,
            to_radiograph=picture.to_radiograph,
            presence=float(presence_logit[0].sigmoid()),
            tilt_degrees=(residual + turned_degrees + 180.0) % 360.0 - 180.0,
            residual_degrees=residual,
            darker=not self.radiograph.polarity_by_hand and _darker_than_around(picture, probability),
        )


def _in_crop(region: BoolArray, shown: Picture) -> BoolArray:
    """A region of the radiograph on the grid of a crop of it."""
    height, width = shown.pixels.shape
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(region.astype(np.uint8), shown.to_radiograph, (width, height), flags=flags) > 0


def grey_range(pixels: FloatArray, region: BoolArray, around_share: float) -> Range:
    """Percentiles of the greys in a region and around it: what becomes 0 and 1 when they are stretched.

    Args:
        pixels: (H, W), bone bright.
        region: (H, W).
        around_share: how much around it, of the longer side of its box; from 0.5 on the whole box counts.
    """
    top, left, bottom, right = box_of(region)
    around = round(around_share * max(bottom - top, right - left) / 2)
    near = np.s_[max(0, top - around) : bottom + around, max(0, left - around) : right + around]
    values = pixels[near]
    if around_share < 0.5:
        kernel = np.ones((2 * around + 1, 2 * around + 1), np.uint8)
        values = values[cv2.dilate(region[near].astype(np.uint8), kernel) > 0]
    low, high = np.percentile(values, (LOW_PERCENT, HIGH_PERCENT))
    return max(0.0, float(low - LOW_SLACK * (high - low))), float(high)


def square_around(
    picture: Picture, region: BoolArray, ratio: float, turn_degrees: float, side_px: int, low_high: Range
) -> Picture:
    """A square around a region, turned counter-clockwise, as (side_px, side_px); outside the picture is 0.

    The two greys become 0 and 1.
    """
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = np.concatenate(contours)[:, 0].astype(np.float64)
    turn = np.asarray(cv2.getRotationMatrix2D((0.0, 0.0), turn_degrees, 1.0)[:, :2], np.float64)
    turned = points @ turn.T
    least, most = turned.min(axis=0), turned.max(axis=0)
    side = ratio * float((most - least).max() + 1)
    middle = np.linalg.solve(turn, (least + most) / 2)
    half = side / 2 * (abs(turn[0, 0]) + abs(turn[0, 1])) + 1
    first, last = np.floor(middle - half).astype(int), np.ceil(middle + half).astype(int)
    width, height = (int(length) + 1 for length in last - first)
    near = stretched(crop(picture, int(first[1]), int(first[0]), height, width), *low_high)
    scale = side_px / side
    near = resized(near, scale) if scale < 1 else near
    inner = invert(compose(invert(picture.to_radiograph), near.to_radiograph))  # the picture's places to those of near
    at = inner[:, :2] @ middle + inner[:, 2]
    zoom = 1.0 if scale < 1 else scale
    matrix = zoom * turn
    affine = np.column_stack([matrix, (side_px - 1) / 2 - matrix @ at])
    return warp(near, affine, side_px, side_px)


def _darker_than_around(picture: Picture, probability: FloatArray) -> bool:
    """Is the hand darker than the radiograph just around it? Then bone is dark and the greys are reversed.

    On 220 `val` radiographs and their negatives this was right every time, the network's own
    `inverted_logit` in 217 of 220 and 219 of 220: so the picture decides, and that answer only trains along.
    """
    hand = probability > MASK_THRESHOLD
    ring = widen(hand, max(2, round(RING_SHARE * max(hand.shape)))) & ~hand & picture.mask
    inside = hand & picture.mask
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


def _hand_regions(probability: FloatArray) -> list[BoolArray]:
    """The regions of which the network is nearly sure, and which are large enough to be hands; bool (H, W) each."""
    count, regions, statistics, _ = cv2.connectedComponentsWithStats((probability > MASK_THRESHOLD).astype(np.uint8))
    areas = sorted(((int(statistics[i, cv2.CC_STAT_AREA]), i) for i in range(1, count)), reverse=True)
    sure = [(area, i) for area, i in areas[:MOST_REGIONS] if probability[regions == i].max() > SURE]
    if not sure or sure[0][0] < SMALLEST_AREA_SHARE * probability.size:
        return []
    return [_filled(regions == i) for area, i in sure if area > SECOND_HAND_AREA_SHARE * sure[0][0] or i == sure[0][1]]


def _palms_apart(region: BoolArray) -> list[BoolArray]:
    """A region divided where hands that touch meet: one part for each palm in it.

    The palm is the widest place of a hand. The forearm is as wide in an infant, but no narrow place lies between.
    """
    height, width = region.shape
    scale = min(1.0, PALM_GRID_PX / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    depth = cv2.distanceTransform(np.pad(small, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    palm = float(depth.max())
    count, cores = cv2.connectedComponents((depth > NARROW_SHARE * palm).astype(np.uint8))
    wide = [i for i in range(1, count) if depth[cores == i].max() >= SECOND_PALM_SHARE * palm]
    if len(wide) < 2:
        return [region]
    markers: NDArray[Any] = np.zeros(cores.shape, np.uint8)
    for number, core in enumerate(wide, 1):
        markers[cores == core] = number
    reached, kernel = 0, np.ones((3, 3), np.uint8)
    while reached != (reached := int(np.count_nonzero(markers))):  # every core grows within the region until it is full
        markers = np.where((markers == 0) & (small > 0), cv2.dilate(markers, kernel), markers)
    markers = cv2.dilate(markers, kernel)  # over the rim that the coarse grid lacks
    nearest = cv2.resize(markers, (width, height), interpolation=cv2.INTER_NEAREST)
    return [region & (nearest == number) for number in range(1, len(wide) + 1)]


def _outline(probability: FloatArray, before: BoolArray, radiograph: Radiograph) -> BoolArray:
    """The region that shares most with the one before, its holes filled; bool (H, W).

    Raises:
        HandNotFound: there is none of which the network is nearly sure.
    """
    count, regions = cv2.connectedComponents((probability > MASK_THRESHOLD).astype(np.uint8))
    shared = np.bincount(regions[before], minlength=count)
    shared[0] = 0
    region = regions == int(np.argmax(shared))
    if not shared.any() or probability[region].max() <= SURE:
        raise HandNotFound(_not_found(radiograph))
    return _filled(without_strips(without_bridges(region.astype(np.uint8))))


def _filled(region: NDArray[Any]) -> BoolArray:
    """A region without holes."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(region.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return np.asarray(filled, dtype=np.bool_)


def _middle_column(hand: HandMask) -> float:
    return float(np.flatnonzero(hand.pixels.any(axis=0)).mean())


def _place(number: int, count: int) -> str:
    """What to call one of several hands, counted from the left of the picture."""
    return {0: "left", count - 1: "right"}.get(number, f"{number + 1}th from the left")


def _not_found(radiograph: Radiograph) -> str:
    height, width = radiograph.shape
    return (
        f"No hand was found in {radiograph.name} ({height} x {width} px). A radiograph of one whole hand and wrist "
        "is expected: check that it is the right file, crop away other body parts and try again."
    )


def with_bone_bright(radiograph: Radiograph, hand: HandMask) -> Radiograph:
    """The radiograph with its polarity put right, as the hand network saw it."""
    return replace(radiograph, pixels=1.0 - radiograph.pixels) if hand.inverted else radiograph
