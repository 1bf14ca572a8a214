"""A radiograph beside a drawn hand: it lies where the drawn hand lies, whatever way it was taken."""

import cv2
import numpy as np
import pytest

from baa_core.errors import LandmarksNotFound
from baa_core.phantom.beside import aligned
from baa_core.phantom.series import HEIGHT_PX, phantom_at
from baa_core.types import Radiograph


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (37, 2.2), (-160, 0.6)])
def test_a_hand_that_was_turned_scaled_or_mirrored_comes_back_to_its_place(
    mirror: bool, degrees: float, scale: float
) -> None:
    phantom = phantom_at(120, "female")
    pixels = phantom.radiograph.pixels
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    side = round(2 * HEIGHT_PX * max(1.0, scale))
    matrix[:, 2] += side / 2 - np.array([width, height]) / 2
    if mirror:
        matrix[0] = -matrix[0]
        matrix[0, 2] += side - 1
    moved = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_AREA)
    places = {name: matrix @ (column, row, 1.0) for name, (row, column) in phantom.landmarks.items()}
    found = aligned(
        Radiograph(1.0 - moved, "moved"),
        {name: (row, column) for name, (column, row) in places.items()},
        phantom.landmarks,
        pixels.shape,
        inverted=True,
    )
    assert found.mirrored == mirror
    assert found.mean_distance_px < 0.01
    inner = np.s_[60:-60, 60:-60]
    assert np.abs(found.radiograph.pixels[inner] - pixels[inner]).mean() < 0.03


def test_another_child_lies_as_near_as_its_proportions_allow() -> None:
    drawn, child = phantom_at(120, "female"), phantom_at(72, "male")
    found = aligned(child.radiograph, child.landmarks, drawn.landmarks, drawn.mask.shape)
    assert 0 < found.mean_distance_px < 0.05 * HEIGHT_PX and not found.mirrored


def test_too_few_joints_are_refused() -> None:
    phantom = phantom_at(120, "female")
    few = dict(list(phantom.landmarks.items())[:3])
    with pytest.raises(LandmarksNotFound, match="Too few joints"):
        aligned(phantom.radiograph, few, phantom.landmarks, phantom.mask.shape)
