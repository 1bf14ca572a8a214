"""Radiographs as everyday practice delivers them: a hand of a drawn or a real radiograph, changed on purpose.

`VARIANTS` gives every change by name. Each takes a `Hand` and a seeded generator and returns a new picture, so that
the same hand can be assessed plain and changed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from baa_core.phantom import draw_phantom

Grey = NDArray[np.float32]
Place = NDArray[np.float64]
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


@dataclass(frozen=True, eq=False)
class Hand:
    """A radiograph with the truth about it.

    Attributes:
        pixels: float32 (H, W) in [0, 1], bone bright, fingers up.
        mask: bool (H, W), True on the hand, forearm included.
        points: the 21 keypoints of a hand, name to (row, column).
    """

    pixels: Grey
    mask: NDArray[np.bool_]
    points: Mapping[str, tuple[float, float]]

    def at(self, name: str) -> Place:
        """(column, row) of a keypoint."""
        row, column = self.points[name]
        return np.array([column, row])

    @property
    def length_px(self) -> float:
        """From the wrist to the tip of the middle finger."""
        return float(np.hypot(*(self.at("middle_finger4") - self.at("wrist"))))

    @property
    def bone(self) -> float:
        """Grey of bright bone: the 95th percentile inside the hand."""
        return float(np.percentile(self.pixels[self.mask], 95))

    @property
    def around(self) -> float:
        """Grey beside the hand."""
        return float(np.median(self.pixels[~self.mask])) if (~self.mask).any() else 0.0

    def box(self, margin_share: float) -> tuple[slice, slice]:
        """Rows and columns of the hand and a margin, of its longer side."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        margin = round(margin_share * max(np.ptp(rows), np.ptp(columns)))
        return (
            slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
            slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
        )


Variant = Callable[[Hand, np.random.Generator], Grey]


def png(pixels: NDArray[Any]) -> bytes:
    """The picture as an 8-bit PNG file."""
    stream = io.BytesIO()
    Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _line(shape: tuple[int, ...], start: Place, end: Place, width_px: float, soft_px: float = 1.0) -> Grey:
    """A line of 1 on 0 with soft edges."""
    drawn = np.zeros(shape[:2], np.float32)
    ends = [[int(value) for value in np.round(place)] for place in (start, end)]
    cv2.line(drawn, ends[0], ends[1], 1.0, max(1, round(width_px)))
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), soft_px), np.float32)


def in_frame(hand: Hand, generator: np.random.Generator, share: float, surround: str) -> Grey:
    """The hand fills so much of a square frame, at a random place."""
    part = hand.pixels[hand.box(0.06)]
    longest = max(np.ptp(np.flatnonzero(hand.mask.any(axis=axis))) for axis in (0, 1))
    side = max(round(longest / share), *part.shape)
    if surround == "noise":
        frame = generator.random((side, side), np.float32)
    elif surround == "gradient":
        frame = np.tile(np.linspace(0.1, 0.9, side, dtype=np.float32), (side, 1))
    else:
        grey = {"black": 0.0, "grey": 0.5, "white": 1.0}[surround]
        frame = np.full((side, side), grey, np.float32)
    row, column = (int(generator.integers(0, side - length + 1)) for length in part.shape)
    frame[row : row + part.shape[0], column : column + part.shape[1]] = part
    return frame


def long_forearm(hand: Hand, _: np.random.Generator, times: float) -> Grey:
    """The forearm below the wrist so many times as long: its last rows repeated, mirrored in turn."""
    bottom = int(np.flatnonzero(hand.mask.any(axis=1))[-1]) + 1
    wrist = round(float(hand.at("wrist")[1] + 0.25 * (hand.at("wrist")[1] - hand.at("middle_finger1")[1])))
    wrist = min(wrist, bottom - 20)
    whole, piece = hand.pixels[:bottom], hand.pixels[wrist:bottom]
    more = [piece[::-1] if i % 2 == 0 else piece for i in range(int(np.ceil(times)))]
    length = round((times - 1) * len(piece))
    return np.asarray(np.concatenate([whole, np.concatenate(more)[:length]]), np.float32)


