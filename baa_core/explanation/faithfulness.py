"""Does a map mark what moves the estimate? Map + forward -> curves of deletion, beside random maps and plain edges.

Pixel flipping (Samek 2017) blurs what a map calls most important first and watches a class score fall. For a regression
that measures little: evidence for older and for younger cancel while both go, and a half-blurred picture moves the
estimate by many months whichever half it is. So every map is asked twice here: the evidence for older goes first, and
the estimate must fall; the evidence for younger goes first, and it must rise. The months between the two curves are the
measure. What blurring does to any picture is in both and drops out (symmetric relevance gain, Blücher 2024,
arXiv:2401.06654). A random surrogate map gets 0 on average.

Insertion needs no forwards of its own: the picture in which the most telling share for older has come back is the one
in which everything else has gone, so its curves are these, read from the other end, and the area is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..preprocessing.prepare import ModelInput
from ..types import FloatArray, freeze
from .attribution import Forward, blurred_hand, months_of, require_finite, widely_blurred

CURVE_STEPS = 4
RANDOM_MAPS = 4  # one more surrogate map would beat all of them, with the right sign, one time in ten
GRAIN_SHARE = (
    0.025  # deviation of the Gaussian that smooths every map before it ranks, of the side: about a growth plate
)
SEED = 0


@dataclass(frozen=True, eq=False)
class Removal:
    """How the estimate moves while the hand is blurred away in the order of one map; months, float32 (K + 1,).

    Attributes:
        older_first: change of the estimate when what speaks most for older goes first.
        younger_first: the same from the other end. Both begin at 0 and end at the blurred hand's change.
    """

    older_first: FloatArray
    younger_first: FloatArray

    def __post_init__(self) -> None:
        for curve in (self.older_first, self.younger_first):
            require_finite(curve, "A curve of the test whether the map marks what moves the estimate")
        freeze(self.older_first)
        freeze(self.younger_first)

    @property
    def area_months(self) -> float:
        """Mean height of `younger_first` over `older_first`; positive if the map has its signs right."""
        return float(np.trapezoid(self.younger_first - self.older_first)) / (len(self.older_first) - 1)

    def insertion(self) -> Removal:
        """The same pictures as a return of the detail: what is named first comes back first."""
        return Removal(self.younger_first[::-1].copy(), self.older_first[::-1].copy())


@dataclass(frozen=True, eq=False)
class Deletion:
    """A map's curves beside those of maps that know nothing of the network.

    Attributes:
        fractions: shares of the hand blurred, 0 to 1, float32 (K + 1,).
        shown: of the map in question.
        random: of random surrogate maps with its spectrum.
        edges: of the picture's edges.
    """

    fractions: FloatArray
    shown: Removal
    random: tuple[Removal, ...]
    edges: Removal

    def __post_init__(self) -> None:
        freeze(self.fractions)

    @property
    def area_months(self) -> float:
        """Months between the map's two curves."""
        return self.shown.area_months

    @property
    def random_area_months(self) -> float:
        """Of a random surrogate map on average, whichever way round it is read."""
        return float(np.mean([abs(removal.area_months) for removal in self.random]))

    @property
    def best_random_area_months(self) -> float:
        """Of the best random surrogate map."""
        return max(abs(removal.area_months) for removal in self.random)

    @property
    def edge_area_months(self) -> float:
        """Of the edges, read the way round that serves them: strong edges as older or as younger."""
        return abs(self.edges.area_months)

    @property
    def faithful(self) -> bool:
        """The map beats the edges and every random surrogate map."""
        return self.area_months > max(self.best_random_area_months, self.edge_area_months)


