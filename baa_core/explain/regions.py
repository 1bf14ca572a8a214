"""Map or networks + named regions of the hand -> each region's share of the map, and the months it contributes.

A region's contribution is measured, not read off a map: the estimate minus the estimate with the region filled in from
the hand around it. Positive months make the hand older, as red does on a map. Blurring would not do, since a blurred
wrist is still as bright as it is old. Filling in any piece of a hand moves an estimate, so each region stands beside
pieces of its size from elsewhere on the same hand.

A region stands out if its contribution is outside what one more such piece would have: Student's prediction interval
(mean, standard deviation and number of the pieces), at levels by Holm's step-down method over the regions. Were regions
like any other piece, one would stand out on 5 of 100 hands (`tests/unit/test_explain_regions.py` simulates it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import atan, cos, pi, sin, sqrt
from statistics import fmean

import cv2
import numpy as np
import torch

from ..preprocessing import ModelInput
from ..steps import compose, invert
from ..types import BoolArray, FloatArray
from .attributions import Forward, as_batch, blurred_hand, require_finite

ELSEWHERE, OUTSIDE = "elsewhere in the hand", "outside"

EDGE_SHARE = 0.01  # deviation of the soft edge around what is filled in, of the side: no new outline is drawn
PATCHES = 8  # of each size
LIKE_SIZED = 1.6  # regions whose areas differ by less than this factor share their patches
LEAST_PATCHES = 5  # fewer give no spread to rely on
MOSTLY = 0.5  # of a patch that lies on the region itself: then it says nothing about elsewhere
CHANCE_LEVEL = 0.05  # that any region of a hand stands out by chance
SEED = 0


@dataclass(frozen=True)
class RegionEffect:
    """What a region contributes to the estimate.

    Attributes:
        contribution_months: estimate minus the estimate with the region filled in from the hand around it; raw months,
            averaged over the networks by weight. Positive: what the region shows makes the hand older.
        chance_low_months, chance_high_months: the range in which the contribution of one more piece of hand of that
            size would lie, at the level Holm's method gives this region; widened to hold 0, as nothing is not more
            than anything.

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
    forwards: Mapping[str, Forward], inputs: Mapping[str, ModelInput], regions: Mapping[str, BoolArray]
) -> dict[str, RegionEffect]:
    """What each region contributes to the ensemble's estimate, beside pieces of hand of the same size.

    One forward a network for the picture, one a region, and eight for each size of region: 31 to 39 for the six
    regions of a hand.

    Args:
        forwards: member name to its network as a function of the picture alone, (1, C, H, W) to months (1,).
        inputs: member name to its prepared picture.
        regions: name to bool (H, W) on the radiograph's grid.

    Returns:
        the regions of which the networks see anything, in the given order.
    """
    first = inputs[next(iter(forwards))]
    seen = {name: region for name, region in regions_on_input(regions, first).items() if region.any()}
    sizes = like_sized({name: int(region.sum()) for name, region in seen.items()})
    patches = {area: draw_patches(first.mask, area) for area in sorted(set(sizes.values()))}
    moved = iter(_effects(forwards, inputs, first, [*seen.values(), *chain(*patches.values())]))
    own = {name: next(moved) for name in seen}
    found = {area: [(patch, next(moved)) for patch in drawn] for area, drawn in patches.items()}
    return beside_chance(own, {name: _elsewhere(found[sizes[name]], seen[name]) for name in seen})


def _elsewhere(patches: Sequence[tuple[BoolArray, float]], region: BoolArray) -> list[float]:
    """Contributions of the patches that lie elsewhere; of all patches where the region leaves too few elsewhere."""
    elsewhere = [months for patch, months in patches if (patch & region).sum() <= MOSTLY * patch.sum()]
    return elsewhere if len(elsewhere) >= LEAST_PATCHES else [months for _, months in patches]


