"""Map or networks + named regions of the hand -> each region's share of the map, and the months it contributes.

A region's contribution is measured, not read off a map: the estimate minus the estimate without the region. Positive
months make the hand older, as red does on a map. For a network that sees the whole hand the region is filled in from
the hand around it. Blurring would not do, since a blurred wrist is still as bright as it is old. A network of joints
does without the joints that lie there, as it learned to: a joint that is filled in has no growth plate, and such a
network takes it for a very young or a grown one (train/RUNS.md). Doing without any piece of a hand moves an estimate,
so each region stands beside pieces of its size from elsewhere on the same hand.

A region stands out if its contribution is outside what one more such piece would have: Student's prediction interval
(mean, standard deviation and number of the pieces). Regions and pieces overlap and are several, so the interval's level
is not 95 of 100: it is found by simulation on the hand at hand, such that one of its regions would stand out on 5 of
100 hands if each pixel's months were drawn at random. Where neighbours agree over 1 to 5 % of the side it is 3 to 6 of
100, over 8 % 3 to 7 (six drawn hands). Holm's levels with pieces that overlap freely gave 10 of 100, and mean plus and
minus two deviations 47.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import sqrt

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..networks.joint_patches import JointAgeNetwork, covered_shares
from ..networks.tta import AS_IT_IS, places_for_tta, tensor
from ..preprocessing.picture import compose, invert
from ..preprocessing.prepare import ModelInput
from ..types import BoolArray, FloatArray
from .attribution import Forward, blurred_hand, months_of, require_finite

Numbers = NDArray[np.float64]
# Months with each of some masks, bool (H, W) on the network's grid, left out, and at last of the whole picture.
LeavesOut = Callable[[Sequence[BoolArray]], Numbers]

ELSEWHERE, OUTSIDE = "elsewhere in the hand", "outside"

EDGE_SHARE = 0.01  # deviation of the soft edge around what is filled in, of the side: no new outline is drawn
PATCHES = 8  # of each size
LIKE_SIZED = 1.6  # regions whose areas differ by less than this factor share their patches
LEAST_PATCHES = 5  # fewer give no spread to rely on
MOSTLY = 0.5  # of a patch that lies on the region itself: then it says nothing about elsewhere
CANDIDATES = 8  # for each patch
CHANCE_SHARE = 0.05  # of hands on which a region stands out by chance
SIMULATED_HANDS = 4000  # the level is then known to within a tenth
SEED = 0


@dataclass(frozen=True)
class RegionEffect:
    """What a region contributes to the estimate.

    Attributes:
        contribution_months: estimate minus the estimate without the region; raw months, averaged over the networks by
            weight. Positive: what the region shows makes the hand older.
        chance_low_months, chance_high_months: the range in which the contribution of one more piece of hand of that
            size would lie (`chance_level`); widened to hold 0, as nothing is not more than anything.

    Raises:
        NotFinite: one of them is no number.
    """

    contribution_months: float
    chance_low_months: float
    chance_high_months: float

    def __post_init__(self) -> None:
        for months in (self.contribution_months, self.chance_low_months, self.chance_high_months):
            require_finite(months, "The contribution of a region")

    @property
    def stands_out(self) -> bool:
        """The region matters more than as much hand elsewhere."""
        return not self.chance_low_months <= self.contribution_months <= self.chance_high_months


def regions_on_input(regions: Mapping[str, BoolArray], model_input: ModelInput) -> dict[str, BoolArray]:
    """Masks on the radiograph's grid, (H, W), on the network's, (H, W); what lies off the hand is left out."""
    size = model_input.mask.shape[::-1]
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    there = model_input.to_radiograph
    return {
        name: cv2.warpAffine(region.astype(np.uint8), there, size, flags=how).astype(bool) & model_input.mask
        for name, region in regions.items()
    }


def attribution_shares(months: FloatArray, regions: Mapping[str, BoolArray], hand: BoolArray) -> dict[str, float]:
    """How a map's size, sign aside, is spread over the picture.

    Args:
        months: a signed map on the radiograph's grid, (H, W).
        regions: name to bool (H, W); they do not overlap.
        hand: bool (H, W).

    Returns:
        region to share, then `ELSEWHERE` and `OUTSIDE`; they sum to 1, or are all 0 for a map of nothing.
    """
    size = np.abs(months)
    inside = {name: float(size[region & hand].sum(dtype=np.float64)) for name, region in regions.items()}
    whole, on_hand = float(size.sum(dtype=np.float64)), float(size[hand].sum(dtype=np.float64))
    parts = {**inside, ELSEWHERE: max(0.0, on_hand - sum(inside.values())), OUTSIDE: max(0.0, whole - on_hand)}
    total = sum(parts.values())
    return {name: part / total if total > 0 else 0.0 for name, part in parts.items()}


def months_by_region(
    forwards: Mapping[str, Forward],
    inputs: Mapping[str, ModelInput],
    regions: Mapping[str, BoolArray],
    of_joints: Mapping[str, LeavesOut] | None = None,
) -> dict[str, RegionEffect]:
    """What each region contributes to the ensemble's estimate, beside pieces of hand of the same size.

    A network is asked about the picture, each region, and eight pieces of hand for each size of region: 23 to 39
    pictures for the six regions of a hand. A network of joints is asked once.

    Args:
        forwards: member name to its network as a function of pictures alone, (N, C, H, W) to months (N,).
        of_joints: member name to what it answers with joints left out (`leaving_joints_out`), in place of its forward.
        inputs: member name to its prepared picture.
        regions: name to bool (H, W) on the radiograph's grid.

    Returns:
        the regions of which the networks see anything, in the given order.
    """
    first = inputs[next(iter(forwards))]
    seen = {name: region for name, region in regions_on_input(regions, first).items() if region.any()}
    if not seen:
        return {}
    sizes = like_sized({name: int(region.sum()) for name, region in seen.items()})
    patches = {area: draw_patches(first.mask, area) for area in sorted(set(sizes.values()))}
    moved = iter(_effects(forwards, inputs, of_joints or {}, first, [*seen.values(), *chain(*patches.values())]))
    own = {name: next(moved) for name in seen}
    found = {area: [(patch, next(moved)) for patch in drawn] for area, drawn in patches.items()}
    elsewhere = {name: _elsewhere(found[sizes[name]], region) for name, region in seen.items()}
    level = chance_level(seen, {name: [patch for patch, _ in drawn] for name, drawn in elsewhere.items()})
    return beside_chance(own, {name: [months for _, months in drawn] for name, drawn in elsewhere.items()}, level)


def _elsewhere(patches: Sequence[tuple[BoolArray, float]], region: BoolArray) -> Sequence[tuple[BoolArray, float]]:
    """The patches that lie elsewhere, with their months; all of them where the region leaves too few elsewhere."""
    elsewhere = [(patch, months) for patch, months in patches if (patch & region).sum() <= MOSTLY * patch.sum()]
    return elsewhere if len(elsewhere) >= LEAST_PATCHES else patches


def beside_chance(
    own: Mapping[str, float], elsewhere: Mapping[str, Sequence[float]], level: float
) -> dict[str, RegionEffect]:
    """Regions' contributions beside the range that chance leaves to each.

    Args:
        own: region to its contribution, months.
        elsewhere: region to the contributions of pieces of hand of its size, months; two at least.
        level: share of contributions that lie beyond the range by chance (`chance_level`).
    """
    found = {}
    for name, months in elsewhere.items():
        require_finite(np.asarray(months, np.float32), "The contribution of a piece of the hand")
        middle, unit = (float(value) for value in _interval(np.asarray(months, np.float64)))
        reach = t_quantile(level, len(months) - 1) * unit
        found[name] = RegionEffect(own[name], min(0.0, middle - reach), max(0.0, middle + reach))
    return found


def _interval(months: Numbers) -> tuple[Numbers, Numbers]:
    """Mean of pieces, (..., n), and the standard deviation of one more piece's distance from it, (...)."""
    return months.mean(axis=-1), months.std(axis=-1, ddof=1) * np.sqrt(1 + 1 / months.shape[-1])