def borders(hand: Hand, _: np.random.Generator, grey: float, share: float = 0.6) -> Grey:
    """A blank border on all four sides."""
    height, width = hand.pixels.shape
    wide, high = round(share * width), round(share * height)
    return np.asarray(cv2.copyMakeBorder(hand.pixels, high, high, wide, wide, cv2.BORDER_CONSTANT, value=grey))


def equalised(hand: Hand, _: np.random.Generator) -> Grey:
    """Every grey equally frequent."""
    return np.asarray(cv2.equalizeHist(_bytes(hand.pixels)), np.float32) / 255


def clahe(hand: Hand, _: np.random.Generator, clip: float = 8.0) -> Grey:
    """Strong local equalisation."""
    return np.asarray(cv2.createCLAHE(clip, (8, 8)).apply(_bytes(hand.pixels)), np.float32) / 255


def unsharp(hand: Hand, _: np.random.Generator, amount: float = 3.0) -> Grey:
    """Strong edge enhancement."""
    blurred = cv2.GaussianBlur(hand.pixels, (0, 0), 0.006 * hand.length_px)
    return np.asarray(np.clip(hand.pixels + amount * (hand.pixels - blurred), 0, 1), np.float32)


def gamma(hand: Hand, _: np.random.Generator, power: float) -> Grey:
    """A power curve."""
    return np.asarray(hand.pixels**power, np.float32)


def bone_window(hand: Hand, _: np.random.Generator) -> Grey:
    """A hard window: soft tissue black, the densest bone white."""
    low, high = np.percentile(hand.pixels[hand.mask], (40, 97))
    return np.asarray(np.clip((hand.pixels - low) / max(high - low, 1e-3), 0, 1), np.float32)


def burned_text(hand: Hand, _: np.random.Generator) -> Grey:
    """A line of white letters across the palm."""
    drawn = np.array(hand.pixels)
    width = drawn.shape[1]
    text, font = "2026-03-11  10:42  L HAND PA  58 kV", cv2.FONT_HERSHEY_SIMPLEX
    scale = 0.9 * width / cv2.getTextSize(text, font, 1.0, 2)[0][0]
    row = int((hand.at("middle_finger1")[1] + hand.at("wrist")[1]) / 2)
    cv2.putText(drawn, text, (round(0.05 * width), row), font, scale, 1.0, max(1, round(2 * scale)), cv2.LINE_AA)
    return drawn


def ring(hand: Hand, _: np.random.Generator) -> Grey:
    """A metal band around the proximal phalanx of the ring finger."""
    first, second = hand.at("ring_finger1"), hand.at("ring_finger2")
    along = (second - first) / np.hypot(*(second - first))
    across = np.array([-along[1], along[0]])
    middle, half = 0.5 * (first + second), 0.055 * hand.length_px
    metal = _line(hand.pixels.shape, middle - half * across, middle + half * across, 0.02 * hand.length_px)
    return np.asarray(np.maximum(hand.pixels, np.clip(metal * 1.2, 0, 1)), np.float32)


def splint(hand: Hand, _: np.random.Generator) -> Grey:
    """An aluminium splint along the middle finger: two bright rims and a veil between them."""
    start, end = hand.at("middle_finger1"), hand.at("middle_finger4")
    beyond = end + 0.05 * (end - start)
    along = (end - start) / np.hypot(*(end - start))
    across, length = np.array([-along[1], along[0]]), hand.length_px
    start = start - 0.1 * length * along
    made = hand.pixels + 0.25 * (1 - hand.pixels) * _line(hand.pixels.shape, start, beyond, 0.09 * length)
    for side in (-1, 1):
        rim = _line(hand.pixels.shape, start + side * 0.045 * length * across, beyond + side * 0.045 * length * across,
                    0.012 * length)  # fmt: skip
        made = np.maximum(made, np.clip(1.3 * rim, 0, 0.95))
    return np.asarray(made, np.float32)


