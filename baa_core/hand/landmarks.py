"""ModelInput -> Landmarks: where the joints of the prepared hand are."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..errors import LandmarksNotFound
from ..hand_anatomy import LANDMARKS
from ..networks.landmarks import LandmarkNetwork
from ..networks.weights import check_finite
from ..preprocessing.prepare import ModelInput, prepare
from ..recipes.schema import Member
from ..types import HandMask, Landmarks, Points, Radiograph

# Of the hand's length, median over the points. Of 24 sharp `val` films three lie above, and on these the points are
# visibly wrong; the others have 0.13 to 0.23.
LARGEST_SPREAD_SHARE = 0.25


def find_landmarks(model_input: ModelInput, network: nn.Module, names: tuple[str, ...] = LANDMARKS) -> Landmarks:
    """Place the joints and tips of a hand.

    The picture and its mirror image are both shown and what comes out is averaged, so that left and right hands get
    the same points.

    Args:
        model_input: the prepared hand, as the network's member takes it.
        network: `landmarks.LandmarkNetwork`, one that has more to say among them, or `landmarks.KeyPointNetwork`.
        names: of its points, in its order; by default the 21 joints and tips and the ends of radius and ulna.

    Returns:
        points and their spread on the radiograph's grid. Where the two views disagree the spread is wider.

    Raises:
        LandmarksNotFound: the heat is spread so widely that the points mean nothing.
    """
    image = torch.from_numpy(np.array(model_input.image))
    with torch.inference_mode():
        both = torch.cat([image, image.flip(-1)])
        output = network.placed(both) if isinstance(network, LandmarkNetwork) else network(both)
    check_finite(network, output.places, output.spread)
    places, spreads = output.places.numpy().astype(np.float64), output.spread.numpy().astype(np.float64)
    places[1, :, 1] = 1.0 - places[1, :, 1]
    spread = np.sqrt((spreads**2).mean(axis=0) + (places.var(axis=0)).sum(axis=1))  # of both views' heat together
    (height_px, width_px), home = model_input.mask.shape, model_input.to_radiograph
    pixels = places.mean(axis=0)[:, ::-1] * (width_px, height_px) - 0.5
    columns_rows = pixels @ home[:, :2].T + home[:, 2]
    scale = max(height_px, width_px) * float(np.sqrt(abs(np.linalg.det(home[:, :2]))))
    landmarks = Landmarks(
        points={name: (float(row), float(column)) for name, (column, row) in zip(names, columns_rows, strict=True)},
        spread_px={name: float(share) * scale for name, share in zip(names, spread, strict=True)},
    )
    if spreads.any() and float(np.median(spread)) * scale > LARGEST_SPREAD_SHARE * landmarks.hand_length_px:
        raise LandmarksNotFound(
            "The joints of this hand could not be placed. A hand seen from its palm or back is expected, fingers "
            "apart and unbent. Give such a picture, or do without points and regions."
        )
    return landmarks


def place_points(radiograph: Radiograph, hand: HandMask, member: Member, network: nn.Module, *, needed: bool) -> Points:
    """The points that a recipe's steps go by; empty where they cannot be placed and it can do without.

    Args:
        radiograph: as read.
        hand: on the same grid.
        member: the network's input and the names of its points.
        network: see `find_landmarks`.
        needed: the recipe cannot do without.

    Raises:
        LandmarksNotFound: they cannot be placed and are needed.
    """
    try:
        return find_landmarks(prepare(radiograph, hand, member.input), network, member.architecture.points).points
    except LandmarksNotFound:
        if needed:
            raise
        return {}
