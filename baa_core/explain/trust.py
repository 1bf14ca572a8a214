"""Whether to believe a map of this picture: map + forward -> curves, stability, agreement, a verdict.

Deletion (Samek 2017; Petsiuk 2018), for a regression: the hand's pixels are blurred from the most to
the least important, and the estimate watched. A map that marks what matters moves it early; whether
it does better than chance and than a mere edge detector is measured on the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..preprocessing import ModelInput
from ..steps import Affine, invert
from ..types import FloatArray, freeze
from .attributions import Forward, blurred_hand, visible
from .heatmap import smooth

FLAT = 1e-10  # a variation that is rounding: its correlation would be too
CURVE_STEPS = 12
RANDOM_MAPS = 3  # a single random map can be lucky
BLOCK_SHARE = 0.05  # side of a random map's block, as a share of the picture's: as smooth as the others
SEED = 0
NOISE = 0.05  # deviation, in deviations of the picture
TURN_DEGREES = 2.0

BETTER_FACTOR = 1.1  # a faithful map beats random ones by this factor, and the edges outright
STABLE_FROM = 0.6  # correlation under the worst of the small changes
AGREE_FROM = 0.6  # mean correlation between networks


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


def importance_of(months: FloatArray) -> FloatArray:
    """A signed map as a ranking: its size, smoothed as the pictures of it are."""
    return smooth(np.abs(months))


def edge_importance(model_input: ModelInput) -> FloatArray:
    """What a map worth its name must beat: Sobel's edges of the picture, which no network has seen."""
    picture = model_input.image[0, 0]
    across, down = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return smooth(np.asarray(np.hypot(across, down), np.float32))


def random_importance(model_input: ModelInput, seed: int) -> FloatArray:
    """Blocks of chance, blended into each other."""
    side_px = model_input.image.shape[-1]
    blocks = max(2, round(1 / BLOCK_SHARE))
    values = np.random.default_rng(seed).random((blocks, blocks), dtype=np.float32)
    return np.asarray(cv2.resize(values, (side_px, side_px), interpolation=cv2.INTER_LINEAR), np.float32)


def deletion_curve(forward: Forward, model_input: ModelInput, importance: FloatArray) -> FloatArray:
    """How far the estimate has moved when the most important k/12 of the hand are blurred.

    Args:
        forward: (1, C, S, S) to months (1,).
        model_input: the prepared picture.
        importance: (S, S); only its order within the hand counts.

    Returns:
        float32 (13,), months without sign, for k = 0 to 12. A higher curve is a better map.
    """
    picture = model_input.image[0, 0]
    return _changes(forward, model_input, importance, start=picture, end=blurred_hand(model_input))


def insertion_curve(forward: Forward, model_input: ModelInput, importance: FloatArray) -> FloatArray:
    """How far the estimate still is from the picture's when only the most important k/12 of the hand are sharp.

    Args and Returns as `deletion_curve`, but a lower curve is a better map.
    """
    picture = model_input.image[0, 0]
    return _changes(forward, model_input, importance, start=blurred_hand(model_input), end=picture)


def _changes(
    forward: Forward, model_input: ModelInput, importance: FloatArray, *, start: FloatArray, end: FloatArray
) -> FloatArray:
    """|f(x_k) - f(picture)| while pixels of `start` become those of `end`, the most important first."""
    hand = np.flatnonzero(model_input.mask)
    order = hand[np.argsort(-importance.ravel()[hand], kind="stable")]
    current, last, done = start.ravel().copy(), end.ravel(), 0
    months: list[float] = []
    with torch.inference_mode():
        whole = float(forward(torch.tensor(model_input.image)))
        for step in range(CURVE_STEPS + 1):
            reached = round(len(order) * step / CURVE_STEPS)
            current[order[done:reached]] = last[order[done:reached]]
            done = reached
            months.append(float(forward(_as_batch(current, model_input))))
    return np.asarray(np.abs(np.array(months) - whole), np.float32)


