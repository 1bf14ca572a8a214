"""Whether a map of this picture can be relied on: stability, a verdict in one sentence, likeness of the networks' maps.

Whether the map marks what moves the estimate is measured in `deletion`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np

from ..preprocessing.picture import Affine, invert
from ..preprocessing.prepare import ModelInput
from ..types import FloatArray
from .attribution import visible
from .faithfulness import Deletion
from .heatmap import smooth

FLAT = 1e-10  # a variation that is rounding: its correlation would be too
SEED = 0
NOISE = 0.05  # deviation, in deviations of the picture
TURN_DEGREES = 2.0

STABLE_FROM = 0.6  # correlation under the worst of the small changes


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson's, of two signed maps on one grid, where at least one of them says something.

    Each is smoothed first, over those places alone: the black around two hands does not make them alike. A map
    that is the same everywhere resembles nothing: 0.
    """
    speaks = (one != 0) | (other != 0)
    if not speaks.any():
        return 0.0
    weight = smooth(speaks.astype(np.float32))[speaks]
    first, second = ((smooth(values)[speaks] / weight).astype(np.float64) for values in (one, other))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    flat = size <= FLAT * len(first) * float(np.abs(one).max()) * float(np.abs(other).max())
    return 0.0 if flat else float((first * second).sum() / size)


def agreement(maps: Sequence[FloatArray]) -> float | None:
    """Mean `correlation` of all pairs of maps on one grid, -1 to 1; None if there is no pair."""
    found = [correlation(one, other) for one, other in combinations(maps, 2)]
    return float(np.mean(found)) if found else None


def stability(
    attribute: Callable[[ModelInput], FloatArray], model_input: ModelInput, months: FloatArray
) -> dict[str, float]:
    """How much of a map survives changes of the picture that should not matter.

    Args:
        attribute: prepared picture to signed map, (H, W); asked three times.
        model_input: the prepared picture.
        months: its map.

    Returns:
        change ("noise", "turned left", "turned right") to the `correlation` of its map, turned back, with `months`.
    """
    grain = np.random.default_rng(SEED).normal(0.0, NOISE, model_input.image.shape) * visible(model_input)
    found = {
        "noise": correlation(
            months, attribute(replace(model_input, image=model_input.image + grain.astype(np.float32)))
        )
    }
    height, width = model_input.image.shape[-2:]
    centre = ((width - 1) / 2, (height - 1) / 2)
    for name, degrees in (("turned left", TURN_DEGREES), ("turned right", -TURN_DEGREES)):
        there = np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), np.float64)
        turned = attribute(_turned(model_input, there))
        found[name] = correlation(
            months, np.asarray(cv2.warpAffine(turned, invert(there), (width, height)), np.float32)
        )
    return found


def _turned(model_input: ModelInput, affine: Affine) -> ModelInput:
    """The prepared picture moved on its own grid; what comes in from beyond its edge repeats the edge."""
    size = model_input.mask.shape[::-1]
    picture = cv2.warpAffine(model_input.image[0, 0], affine, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(model_input.mask.astype(np.uint8), affine, size, flags=cv2.INTER_NEAREST).astype(bool)
    return replace(model_input, image=np.asarray(picture, np.float32)[None, None], mask=mask)


@dataclass(frozen=True)
class Verdict:
    """Whether the map can be relied on, in one sentence, and the checks that this rests on."""

    faithful: bool
    stable: bool
    sentence: str


def summarise_checks(deletion: Deletion, stable: Mapping[str, float]) -> Verdict:
    """Sum up.

    How alike the networks' maps are is no check. A map explains the mean of all networks, and networks of different
    kinds find the same months in different places: the correlation of their maps was 0.22 in the median, from -0.44 to
    0.85, and under 0.6 on 16 of 18 sharp `val` radiographs, while the two checks passed the map on 17 of the 18
    (`python -m train explanations`, lite, `both_ways`). It is reported beside the verdict. Maps of networks whose
    parameters were shuffled passed the first check on 1 of the 18, random maps on none.

    Args:
        deletion: `measure_deletion` of the map.
        stable: `stability`.
    """
    faithful = deletion.faithful
    change, worst = min(stable.items(), key=lambda item: item[1])
    holds = worst >= STABLE_FROM
    parts = [
        f"{'faithful' if faithful else 'not shown to be faithful'}: blurring what it marks moves the estimate the way "
        f"it says by {deletion.area_months:.1f} months, random surrogate maps by {deletion.random_area_months:.1f} "
        f"({deletion.best_random_area_months:.1f} at most), edges by {deletion.edge_area_months:.1f}",
        f"{'stable' if holds else 'not stable'} (correlation {worst:.2f} or more under small changes; least: {change})",
    ]
    sentence = "; ".join(parts) + "."
    return Verdict(faithful, holds, sentence[0].upper() + sentence[1:])


def likeness_sentence(member_agreement: float) -> str:
    """How alike the networks' own maps are, for a reader; no judgement, see `summarise_checks`.

    Args:
        member_agreement: `agreement` of their maps, -1 to 1.
    """
    return (
        f"The networks' own maps have a correlation of {member_agreement:.2f} (1: alike, 0: nothing in common, -1: "
        "opposite). Networks of different kinds rest on different places; the map shown is their mean by weight."
    )
