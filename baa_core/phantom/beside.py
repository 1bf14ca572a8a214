"""A radiograph in the place of a drawn hand: turned, mirrored and scaled so that its joints lie as near as they can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import LandmarksNotFound
from ..types import FloatArray, Points, Radiograph

LEAST_SHARED: Final = 4  # points that both hands must have: two determine a similarity, more even out what differs


class Aligned(NamedTuple):
    """A radiograph on the grid of a drawn hand.

    Attributes:
        radiograph: of the drawn hand's shape; black where the picture does not reach.
        mean_distance_px: from its joints to those of the drawn hand, in pixels of the drawn hand.
        mirrored: it is a hand of the other side than the drawn one, and was mirrored.
    """

    radiograph: Radiograph
    mean_distance_px: float
    mirrored: bool


def aligned(
    radiograph: Radiograph, landmarks: Points, drawn: Points, shape: tuple[int, int], *, inverted: bool = False
) -> Aligned:
    """Bring a radiograph onto a drawn hand by the similarity with the least squared distance of their landmarks.

    Args:
        radiograph: pixels (H, W) in [0, 1].
        landmarks: of the radiograph, name to (row, column).
        drawn: of the drawn hand likewise; names that both have are used.
        shape: (height, width) of the drawn hand's picture.
        inverted: bone is dark in the radiograph.

    Raises:
        LandmarksNotFound: they share fewer than four landmarks.
    """
    names = sorted(set(landmarks) & set(drawn))
    if len(names) < LEAST_SHARED:
        raise LandmarksNotFound(
            "Too few joints of this hand were placed to lay a drawn hand beside it. Use a picture of the whole hand."
        )
    source, target = _places(landmarks, names), _places(drawn, names)
    turned = [_similarity(source * (mirror, 1.0), target) * ((mirror,), (1.0,), (1.0,)) for mirror in (1.0, -1.0)]
    distances = [float(np.linalg.norm(_moved(matrix, source) - target, axis=1).mean()) for matrix in turned]
    mirrored = distances[1] < distances[0]
    pixels = 1.0 - radiograph.pixels if inverted else radiograph.pixels
    moved = _warped(pixels.astype(np.float32), turned[mirrored], shape)
    return Aligned(Radiograph(moved, radiograph.name), distances[mirrored], mirrored)


def _warped(pixels: FloatArray, matrix: NDArray[np.float64], shape: tuple[int, int]) -> FloatArray:
    """The picture by a (3, 2) matrix on a grid of this shape; made smaller by averaging, so that no line is lost."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2]))))
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        shrunk = np.array([pixels.shape[1] / size[0], pixels.shape[0] / size[1]])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        # A pixel of the small picture lies at (its place + 0.5) * shrunk - 0.5 of the large one.
        matrix = np.vstack([matrix[:2] * shrunk[:, None], matrix[2] + (0.5 * shrunk - 0.5) @ matrix[:2]])
    return cv2.warpAffine(pixels, np.ascontiguousarray(matrix.T), shape[::-1], flags=cv2.INTER_LINEAR).clip(0.0, 1.0)


def _places(points: Mapping[str, tuple[float, float]], names: list[str]) -> NDArray[np.float64]:
    """(n, 2) as (column, row)."""
    return np.array([points[name][::-1] for name in names], dtype=np.float64)


def _similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation, one scale and shift, (3, 2), by least squares (Umeyama 1991, doi:10.1109/34.88573)."""
    from_middle, to_middle = source.mean(0), target.mean(0)
    centred = source - from_middle
    left, sizes, right = np.linalg.svd(centred.T @ (target - to_middle))
    sign = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((sizes * sign).sum() / (centred**2).sum())
    return np.vstack([scale * rotation, to_middle - scale * from_middle @ rotation])


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.c_[points, np.ones(len(points))] @ matrix)