def plaster(hand: Hand, generator: np.random.Generator, to_fingers: bool = False) -> Grey:
    """A cast over forearm and palm: a bright veil with coarse texture, beyond the skin, bone faint beneath it."""
    length, shape = hand.length_px, hand.pixels.shape
    knuckles = np.mean([hand.at(f"{finger}1")[1] for finger in FINGERS[1:]])
    end = hand.at("middle_finger2")[1] if to_fingers else knuckles + 0.05 * length
    rows = np.arange(shape[0])[:, None]
    wide = cv2.dilate(hand.mask.astype(np.uint8), np.ones((round(0.09 * length) | 1,) * 2, np.uint8))
    area = cv2.GaussianBlur((wide * (rows > end)).astype(np.float32), (0, 0), 0.012 * length)
    coarse, fine = (
        cv2.GaussianBlur(generator.standard_normal(shape).astype(np.float32), (0, 0), share * length)
        for share in (0.03, 0.006)
    )
    texture = coarse / coarse.std() + 0.7 * fine / fine.std()
    weave = np.sin(np.arange(shape[1]) / (0.008 * length))[None] * np.sin(rows / (0.008 * length))
    veil = np.clip(0.62 + 0.05 * texture + 0.02 * weave, 0.3, 0.9)
    blurred = cv2.GaussianBlur(hand.pixels, (0, 0), 0.003 * length)
    under = veil + (1 - veil) * 0.75 * blurred
    return np.asarray(hand.pixels * (1 - area) + under * area, np.float32)


def touching_hands(hand: Hand, _: np.random.Generator) -> Grey:
    """The hand and its mirror image, whose outlines touch."""
    rows, columns = hand.box(0.0)
    mask, pixels = hand.mask[rows, columns], hand.pixels[rows, columns]
    height, width = mask.shape
    overlap = round(0.02 * width)
    frame = np.full((height, 2 * width - overlap), hand.around, np.float32)
    frame[:, :width] = np.where(mask, pixels, hand.around)
    right = frame[:, width - overlap :]
    right[:] = np.where(mask[:, ::-1], np.maximum(right, pixels[:, ::-1]), right)
    border = round(0.08 * height)
    return np.asarray(cv2.copyMakeBorder(frame, border, 0, border, border, cv2.BORDER_CONSTANT, value=hand.around))


def tip_cut(hand: Hand, _: np.random.Generator) -> Grey:
    """The frame ends in the middle of the last phalanx of the middle finger."""
    tip, joint = hand.at("middle_finger4")[1], hand.at("middle_finger3")[1]
    return hand.pixels[max(0, round((tip + joint) / 2)) :]


def thumb_cut(hand: Hand, _: np.random.Generator) -> Grey:
    """The frame ends in the middle of the last phalanx of the thumb."""
    tip, joint, palm = (hand.at(name)[0] for name in ("thumb4", "thumb3", "middle_finger1"))
    column = max(0, round((tip + joint) / 2))
    return hand.pixels[:, :column] if tip > palm else hand.pixels[:, column:]