def chance_level(regions: Mapping[str, BoolArray], elsewhere: Mapping[str, Sequence[BoolArray]]) -> float:
    """The level at which a region of such a hand stands out by chance on 5 of 100 hands.

    Were every pixel's months drawn at random, contributions of masks would be normal, their covariance the pixels that
    two masks share, at their soft edges in part. `SIMULATED_HANDS` such hands are drawn, always the same ones.

    Args:
        regions: name to bool (H, W).
        elsewhere: name to the pieces of hand it is compared with.
    """
    masks = {id(mask): mask for mask in (*regions.values(), *chain(*elsewhere.values()))}
    place = {key: number for number, key in enumerate(masks)}
    covers = np.stack([softened(mask).ravel() for mask in masks.values()])
    sizes, axes = np.linalg.eigh((covers @ covers.T).astype(np.float64))
    normal = np.random.default_rng(SEED).standard_normal((SIMULATED_HANDS, len(masks)))
    months = (normal * np.sqrt(np.maximum(sizes, 0.0))) @ axes.T
    least = np.ones(SIMULATED_HANDS)
    for name, region in regions.items():
        own, pieces = months[:, place[id(region)]], months[:, [place[id(piece)] for piece in elsewhere[name]]]
        middle, unit = _interval(pieces)
        shares = outside_share(np.abs(own - middle) / unit, pieces.shape[1] - 1)
        between = (np.minimum(0.0, middle) <= own) & (own <= np.maximum(0.0, middle))
        least = np.minimum(least, np.where(between, 1.0, shares))
    return float(np.quantile(least, CHANCE_SHARE))


