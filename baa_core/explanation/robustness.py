"""One radiograph, changed in ways that should not matter -> by how many months the estimate changes.

The seven kinds of change of Santomartino et al. (Radiol Artif Intell 2024, doi:10.1148/ryai.230240), under
which a winner of the 2017 challenge erred: rotation, flip, brightness, contrast, inversion, laterality marker,
resolution. How strong each is here is this project's choice. Added: the radiograph without its marker, the other sex.
Each changed radiograph goes through everything that an assessment does, from the finding of the hand on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..preprocessing.picture import widen
from ..types import BoolArray, FloatArray, HandMask, Radiograph
from .attribution import require_finite

Change = Callable[[Radiograph, HandMask], Radiograph]

OTHER_SEX = "other sex"
TURN_DEGREES = 15.0
BRIGHTER, DARKER = 1.2, 0.8
MORE_CONTRAST, LESS_CONTRAST = 1.25, 0.75
WIDEN_SHARE = 0.02  # of the longer side, around the hand: what counts as background is safely off the skin
MARKER_SHARE = 0.1  # height of an added letter, of the radiograph's shorter side
MARKER_GREY = 0.95  # lead is nearly white


@dataclass(frozen=True)
class Robustness:
    """What came of the changed radiographs; each stands in one of the two.

    Attributes:
        months: name in `TRANSFORMS`, or `OTHER_SEX`, to the change of the estimate, positive for older.
        refusals: name in `TRANSFORMS` to why the changed radiograph is refused, for a reader.
    """

    months: Mapping[str, float]
    refusals: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, months in self.months.items():
            require_finite(months, f"The estimate of the radiograph changed ({name})")

    def by_change(self) -> dict[str, float | None]:
        """Months of every change in the order of the test; None where the changed radiograph is refused."""
        found = {**self.months, **dict.fromkeys(self.refusals)}
        return {name: found[name] for name in (*TRANSFORMS, OTHER_SEX) if name in found}


def _changed(radiograph: Radiograph, pixels: FloatArray) -> Radiograph:
    """The same radiograph with other greys, clipped as a file would."""
    return replace(radiograph, pixels=np.ascontiguousarray(np.clip(pixels, 0.0, 1.0), dtype=np.float32))


def _background(radiograph: Radiograph, hand: HandMask) -> tuple[BoolArray, np.float32]:
    """Where no hand is, (H, W), and the median grey there; of the whole radiograph if the hand fills it."""
    radius = max(1, round(WIDEN_SHARE * max(radiograph.shape)))
    empty = ~widen(hand.pixels, radius)
    return empty, np.float32(np.median(radiograph.pixels[empty] if empty.any() else radiograph.pixels))


def turned(radiograph: Radiograph, hand: HandMask) -> Radiograph:
    """Turned clockwise by 15 degrees in a larger frame; the corners get the background's grey."""
    height, width = radiograph.shape
    turn = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -TURN_DEGREES, 1.0), np.float64)
    cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
    new = (int(np.ceil(height * sine + width * cosine)), int(np.ceil(height * cosine + width * sine)))
    turn[:, 2] += (new[0] - width) / 2, (new[1] - height) / 2
    grey = float(_background(radiograph, hand)[1])
    pixels = cv2.warpAffine(radiograph.pixels, turn, new, borderMode=cv2.BORDER_CONSTANT, borderValue=grey)
    return _changed(radiograph, np.asarray(pixels, np.float32))


def mirrored(radiograph: Radiograph, _hand: HandMask) -> Radiograph:
    """Left and right exchanged, as a radiograph laid face down."""
    return _changed(radiograph, radiograph.pixels[:, ::-1])


def upside_down(radiograph: Radiograph, _hand: HandMask) -> Radiograph:
    """Turned by 180 degrees, as a radiograph hung the wrong way up; left and right stay as they are on the hand."""
    return _changed(radiograph, radiograph.pixels[::-1, ::-1])


def _times(factor: float) -> Change:
    """All greys times a factor."""
    return lambda radiograph, _hand: _changed(radiograph, radiograph.pixels * np.float32(factor))


def _spread(factor: float) -> Change:
    """All greys moved away from their mean by a factor."""

    def change(radiograph: Radiograph, _hand: HandMask) -> Radiograph:
        mean = radiograph.pixels.mean()
        return _changed(radiograph, mean + (radiograph.pixels - mean) * np.float32(factor))

    return change


def reversed_greys(radiograph: Radiograph, _hand: HandMask) -> Radiograph:
    """Bone dark where it was bright. What the file says about polarity no longer holds."""
    return replace(_changed(radiograph, 1.0 - radiograph.pixels), polarity_stated=False, polarity_by_hand=False)


def marked(radiograph: Radiograph, hand: HandMask) -> Radiograph:
    """With a lead L in the corner that holds the least hand."""
    height, width = radiograph.shape
    side = max(8, round(MARKER_SHARE * min(height, width)))
    places = [(row, column) for row in (side // 2, height - 2 * side) for column in (side // 2, width - 2 * side)]
    row, column = min(places, key=lambda at: int(hand.pixels[at[0] : at[0] + side, at[1] : at[1] + side].sum()))
    pixels = radiograph.pixels.copy()
    grey = 1.0 - MARKER_GREY if hand.inverted else MARKER_GREY
    scale = side / cv2.getTextSize("L", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)[0][1]
    thickness = max(1, side // 8)
    cv2.putText(pixels, "L", (column, row + side), cv2.FONT_HERSHEY_SIMPLEX, scale, grey, thickness, cv2.LINE_AA)
    return _changed(radiograph, pixels)


def halved(radiograph: Radiograph, _hand: HandMask) -> Radiograph:
    """Half as many pixels each way."""
    height, width = radiograph.shape
    size = (max(1, width // 2), max(1, height // 2))
    pixels = np.asarray(cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    return _changed(radiograph, pixels)


def unmarked(radiograph: Radiograph, hand: HandMask) -> Radiograph:
    """Everything beside the hand replaced by the background's median grey: no marker, no collimator."""
    empty, grey = _background(radiograph, hand)
    return _changed(radiograph, np.where(empty, grey, radiograph.pixels))


TRANSFORMS: Mapping[str, Change] = {
    "turned 15 degrees": turned,
    "mirrored": mirrored,
    "upside down": upside_down,
    "brighter": _times(BRIGHTER),
    "darker": _times(DARKER),
    "more contrast": _spread(MORE_CONTRAST),
    "less contrast": _spread(LESS_CONTRAST),
    "greys reversed": reversed_greys,
    "marker added": marked,
    "half the resolution": halved,
    "marker removed": unmarked,
}


SIDES_EXCHANGED = ("mirrored", "upside down")  # a hand on the left of the picture is then on its right


def measure_robustness(
    estimate: Callable[[str, Radiograph], float | str], radiograph: Radiograph, hand: HandMask, months: float
) -> Robustness:
    """How far the estimate of every changed radiograph lies from its own; one assessment each, eleven in all.

    Args:
        estimate: name in `TRANSFORMS` and changed radiograph to months by all that an assessment does, for the same
            sex; the reason if it is refused.
        radiograph: as read.
        hand: found on it.
        months: its own estimate, by the same way.
    """
    after = {name: estimate(name, change(radiograph, hand)) for name, change in TRANSFORMS.items()}
    return Robustness(
        months={name: found - months for name, found in after.items() if not isinstance(found, str)},
        refusals={name: found for name, found in after.items() if isinstance(found, str)},
    )