def small_copy(hand: Hand, _: np.random.Generator, side_px: int = 120) -> Grey:
    """A copy whose longer side has so many pixels."""
    scale = side_px / max(hand.pixels.shape)
    return np.asarray(cv2.resize(hand.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)


def grid(hand: Hand, _: np.random.Generator) -> Grey:
    """Thin bright lines across the whole radiograph, as an alignment grid leaves them."""
    made = np.array(hand.pixels)
    step, wide = round(0.16 * hand.length_px), max(1, round(0.003 * hand.length_px))
    for first in range(step // 2, max(made.shape), step):
        for line in (made[first : first + wide], made[:, first : first + wide]):
            line += 0.35 * (1 - line)
    return made


def sheet(hand: Hand, generator: np.random.Generator, rows: int, columns: int, paper: float = 1.0) -> Grey:
    """A page with several radiographs of the hand, each with a legend, and lines of text between them."""
    scale = 700 / max(hand.pixels.shape) / max(rows, columns) * 2
    picture = cv2.resize(hand.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = picture.shape
    gap, legend = round(0.08 * height), round(0.2 * height)
    page = np.full((gap + rows * (height + gap + legend), gap + columns * (width + gap)), paper, np.float32)
    ink, font = (0.0 if paper > 0.5 else 0.9), cv2.FONT_HERSHEY_SIMPLEX
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * (height + gap + legend), gap + column * (width + gap)
            shown = picture if generator.random() < 0.5 else picture[:, ::-1]
            page[top : top + height, left : left + width] = np.clip(generator.uniform(0.85, 1.1) * shown, 0, 1)
            size = width / 500
            for line, text in enumerate((f"Fig. {row * columns + column + 1}. Left hand, boy", "Greulich & Pyle 10 y")):
                place = (left, top + height + round(0.07 * height * (line + 1)))
                cv2.putText(page, text, place, font, size, ink, 1, cv2.LINE_AA)
    return page


def screen_photo(hand: Hand, generator: np.random.Generator) -> Grey:
    """A photograph of a screen: seen from the side a little, with moire, uneven light and the dark room around it."""
    height, width = hand.pixels.shape
    scale = 900 / height
    shown = cv2.resize(hand.pixels, None, fx=scale, fy=scale)
    height, width = shown.shape
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    moire = np.sin(columns * 0.9 + 0.06 * rows) * np.sin(rows * 0.83 - 0.05 * columns)
    light = 0.9 - 0.2 * columns / width
    shown = np.clip(0.08 + light * shown * (1 + 0.06 * moire), 0, 1).astype(np.float32)
    frame_height, frame_width = round(1.2 * height), round(1.35 * width)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    shift = generator.uniform(-0.03, 0.03, (4, 2)) * (width, height)
    target = (corners + np.array([0.17 * width, 0.1 * height]) + shift).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    border = cv2.BORDER_CONSTANT
    photo = cv2.warpPerspective(shown, matrix, (frame_width, frame_height), borderMode=border, borderValue=0.15)
    grain = generator.normal(0, 0.01, photo.shape)
    return np.asarray(np.clip(cv2.GaussianBlur(photo, (0, 0), 0.8) + grain, 0, 1), np.float32)


def _bytes(pixels: Grey) -> NDArray[np.uint8]:
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def drawn_hand(bone_age_months: float = 120.0, seed: int = 3, height_px: int = 700) -> Hand:
    """A girl's hand as `baa_core.phantom` draws it."""
    drawn = draw_phantom(bone_age_months, "female", seed=seed, height_px=height_px, markers=False)
    pixels = drawn.radiograph.pixels
    return Hand((pixels - pixels.min()) / np.ptp(pixels), drawn.mask, drawn.landmarks)


VARIANTS: dict[str, Variant] = {
    **{
        f"{share:.0%} of a {surround} frame": partial(in_frame, share=share, surround=surround)
        for surround in ("black", "white", "grey", "noise", "gradient")
        for share in (0.28, 0.38)
    },
    "forearm twice as long": partial(long_forearm, times=2.0),
    "forearm three times as long": partial(long_forearm, times=3.0),
    "wide black borders": partial(borders, grey=0.0),
    "wide white borders": partial(borders, grey=1.0),
    "equalised": equalised,
    "strong CLAHE": clahe,
    "strong unsharp": unsharp,
    "gamma 2": partial(gamma, power=2.0),
    "gamma 0.5": partial(gamma, power=0.5),
    "bone window": bone_window,
    "burned-in text": burned_text,
    "ring": ring,
    "splint": splint,
    "plaster to the knuckles": plaster,
    "plaster to the fingers": partial(plaster, to_fingers=True),
    "touching hands": touching_hands,
    "fingertip cut": tip_cut,
    "thumb cut": thumb_cut,
    "120 px copy": small_copy,
    "alignment grid": grid,
    "page of four": partial(sheet, rows=2, columns=2),
    "page of six": partial(sheet, rows=2, columns=3),
    "screen of four": partial(sheet, rows=2, columns=2, paper=0.1),
    "photo of a screen": screen_photo,
}
