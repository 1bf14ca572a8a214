"""Radiograph + HandMask -> Landmarks: where the joints of the hand are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import LandmarksNotFound
from ..hand_anatomy import LANDMARKS
from ..networks.landmarks import KeyPointNetwork, LandmarkNetwork
from ..networks.weights import check_finite
from ..preprocessing.picture import box_of, widen
from ..preprocessing.prepare import ModelInput, SharedSteps, prepare
from ..recipes.schema import Member
from ..types import HandMask, Landmarks, Points, Radiograph

Places = NDArray[np.float64]

# Of the hand's length, median over the points. Of 24 sharp `val` radiographs three lie above, and on these the points
# are visibly wrong; the others have 0.13 to 0.23.
LARGEST_SPREAD_SHARE = 0.25
WIDENED_SHARE = 0.1  # of the longer side of the hand's box: shown around the outline when the joints are placed


def place_landmarks(
    radiograph: Radiograph, hand: HandMask, member: Member, network: nn.Module, shared: SharedSteps | None = None
) -> HandMask:
    """Place the joints and tips of a hand: the one pass of the landmark network in an assessment.

    Args:
        radiograph: as read.
        hand: on the same grid.
        member: the network's input.
        network: `landmarks.LandmarkNetwork`.
        shared: as for `prepare`.

    Returns:
        the hand with all of `LANDMARKS`, twice: placed in what the mask shows, as the networks that go by them learned
        them, and with what lies around it, so that a finger which the mask misses still has its joints.
        `check_placed` says whether they mean something.
    """
    shown = [
        prepare(radiograph, hand, member.input, shared=shared),
        prepare(radiograph, widened(hand), member.input),
    ]
    own, around = _read(shown, network, LANDMARKS)
    return replace(hand, landmarks=own, landmarks_in_context=around)


def widened(hand: HandMask) -> HandMask:
    """The hand with what lies around its outline, for placing joints that the outline may have cut off."""
    if not hand.pixels.any():
        return hand
    top, left, bottom, right = box_of(hand.pixels)
    radius = max(1, round(WIDENED_SHARE * max(bottom - top, right - left)))
    return replace(hand, pixels=widen(hand.pixels, radius))


def check_placed(landmarks: Landmarks) -> Landmarks:
    """The same landmarks, if they could be placed.

    Raises:
        LandmarksNotFound: the heat is spread so widely that the points mean nothing.
    """
    spread = float(np.median(list(landmarks.spread_px.values())))
    if spread > LARGEST_SPREAD_SHARE * landmarks.hand_length_px:
        raise LandmarksNotFound(
            "The joints of this hand could not be placed. A hand seen from its palm or back is expected, fingers "
            "apart and unbent. Give such a picture, or do without points and regions."
        )
    return landmarks


def find_landmarks(model_input: ModelInput, network: nn.Module, names: tuple[str, ...] = LANDMARKS) -> Landmarks:
    """Place the points of a prepared hand by a network of a recipe's own, or where a network is put to the test.

    Args:
        model_input: the prepared hand, as the network's member takes it.
        network: `landmarks.LandmarkNetwork` or `landmarks.KeyPointNetwork`.
        names: of its points, in its order; by default the 21 joints and tips and the ends of radius and ulna.

    Returns:
        points and their spread on the radiograph's grid. Where the two views disagree the spread is wider.

    Raises:
        LandmarksNotFound: see `check_placed`; key points have no spread of their own and are never refused.
    """
    (landmarks,) = _read([model_input], network, names)
    return landmarks if isinstance(network, KeyPointNetwork) else check_placed(landmarks)


def _read(inputs: Sequence[ModelInput], network: nn.Module, names: tuple[str, ...]) -> list[Landmarks]:
    """The points of prepared hands on the radiograph's grid, in one pass.

    Each picture and its mirror image are both shown and what comes out is averaged, so that left and right hands get
    the same points.
    """
    images = torch.from_numpy(np.concatenate([made.image for made in inputs]))
    with torch.inference_mode():
        both = torch.cat([images, images.flip(-1)])
        output = network.placed(both) if isinstance(network, LandmarkNetwork) else network(both)
    check_finite(network, output.places, output.spread)
    places, spreads = (np.float64(part.numpy()).reshape(2, len(inputs), *part.shape[1:]) for part in output)
    places[1, ..., 1] = 1.0 - places[1, ..., 1]
    spread = np.sqrt((spreads**2).mean(axis=0) + places.var(axis=0).sum(axis=-1))  # of both views' heat together
    return [_home(*one, names) for one in zip(inputs, places.mean(axis=0), spread, strict=True)]


def _home(model_input: ModelInput, places: Places, spread: Places, names: tuple[str, ...]) -> Landmarks:
    """Places (K, 2) and spread (K,) in shares of a prepared picture, on the radiograph's grid."""
    (height_px, width_px), home = model_input.mask.shape, model_input.to_radiograph
    pixels = places[:, ::-1] * (width_px, height_px) - 0.5
    columns_rows = pixels @ home[:, :2].T + home[:, 2]
    scale = max(height_px, width_px) * float(np.sqrt(abs(np.linalg.det(home[:, :2]))))
    return Landmarks(
        points={name: (float(row), float(column)) for name, (column, row) in zip(names, columns_rows, strict=True)},
        spread_px={name: float(share) * scale for name, share in zip(names, spread, strict=True)},
    )


def place_points(radiograph: Radiograph, hand: HandMask, member: Member, network: nn.Module, *, needed: bool) -> Points:
    """The points that a recipe's steps go by; empty where they cannot be placed and it can do without.

    Args:
        radiograph: as read.
        hand: on the same grid; its landmarks are taken if it has them and `network` places the same.
        member: the network's input and the names of its points.
        network: see `find_landmarks`.
        needed: the recipe cannot do without.

    Raises:
        LandmarksNotFound: they cannot be placed and are needed.
    """
    try:
        if hand.landmarks is not None and isinstance(network, LandmarkNetwork):
            return check_placed(hand.landmarks).points
        return find_landmarks(prepare(radiograph, hand, member.input), network, member.architecture.points).points
    except LandmarksNotFound:
        if needed:
            raise
        return {}