def outside_share(t: Numbers | float, degrees: int) -> Numbers:
    """Share of Student's distribution beyond -t and t, for whole degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    angle = np.arctan(np.asarray(t, np.float64) / sqrt(degrees))
    term = np.cos(angle) if degrees % 2 else np.ones_like(angle)
    total = term.copy() if degrees > 1 else np.zeros_like(angle)
    for step in range(3 if degrees % 2 else 2, degrees, 2):
        term = term * (step - 1) / step * np.cos(angle) ** 2
        total = total + term
    inside = np.sin(angle) * total
    if degrees % 2:
        inside = 2 / np.pi * (angle + inside)
    return np.maximum(0.0, 1.0 - inside)


@lru_cache(maxsize=64)
def t_quantile(level: float, degrees: int) -> float:
    """The t beyond which, to both sides, lies this share of Student's distribution."""
    low, high = 0.0, 1.0
    while outside_share(high, degrees) > level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if outside_share(middle, degrees) > level else (low, middle)
    return high


def like_sized(areas_px: Mapping[str, int]) -> dict[str, int]:
    """One size of patch for each group of regions of about the same area: their geometric mean, in pixels."""
    groups: list[list[str]] = []
    for name in sorted(areas_px, key=lambda name: areas_px[name]):
        if groups and areas_px[name] < LIKE_SIZED * areas_px[groups[-1][0]]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return {
        name: round(float(np.exp(np.mean([np.log(areas_px[member]) for member in group]))))
        for group in groups
        for name in group
    }


def draw_patches(hand: BoolArray, area_px: int) -> list[BoolArray]:
    """Compact pieces of a hand, (H, W): each the pixels nearest to a random one. Same arguments, same pieces.

    Of `CANDIDATES` each time the one that shares fewest pixels with those drawn: pieces that overlap have months in
    common, and eight of them would say less about the hand than they seem to.
    """
    rows, columns = np.nonzero(hand)
    random, taken, drawn = np.random.default_rng(SEED), np.zeros(len(rows), np.int64), []
    for _ in range(PATCHES):
        nearest = []
        for centre in random.choice(len(rows), CANDIDATES):
            distance = (rows - rows[centre]) ** 2 + (columns - columns[centre]) ** 2
            nearest.append(_smallest(distance, area_px))
        piece = min(nearest, key=lambda pixels: int(taken[pixels].sum()))
        taken[piece] += 1
        patch = np.zeros_like(hand)
        patch[rows[piece], columns[piece]] = True
        drawn.append(patch)
    return drawn


