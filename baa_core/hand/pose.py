"""Landmarks -> nothing, or a refusal: do the joints lie as they do in a hand seen from the front?

The hand network may take a foot or a hand seen from the side for a hand, and an age network answers whatever it is
shown. But the network that places joints finds other proportions there than in any hand that lies flat, or is unsure
of its places, and that is measured here: by the Mahalanobis distance in the directions that ordinary hands vary in
most, and by what lies beside them (after Lee et al., NeurIPS 2018, arXiv:1807.03888, without classes; the residual
after Wang et al., CVPR 2022, arXiv:2203.10807). `python -m train outliers` fits it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as dump_safetensors

from ..errors import UnsupportedPose, WeightsCorrupt, WeightsMissing
from ..hand_anatomy import LANDMARKS
from ..networks.landmarks import proportions
from ..networks.weights import Manifest, read_verified
from ..types import Caution, FloatArray, Landmarks, freeze

NAME = "outlier"  # in the manifest
LEAST_SPREAD = 1e-3  # in hands
# None of 100 sharp `val` radiographs lies farther (`python -m train outliers lite`: at most 16.9), and of 11 drawn
# hands one. Of 9 `val` radiographs in false colours, half inverted, stretched or laid over their mirror image those
# that nothing else is said of lie from 29.6 on.
RARE_DISTANCE = 17.0
RARE_POSE = Caution(
    "pose_rare",
    "The joints lie as in few hands seen from the front that the networks learned from. The picture may have been "
    "changed, the hand bent, or its outline wrong: look at both before you trust the number.",
)


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Where the shapes of ordinary hands lie. All arrays float32.

    Attributes:
        mean: (F,), of what `shape_of` says of a hand.
        axes: (F, D), orthonormal, the directions in which they vary most.
        deviations: (D,), how much along each.
        residual: (2,), mean and deviation of the length of what the axes leave over.
        threshold: (1,), the largest distance that is not refused.
        network_sha256: (32,) uint8: the weights file that placed the joints; no others can be checked.

    Raises:
        ValueError: the shapes do not belong together, a value is not finite, or a deviation not above 0.
    """

    mean: FloatArray
    axes: FloatArray
    deviations: FloatArray
    residual: FloatArray
    threshold: FloatArray
    network_sha256: np.ndarray

    def __post_init__(self) -> None:
        width = (*self.mean.shape, *self.deviations.shape)
        rest = (self.residual.shape, self.threshold.shape, self.network_sha256.shape)
        if self.axes.shape != width or rest != ((2,), (1,), (32,)):
            raise ValueError("mean, axes and deviations do not belong together")
        for array in self.to_arrays().values():
            if not np.isfinite(array).all():
                raise ValueError("a value is not finite")
            freeze(array)
        if min(self.deviations.min(initial=1.0), self.residual[1]) <= 0:
            raise ValueError("a deviation must be above 0")

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name, as the file holds them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def distance(self, features: FloatArray) -> float:
        """How far a picture lies from ordinary radiographs, in deviations: about the root of D for one of them.

        Args:
            features: (F,), of the picture as it is, not mirrored.
        """
        beside = features - self.mean
        along = beside @ self.axes
        left = float(np.linalg.norm(beside - self.axes @ along))
        # Lying closer to the axes than most is nothing unusual.
        excess = max(0.0, (left - float(self.residual[0])) / float(self.residual[1]))
        return float(np.sqrt(((along / self.deviations) ** 2).sum() + excess**2))


def shape_of(landmarks: Landmarks) -> FloatArray:
    """The features that are checked, (F,): how the joints lie to one another, and the spread of each, in hands."""
    places = torch.tensor([landmarks.points[name] for name in LANDMARKS])[None]
    spread = np.array([landmarks.spread_px[name] for name in LANDMARKS])
    unsure = np.log(np.maximum(spread / landmarks.hand_length_px, LEAST_SPREAD))
    return np.concatenate([proportions(places)[0].numpy(), unsure]).astype(np.float32)


def check_pose(features: FloatArray, space: FeatureSpace, name: str) -> tuple[Caution, ...]:
    """Refuse a picture whose joints lie otherwise than those of any ordinary hand; caution at one that is rare.

    Args:
        features: (F,), of the network that the space was fitted on.
        space: where ordinary hands lie.
        name: what to call the picture.

    Raises:
        UnsupportedPose: the distance is over the threshold.
    """
    distance, most = space.distance(features), float(space.threshold[0])
    if distance > most:
        raise UnsupportedPose(
            f"The joints in {name} lie unlike those of any hand seen from the front that this software learned from "
            f"(distance {distance:.1f}, at most {most:.1f} is read). A child's hand and wrist, flat, palm down, "
            "fingers apart, is expected: check that it is the right file and view."
        )
    return (RARE_POSE,) if distance > RARE_DISTANCE else ()


def save_feature_space(space: FeatureSpace) -> bytes:
    """The bytes of a file that `load_feature_space` reads."""
    return bytes(dump_safetensors({name: np.ascontiguousarray(array) for name, array in space.to_arrays().items()}))


def load_feature_space(network: str, folder: Path, manifest: Manifest) -> FeatureSpace:
    """The feature space of a weights folder, verified.

    Args:
        network: name of the member whose features are checked.
        folder: where manifest and files lie.
        manifest: the folder's.

    Raises:
        WeightsMissing: the manifest does not list it, or its file is not there.
        WeightsCorrupt: its sha256 or contents are wrong, or it was fitted on other weights of the network.
    """
    if NAME not in manifest.weights:
        raise WeightsMissing(
            f"weights/manifest.json lists no '{NAME}', so poses outside the training distribution cannot be refused. "
            "Fit it with 'python -m train outliers', or get the weights folder as weights/README.md says."
        )
    entry, content = read_verified(NAME, folder, manifest)
    try:
        space = FeatureSpace(**parse_safetensors(content))
    except (SafetensorError, TypeError, ValueError) as wrong:
        raise WeightsCorrupt(
            f"weights/{entry.file} does not hold a feature space. "
            "Weights and software must be of the same version: get both again as weights/README.md says."
        ) from wrong
    network_entry = manifest.weights.get(network)
    if network_entry is None or space.network_sha256.tobytes().hex() != network_entry.sha256:
        raise WeightsCorrupt(
            f"weights/{entry.file} was not fitted on the weights of '{network}' in this folder. "
            "Run 'python -m train outliers' after every training, or get the weights folder again."
        )
    return space