def _as_batch(pixels: FloatArray, model_input: ModelInput) -> Tensor:
    """Flat pixels as a network takes them; a copy, because the caller goes on changing them."""
    return torch.tensor(pixels.reshape(model_input.image.shape)).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Curves:
    """A deletion or insertion curve beside those of maps that know nothing of the network; months, float32 (13,).

    Attributes:
        fractions: shares of the hand replaced, 0 to 1.
        shown: of the map in question.
        random: mean of the random maps' curves.
        edges: of the edge detector.
    """

    fractions: FloatArray
    shown: FloatArray
    random: FloatArray
    edges: FloatArray

    def __post_init__(self) -> None:
        for curve in (self.fractions, self.shown, self.random, self.edges):
            freeze(curve)

    def area(self, curve: FloatArray) -> float:
        """Mean height of a curve over the share replaced, months."""
        return float(np.trapezoid(curve, self.fractions))


def compare(
    curve: Callable[[Forward, ModelInput, FloatArray], FloatArray],
    forward: Forward,
    model_input: ModelInput,
    months: FloatArray,
) -> Curves:
    """`deletion_curve` or `insertion_curve` of a map, of random maps and of the edges; 14 forwards each.

    Args:
        curve: which of the two.
        forward: (1, C, S, S) to months (1,).
        model_input: the prepared picture.
        months: the signed map on its grid, (S, S).
    """
    chance = [curve(forward, model_input, random_importance(model_input, SEED + n)) for n in range(RANDOM_MAPS)]
    return Curves(
        fractions=np.linspace(0.0, 1.0, CURVE_STEPS + 1, dtype=np.float32),
        shown=curve(forward, model_input, importance_of(months)),
        random=np.mean(chance, axis=0, dtype=np.float32),
        edges=curve(forward, model_input, edge_importance(model_input)),
    )


def stability(
    attribute: Callable[[ModelInput], FloatArray], model_input: ModelInput, months: FloatArray
) -> dict[str, float]:
    """How much of a map survives changes of the picture that should not matter.

    Args:
        attribute: prepared picture to signed map, (S, S); asked three times.
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
    side_px = model_input.image.shape[-1]
    centre = ((side_px - 1) / 2, (side_px - 1) / 2)
    for name, degrees in (("turned left", TURN_DEGREES), ("turned right", -TURN_DEGREES)):
        there = np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), np.float64)
        turned = attribute(_turned(model_input, there))
        found[name] = correlation(
            months, np.asarray(cv2.warpAffine(turned, invert(there), (side_px, side_px)), np.float32)
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
    """Whether to believe the map, in one sentence and as what it rests on; `agreeing` is None for one network."""

    faithful: bool
    stable: bool
    agreeing: bool | None
    sentence: str


def judge(deletion: Curves, stable: Mapping[str, float], member_agreement: float | None) -> Verdict:
    """Sum up.

    Args:
        deletion: `compare(deletion_curve, ...)`.
        stable: `stability`.
        member_agreement: `agreement`.
    """
    area, chance, edges = (deletion.area(c) for c in (deletion.shown, deletion.random, deletion.edges))
    faithful = area > BETTER_FACTOR * chance and area > edges
    change, worst = min(stable.items(), key=lambda item: item[1])
    holds = worst >= STABLE_FROM
    agreeing = None if member_agreement is None else member_agreement >= AGREE_FROM
    parts = [
        f"{'faithful' if faithful else 'not shown to be faithful'}: blurring what it marks moves the estimate by "
        f"{area:.1f} months, random places {chance:.1f}, edges {edges:.1f}",
        f"{'stable' if holds else 'not stable'} (correlation {worst:.2f} or more under small changes; least: {change})",
    ]
    if member_agreement is not None:
        parts.append(f"the networks {'agree' if agreeing else 'disagree'} (correlation {member_agreement:.2f})")
    sentence = "; ".join(parts) + "."
    return Verdict(faithful, holds, agreeing, sentence[0].upper() + sentence[1:])