def _smallest(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Where the smallest values are; of equal ones the first. In a third of the time of sorting them all."""
    if count >= len(values):
        return np.arange(len(values))
    last = np.partition(values, count - 1)[count - 1]
    smaller = np.flatnonzero(values < last)
    return np.concatenate([smaller, np.flatnonzero(values == last)[: count - len(smaller)]])


def softened(region: BoolArray) -> FloatArray:
    """A mask, (H, W), with the soft edge that it is filled in by: 0 to 1."""
    softness = max(0.5, EDGE_SHARE * len(region))
    return np.asarray(cv2.GaussianBlur(region.astype(np.float32), (0, 0), softness), np.float32)


def without(model_input: ModelInput, region: BoolArray) -> FloatArray:
    """The prepared picture, (H, W), with one region filled in from the hand around it, and a soft edge."""
    picture, weight = model_input.image[0, 0], softened(region)
    return np.asarray(picture + weight * (blurred_hand(model_input, region) - picture), np.float32)


def leaving_joints_out(network: JointAgeNetwork, given: ModelInput, male: Tensor, factor: float = 1.0) -> LeavesOut:
    """A network of joints as a function of what it is to do without; see `months_by_region`.

    A joint counts by the share of the hand in its patch that no mask covers. `male`: the sex for which it
    answers, (1,), as networks take it (`ensemble.encode_sex`). Months are multiplied by `factor`
    (`ensemble.weight_factors`).
    """

    def months(masks: Sequence[BoolArray]) -> Numbers:
        picture, places = tensor(given), places_for_tta(network, given, AS_IT_IS)
        hand, *stacked = torch.from_numpy(np.stack([given.mask, *masks, np.zeros_like(given.mask)], dtype=np.float32))
        with torch.inference_mode():
            left_out = covered_shares(torch.stack(stacked)[:, None], hand[None, None], places)
            answers = network.months_without(picture, places, male, left_out).numpy()
        require_finite(answers, "The answer of a network of joints with some left out")
        return factor * np.asarray(answers, np.float64)

    return months


def _effects(
    forwards: Mapping[str, Forward],
    inputs: Mapping[str, ModelInput],
    of_joints: Mapping[str, LeavesOut],
    drawn_on: ModelInput,
    masks: Sequence[BoolArray],
) -> list[float]:
    """Estimate minus estimate without each mask, averaged over the networks; the masks lie on one of their grids."""
    moved, filled_in = [], dict[int, list[FloatArray]]()  # by input, which several networks share
    for name, forward in forwards.items():
        given = inputs[name]
        carried = [_carried(mask, drawn_on, given) for mask in masks]
        if name in of_joints:
            *rest, whole = of_joints[name](carried)
        else:
            if id(given) not in filled_in:
                filled_in[id(given)] = [without(given, mask) for mask in carried]
            *rest, whole = months_of(forward, [*filled_in[id(given)], given.image[0, 0]])
        moved.append([whole - months for months in rest])
    return [float(months) for months in np.mean(moved, axis=0)]


def _carried(mask: BoolArray, start: ModelInput, end: ModelInput) -> BoolArray:
    """A mask on one network's grid on another's, by way of the radiograph."""
    if np.array_equal(start.to_radiograph, end.to_radiograph) and start.mask.shape == end.mask.shape:
        return mask
    there = compose(invert(end.to_radiograph), start.to_radiograph)
    moved = cv2.warpAffine(mask.astype(np.uint8), there, end.mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved.astype(bool) & end.mask
