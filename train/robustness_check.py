"""`python -m train.robustness_check`: does the estimate depend on where and how a hand lies in its frame?

Prints one JSON object: by how much the months of sharp `val` radiographs change, and how many are refused, when the
hand fills a smaller share of the frame in one of five surrounds, and when the frame is turned in steps of 15 degrees.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from baa_core import _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import HandRefused
from baa_core.pipeline import Assessor, load_assessor
from baa_core.recipes import DEFAULT_RECIPE
from baa_core.steps import box_of
from baa_core.types import BoolArray, Radiograph, Sex

from .command import says_problems
from .samples import Sample, find_samples, read_labels, read_sample

Grey = NDArray[np.float32]
RADIOGRAPHS = 30
SHARES = (0.25, 0.35, 0.5, 0.7, 0.9)  # the hand's length, forearm included, of the frame's side
DEGREES = tuple(range(0, 360, 15))
HAND_PX = 600  # length of a placed hand: about the median of the sharp radiographs
MARGIN_SHARE = 0.06  # of the hand's length, that is kept of the radiograph around the hand
SEED = 0

SURROUNDS: dict[str, Callable[[int, np.random.Generator], Grey]] = {
    "black": lambda side, _: np.zeros((side, side), np.float32),
    "white": lambda side, _: np.ones((side, side), np.float32),
    "grey": lambda side, _: np.full((side, side), 0.5, np.float32),
    "noise": lambda side, generator: generator.random((side, side), np.float32),
    "gradient": lambda side, _: np.tile(np.linspace(0.1, 0.9, side, dtype=np.float32), (side, 1)),
}


def placed(pixels: Grey, hand: BoolArray, share: float, surround: str, generator: np.random.Generator) -> Grey:
    """A square frame in which the hand is `HAND_PX` long, at a random place.

    Args:
        pixels: of the radiograph, (H, W) in [0, 1].
        hand: its mask.
        share: the hand's length of the frame's side; the frame is never smaller than the cut-out.
        surround: one of `SURROUNDS`, outside the radiograph's part around the hand.
        generator: draws place and noise.
    """
    top, left, bottom, right = box_of(hand)
    length = max(bottom - top, right - left)
    margin = round(MARGIN_SHARE * length)
    near = pixels[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    scale = HAND_PX / length
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = np.clip(cv2.resize(near, None, fx=scale, fy=scale, interpolation=how), 0.0, 1.0)
    frame = SURROUNDS[surround](max(round(HAND_PX / share), *part.shape), generator)
    row, column = (int(generator.integers(0, len(frame) - side + 1)) for side in part.shape)
    frame[row : row + part.shape[0], column : column + part.shape[1]] = part
    return frame


def turned(pixels: Grey, degrees: float) -> Grey:
    """The radiograph turned clockwise in a frame that holds all of it, its corners black."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width = int(np.ceil(height * sine + width * cosine - 1e-6))
    new_height = int(np.ceil(height * cosine + width * sine - 1e-6))
    matrix[:, 2] += (new_width - width) / 2, (new_height - height) / 2
    return np.asarray(cv2.warpAffine(pixels, matrix, (new_width, new_height), flags=cv2.INTER_LINEAR), np.float32)


@dataclass
class Changes:
    """By how many months a kind of frame changed the estimate, and how often it was refused."""

    months: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Mean and largest change, and the names of refusals."""
        sizes = np.abs(self.months)
        return {
            "mean": round(float(sizes.mean()), 2) if sizes.size else None,
            "largest": round(float(sizes.max()), 2) if sizes.size else None,
            "assessed": len(self.months),
            "refused": self.refused,
        }


def months_of(assessor: Assessor, pixels: Grey, sex: Sex) -> float:
    """The estimate for one sex as it is served, without the sex check.

    Raises:
        HandRefused: as `Assessor.assess`.
    """
    radiograph = Radiograph(np.ascontiguousarray(np.round(pixels * 255) / 255, np.float32))
    hand = assessor.find_hand(radiograph)
    inputs = assessor.prepare(radiograph, hand)
    assessor.check_view(inputs, radiograph.name)
    return assessor.predict(inputs, sex).bone_age_months


def frames(pixels: Grey, hand: BoolArray, seed: int) -> Iterator[tuple[str, str, Grey]]:
    """Every frame that a radiograph is put into: the kind, its size, the pixels."""
    for number, surround in enumerate(SURROUNDS):
        for share in SHARES:
            generator = np.random.default_rng((seed, number, round(100 * share)))
            yield "placed", f"{surround} {share:.0%}", placed(pixels, hand, share, surround, generator)
    for degrees in DEGREES[1:]:
        yield "turned", f"{degrees}", turned(pixels, degrees)


def measure(assessor: Assessor, samples: list[Sample], sexes: dict[int, Sex]) -> dict[str, dict[str, Changes]]:
    """The changes by kind and size of frame."""
    found: dict[str, dict[str, Changes]] = {"placed": {}, "turned": {}}
    for sample in tqdm(samples, mininterval=10):
        pixels, sex = read_sample(sample).pixels, sexes[sample.rsna_id]
        before = months_of(assessor, pixels, sex)
        hand = assessor.find_hand(Radiograph(pixels)).pixels
        for kind, size, frame in frames(pixels, hand, SEED + sample.rsna_id):
            changes = found[kind].setdefault(size, Changes())
            try:
                changes.months.append(months_of(assessor, frame, sex) - before)
            except HandRefused as refusal:
                changes.refused.append(f"{sample.rsna_id}: {type(refusal).__name__}")
    return found


def pooled(groups: list[Changes]) -> dict[str, Any]:
    """The figures of several groups together."""
    whole = Changes([m for group in groups for m in group.months], [r for group in groups for r in group.refused])
    return whole.figures()


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    line = argparse.ArgumentParser(prog="python -m train.robustness_check", description=__doc__)
    line.add_argument("--images", nargs="+", type=Path, required=True, help="folder of sharp radiographs")
    line.add_argument("--labels", type=Path, required=True)
    line.add_argument("--weights", type=Path, default=Path("weights"))
    line.add_argument("--recipe", default=DEFAULT_RECIPE)
    line.add_argument("--radiographs", type=int, default=RADIOGRAPHS, help="how many, evenly taken from `val`")
    args = line.parse_args(arguments)
    assessor, labels = load_assessor(args.recipe, weights_dir=args.weights), read_labels(args.labels)
    sharp = [s for s in find_samples(args.images, labels) if s.kind == "sharp" and labels.split[s.rsna_id] == "val"]
    samples = sharp[:: max(1, len(sharp) // args.radiographs)][: args.radiographs]
    found = measure(assessor, samples, {s.rsna_id: labels.sex[s.rsna_id] for s in samples})
    print(
        json.dumps(
            {
                "radiographs": len(samples),
                "placed_35_percent_and_more": pooled(
                    [changes for size, changes in found["placed"].items() if not size.endswith(f" {SHARES[0]:.0%}")]
                ),
                "turned_all": pooled(list(found["turned"].values())),
                **{kind: {size: c.figures() for size, c in groups.items()} for kind, groups in found.items()},
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