def measure_deletion(
    forwards: Mapping[str, Forward], inputs: Mapping[str, ModelInput], maps: Mapping[str, FloatArray]
) -> Deletion:
    """Every network's map tried on it, the curves averaged; 38 pictures a network.

    Args:
        forwards: member name to its network as a function of pictures alone, (N, C, H, W) to months (N,).
        inputs: member name to its prepared picture.
        maps: member name to its signed map on its input grid, (H, W).
    """
    found = [_rows(forward, inputs[name], maps[name]) for name, forward in forwards.items()]
    shown, edges, *random = (_mean(same) for same in zip(*found, strict=True))
    return Deletion(np.linspace(0.0, 1.0, CURVE_STEPS + 1, dtype=np.float32), shown, tuple(random), edges)


def _mean(of_networks: tuple[tuple[FloatArray, FloatArray], ...]) -> Removal:
    """Both curves averaged over the networks."""
    high, low = np.asarray(of_networks, np.float32).mean(axis=0)
    return Removal(high, low)


def _rows(forward: Forward, model_input: ModelInput, months: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """One network's curves: of the map, the edges, and the random surrogate maps."""
    shown, edges = smoothed(months), smoothed(edge_strength(model_input))
    return curves(forward, model_input, [shown, edges, *chance(shown, range(SEED, SEED + RANDOM_MAPS))])


def smoothed(values: FloatArray) -> FloatArray:
    """A map, (H, W), without grain finer than the network's evidence, so that what goes hangs together."""
    return widely_blurred(values, GRAIN_SHARE * len(values))


def edge_strength(model_input: ModelInput) -> FloatArray:
    """What a map worth its name must beat: Sobel's edges of the hand, which no network has seen."""
    picture = model_input.image[0, 0]
    across, down = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return np.asarray(np.hypot(across, down) * model_input.mask, np.float32)


def chance(values: FloatArray, seeds: Iterable[int]) -> Iterator[FloatArray]:
    """Maps that know nothing but are as coarse as the given one: its spectrum, with the phases of white noise.

    Coarse maps remove coherent pieces and so move an estimate further, whatever they know.
    """
    spectrum = np.abs(np.fft.rfft2(values))
    for seed in seeds:
        phases = np.fft.rfft2(np.random.default_rng(seed).standard_normal(values.shape))
        yield np.asarray(np.fft.irfft2(spectrum * phases / np.abs(phases), s=values.shape), np.float32)


def curves(
    forward: Forward, model_input: ModelInput, rankings: Sequence[FloatArray]
) -> list[tuple[FloatArray, FloatArray]]:
    """What each ranking's removal does, first from its high end, then from its low end.

    Args:
        forward: (N, C, H, W) to months (N,); asked about two pictures, and six a ranking.
        model_input: the prepared picture.
        rankings: (H, W) each; only the order within the hand counts.

    Returns:
        for each ranking both curves, months, float32 (5,), from 0 to the blurred hand's change.
    """
    start, end = model_input.image[0, 0], blurred_hand(model_input)
    hand = np.flatnonzero(model_input.mask)

    def pictures() -> Iterator[FloatArray]:
        yield start
        yield end
        for ranking in rankings:
            order = hand[np.argsort(-ranking.ravel()[hand], kind="stable")]
            for way in (order, order[::-1]):
                yield from _between(start, end, way)

    whole, gone, *inner = months_of(forward, pictures())
    ends = np.broadcast_to([whole, gone], (len(rankings), 2, 2))
    both = np.concatenate(
        [ends[..., :1], np.reshape(inner, (len(rankings), 2, CURVE_STEPS - 1)), ends[..., 1:]], axis=2
    )
    return [(high, low) for high, low in (both - whole).astype(np.float32)]


def _between(start: FloatArray, end: FloatArray, order: np.ndarray) -> Iterator[FloatArray]:
    """What is seen while the pixels of `order` become those of `end`, from the first step to the last but one."""
    current, last = start.ravel().copy(), end.ravel()
    for step in range(1, CURVE_STEPS):
        gone = order[: round(len(order) * step / CURVE_STEPS)]
        current[gone] = last[gone]
        yield current.reshape(start.shape).copy()
