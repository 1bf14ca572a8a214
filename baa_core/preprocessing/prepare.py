"""Radiograph + HandMask + InputSpec -> ModelInput: the picture one network was trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..hand_anatomy import LANDMARKS
from ..types import BoolArray, Caution, FloatArray, HandMask, Landmarks, Points, Radiograph, freeze
from .picture import IDENTITY, Affine, ByPoints, Picture, invert

if TYPE_CHECKING:
    from .picture import Step


@dataclass(frozen=True, eq=False)
class ModelInput:
    """What a network gets, and the way back.

    Attributes:
        image: float32 (1, 1, H, W), normalised; a square for most networks.
        mask: bool (H, W), True on the hand.
        to_radiograph: 2x3 affine from the image's (column, row) to the radiograph's.
        radiograph_shape: (H, W) of the radiograph.
        background_masked: outside the mask the image is constant: nothing there can move the answer.
        cautions: of the steps that made it.
        places: float32 (K, 2), (row, column) of `LANDMARKS` in shares of the picture's height and width, from edge to
            edge; None where the hand's joints were not placed.
    """

    image: FloatArray
    mask: BoolArray
    to_radiograph: Affine
    radiograph_shape: tuple[int, int]
    background_masked: bool = False
    cautions: tuple[Caution, ...] = ()
    places: FloatArray | None = None

    def __post_init__(self) -> None:
        freeze(self.image)

    def to_radiograph_grid(self, values: FloatArray) -> FloatArray:
        """Resample a map on the image's grid onto the radiograph's; outside is 0."""
        height, width = self.radiograph_shape
        return np.asarray(
            cv2.warpAffine(values, self.to_radiograph, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32
        )


class SharedSteps:
    """What all but the last step made of one radiograph and hand: inputs of several sizes differ in the last one."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Picture] = {}

    def once(self, steps: tuple[Step, ...], points: Points, make: Callable[[], Picture]) -> Picture:
        """What these steps made when they were asked for first, with the same points."""
        key = (steps, tuple(points.items()))
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def iter_steps(
    radiograph: Radiograph, hand: HandMask, spec: InputSpec, points: Points | None = None
) -> Iterator[tuple[str, Picture]]:
    """The picture after every step, for those who want to see what a recipe does to it.

    Args:
        radiograph: as read.
        hand: on the same grid.
        spec: the steps.
        points: landmarks on the same grid, for the steps that go by them.

    Yields:
        the step's name and what it made: first "Radiograph", bone bright, then every step but the normalisation.
    """
    picture = _before_steps(radiograph, hand, points or {})
    yield "Radiograph", picture
    for step in spec.steps:
        picture = step(picture)
        yield type(step).__name__, picture


def _before_steps(radiograph: Radiograph, hand: HandMask, points: Points) -> Picture:
    """The radiograph, bone bright."""
    pixels = 1.0 - radiograph.pixels if hand.inverted else radiograph.pixels
    return Picture(pixels, hand.pixels, IDENTITY, hand.tilt_degrees, points=points)


def apply_steps(radiograph: Radiograph, hand: HandMask, spec: InputSpec, points: Points | None = None) -> Picture:
    """Everything but the normalisation: crop, turn, resize. Training caches and augments this.

    Returns:
        a picture of `spec.shape` in [0, 1].
    """
    ((_, picture),) = deque(iter_steps(radiograph, hand, spec, points), maxlen=1)
    return picture


def prepare(
    radiograph: Radiograph,
    hand: HandMask,
    spec: InputSpec,
    points: Points | None = None,
    on_step: Callable[[str, Picture], None] | None = None,
    shared: SharedSteps | None = None,
) -> ModelInput:
    """Bring a radiograph to the form one network was trained on.

    Args:
        radiograph: as read; an inverted one is turned right here if `hand.inverted` says so.
        hand: on the same grid.
        spec: steps and normalisation, from the recipe.
        points: landmarks on the same grid, for the steps that go by them.
        on_step: called with each step's name and what it made, as `iter_steps` yields them, the normalisation last;
            then nothing is taken from `shared`.
        shared: steps of other inputs of the same radiograph and hand.

    Returns:
        image (1, 1, H, W) and the geometry that brings heatmaps home.
    """
    if shared is not None and on_step is None and spec.steps:
        *first, last = spec.steps
        picture = last(shared.once(tuple(first), points or {}, lambda: _after(first, radiograph, hand, points or {})))
    else:
        for name, picture in iter_steps(radiograph, hand, spec, points):
            if on_step is not None:
                on_step(name, picture)
    picture = spec.normalise(picture)
    if on_step is not None:
        on_step(type(spec.normalise).__name__, picture)
    return ModelInput(
        picture.pixels[None, None],
        picture.mask,
        picture.to_radiograph,
        radiograph.shape,
        picture.background_masked,
        picture.cautions,
        None if hand.landmarks is None else _places(hand.landmarks, picture),
    )


def _after(steps: Iterable[Step], radiograph: Radiograph, hand: HandMask, points: Points) -> Picture:
    """The picture after some steps."""
    picture = _before_steps(radiograph, hand, points)
    for step in steps:
        picture = step(picture)
    return picture


def _places(landmarks: Landmarks, picture: Picture) -> FloatArray:
    """Landmarks of the radiograph as `ModelInput.places` of a picture of it."""
    columns_rows = np.array([landmarks.points[name][::-1] for name in LANDMARKS])
    there = invert(picture.to_radiograph)
    height, width = picture.mask.shape
    at = columns_rows @ there[:, :2].T + there[:, 2]
    return np.asarray((at[:, ::-1] + 0.5) / (height, width), np.float32)


@dataclass(frozen=True)
class InputSpec:
    """How a radiograph becomes a network's input: steps in order, the last one normalises.

    `steps` end in a float32 picture (side_px, width_px) in [0, 1]; training augments that
    picture, then both training and serving apply `normalise`.

    Attributes:
        side_px: height of the picture.
        width_px: its width; 0 for a square.
    """

    side_px: int
    steps: tuple[Step, ...]
    normalise: Step
    width_px: int = 0

    @property
    def goes_by_points(self) -> bool:
        """Some step needs the recipe's own points (`Recipe.points`)."""
        return any(isinstance(step, ByPoints) for step in self.steps)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.side_px, self.width_px or self.side_px