def beside_chance(own: Mapping[str, float], elsewhere: Mapping[str, Sequence[float]]) -> dict[str, RegionEffect]:
    """Regions' contributions beside the range that chance leaves to each.

    Args:
        own: region to its contribution, months.
        elsewhere: region to the contributions of pieces of hand of its size, months; two at least.
    """
    rooms = {}
    for name, months in elsewhere.items():
        count, middle = len(months), fmean(months)
        require_finite(middle, "The contribution of a piece of the hand")
        deviation = sqrt(sum((each - middle) ** 2 for each in months) / (count - 1))
        rooms[name] = middle, deviation * sqrt(1 + 1 / count), count - 1
    levels = holm_levels({name: _two_sided_p(own[name], *rooms[name]) for name in own})
    found = {}
    for name, (middle, unit, degrees) in rooms.items():
        reach = t_quantile(levels[name], degrees) * unit
        found[name] = RegionEffect(own[name], min(0.0, middle - reach), max(0.0, middle + reach))
    return found


def _two_sided_p(months: float, middle: float, unit: float, degrees: int) -> float:
    """How probable a contribution at least as far from the patches' mean is; 1 for one no farther from 0 than that."""
    if min(0.0, middle) <= months <= max(0.0, middle):
        return 1.0
    return outside_share(abs(months - middle) / unit, degrees) if unit > 0 else 0.0


def holm_levels(p: Mapping[str, float], level: float = CHANCE_LEVEL) -> dict[str, float]:
    """The level at which Holm's step-down method (Scand J Stat 1979;6:65-70) tests each of several questions.

    From the smallest p on, level / (number of questions left); from the first that holds, all others share its level.
    """
    levels: dict[str, float] = {}
    current, held = level, False
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        current = current if held else level / (len(p) - place)
        held = held or p[name] > current
        levels[name] = current
    return levels


def outside_share(t: float, degrees: int) -> float:
    """Share of Student's distribution beyond -t and t, for whole degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    angle = atan(t / sqrt(degrees))
    term, total = (1.0, 1.0) if degrees % 2 == 0 else (cos(angle), cos(angle))
    for step in range(2 if degrees % 2 == 0 else 3, degrees, 2):
        term *= (step - 1) / step * cos(angle) ** 2
        total += term
    inside = sin(angle) * total
    if degrees % 2:
        inside = 2 / pi * (angle + (inside if degrees > 1 else 0.0))
    return max(0.0, 1.0 - inside)


@lru_cache(maxsize=256)
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
    """Compact pieces of a hand, (H, W): each the pixels nearest to a random one. Same arguments, same pieces."""
    rows, columns = np.nonzero(hand)
    centres = np.random.default_rng(SEED).choice(len(rows), PATCHES, replace=len(rows) < PATCHES)
    drawn = []
    for centre in centres:
        distance = (rows - rows[centre]) ** 2 + (columns - columns[centre]) ** 2
        nearest = np.argsort(distance, kind="stable")[:area_px]
        patch = np.zeros_like(hand)
        patch[rows[nearest], columns[nearest]] = True
        drawn.append(patch)
    return drawn


def without(model_input: ModelInput, region: BoolArray) -> FloatArray:
    """The prepared picture, (H, W), with one region filled in from the hand around it, and a soft edge."""
    picture = model_input.image[0, 0]
    softness = max(0.5, EDGE_SHARE * len(picture))
    weight = np.asarray(cv2.GaussianBlur(region.astype(np.float32), (0, 0), softness), np.float32)
    return np.asarray(picture + weight * (blurred_hand(model_input, region) - picture), np.float32)


def _effects(
    forwards: Mapping[str, Forward],
    inputs: Mapping[str, ModelInput],
    drawn_on: ModelInput,
    masks: Sequence[BoolArray],
) -> list[float]:
    """Estimate minus estimate without each mask, averaged over the networks; the masks lie on one of their grids."""
    moved = []
    with torch.inference_mode():
        for name, forward in forwards.items():
            there = inputs[name]
            whole = float(forward(as_batch(there.image[0, 0])))
            shown = (without(there, _carried(mask, drawn_on, there)) for mask in masks)
            moved.append([whole - float(forward(as_batch(picture))) for picture in shown])
    return [float(months) for months in np.mean(moved, axis=0)]


def _carried(mask: BoolArray, start: ModelInput, end: ModelInput) -> BoolArray:
    """A mask on one network's grid on another's, by way of the radiograph."""
    if np.array_equal(start.to_radiograph, end.to_radiograph) and start.mask.shape == end.mask.shape:
        return mask
    there = compose(invert(end.to_radiograph), start.to_radiograph)
    moved = cv2.warpAffine(mask.astype(np.uint8), there, end.mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved.astype(bool) & end.mask
