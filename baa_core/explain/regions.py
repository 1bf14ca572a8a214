"""Map or networks + named regions of the hand -> each region's share of the map, and the months it is worth.

A region's months are measured, not read off a map: it is filled in from the hand around it and the estimate watched.
Blurring would not do, since a blurred wrist is still as bright as it is old. Taking any piece of a hand away moves an
estimate, so each region stands beside pieces of its size from elsewhere on the same hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import torch

from ..preprocessing import ModelInput
from ..steps import compose, invert
from ..types import BoolArray, FloatArray
from .attributions import Forward, as_batch, blurred_hand

ELSEWHERE, OUTSIDE = "elsewhere in the hand", "outside"

EDGE_SHARE = 0.01  # deviation of the soft edge around what is filled in, of the side: no new outline is drawn
PATCHES = 8  # of each size
LIKE_SIZED = 1.6  # regions whose areas differ by less than this factor share their patches
LEAST_PATCHES = 5  # fewer give no spread to rely on
MOSTLY = 0.5  # of a patch that lies on the region itself: then it says nothing about elsewhere
NULL_DEVIATIONS = 2.0  # to either side of the patches' mean: about 95 of 100 of them
SEED = 0


@dataclass(frozen=True)
class RegionEffect:
    """What the estimate loses or gains when one region is filled in from the hand around it.

    Attributes:
        months: estimate without the region minus estimate, raw months averaged over the networks: "without the
            wrist: -4.2 months".
        null_low_months, null_high_months: the same for pieces of hand of that size from elsewhere: mean and two
            standard deviations to either side, widened to hold 0, as nothing is not more than anything.
    """

    months: float
    null_low_months: float
    null_high_months: float

    @property
    def stands_out(self) -> bool:
        """The region matters more than as much hand elsewhere."""
        return not self.null_low_months <= self.months <= self.null_high_months


def regions_on_input(regions: Mapping[str, BoolArray], model_input: ModelInput) -> dict[str, BoolArray]:
    """Masks on the radiograph's grid, (H, W), on the network's, (S, S); what lies off the hand is left out."""
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
    """How the ensemble's estimate moves without each region, beside pieces of hand of the same size.

    One forward a network for the picture, one a region, and eight for each size of region: 31 to 39 for the six
    regions of a hand.

    Args:
        forwards: member name to its network as a function of the picture alone, (1, C, S, S) to months (1,).
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
    return {name: RegionEffect(own[name], *_null(found[sizes[name]], seen[name])) for name in seen}


def _null(patches: Sequence[tuple[BoolArray, float]], region: BoolArray) -> tuple[float, float]:
    """The range of what patches elsewhere do, and 0; of all patches where the region leaves too few elsewhere."""
    elsewhere = [months for patch, months in patches if (patch & region).sum() <= MOSTLY * patch.sum()]
    counted = elsewhere if len(elsewhere) >= LEAST_PATCHES else [months for _, months in patches]
    middle, spread = float(np.mean(counted)), NULL_DEVIATIONS * float(np.std(counted, ddof=1))
    return min(0.0, middle - spread), max(0.0, middle + spread)


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
    """Compact pieces of a hand, (S, S): each the pixels nearest to a random one. Same arguments, same pieces."""
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
    """The prepared picture, (S, S), with one region filled in from the hand around it, and a soft edge."""
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
    """Estimate without each mask minus estimate, averaged over the networks; the masks lie on one of their grids."""
    moved = []
    with torch.inference_mode():
        for name, forward in forwards.items():
            there = inputs[name]
            whole = float(forward(as_batch(there.image[0, 0])))
            shown = (without(there, _carried(mask, drawn_on, there)) for mask in masks)
            moved.append([float(forward(as_batch(picture))) - whole for picture in shown])
    return [float(months) for months in np.mean(moved, axis=0)]


def _carried(mask: BoolArray, start: ModelInput, end: ModelInput) -> BoolArray:
    """A mask on one network's grid on another's, by way of the radiograph."""
    if np.array_equal(start.to_radiograph, end.to_radiograph) and start.mask.shape == end.mask.shape:
        return mask
    there = compose(invert(end.to_radiograph), start.to_radiograph)
    moved = cv2.warpAffine(mask.astype(np.uint8), there, end.mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved.astype(bool) & end.mask
