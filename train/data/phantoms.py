"""Hands that `phantom` drew, so that a network that learned from radiographs reads drawings too.

A drawn hand's truth is known bone by bone. Three quarters of these have one group of bones of another age, and three
quarters one group filled in as `explain.regions` does it, rather often the same: the label is the mean age of the
groups that can be seen. So a network learns what a region is worth, and to do without one. Where each group lies and
how old it is goes with the picture, so that a network can be asked for the age of each group by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baa_core.explanation.region_effects import regions_on_input, without
from baa_core.hand_anatomy import REGIONS
from baa_core.phantom import draw_phantom
from baa_core.preprocessing.prepare import ModelInput, apply_steps
from baa_core.preprocessing.prepare import InputSpec
from baa_core.types import HandMask, SEXES, Sex

from .cache import digest, in_processes

HEIGHT_PX = 500
FIRST_SEED = 1000  # the page's examples and the tests' hands have smaller ones
YOUNGEST_MONTHS, OLDEST_MONTHS = 24.0, 216.0
ALTERED_SHARE, ERASED_SHARE, MIRRORED_SHARE = 3 / 4, 3 / 4, 1 / 2
ALTERED_AGAIN = 3  # so many more lots for the altered region to be the erased one
LEAST_APART_MONTHS = 36.0  # between a hand and its altered region, so that there is something to see
# Lots for a region to be the altered one: carpals and forearm are the hardest to do without (train/RUNS.md).
ALTERED_LOTS = {"carpals": 4, "radius_ulna": 3}


@dataclass(frozen=True)
class DrawnHand:
    """One hand to be drawn.

    Attributes:
        altered: a region and its own age in months.
        erased: a region that is filled in from the hand around it.
    """

    seed: int
    sex: Sex
    bone_age_months: float
    altered: tuple[str, float] | None
    erased: str | None
    mirrored: bool

    @property
    def region_months(self) -> dict[str, float]:
        """The age of each region that can be seen."""
        ages = dict.fromkeys(REGIONS, self.bone_age_months) | dict([self.altered] if self.altered else [])
        return {region: age for region, age in ages.items() if region != self.erased}

    @property
    def label_months(self) -> float:
        """The mean age of the regions that can be seen."""
        return fmean(self.region_months.values())


@dataclass(frozen=True, eq=False)
class DrawnHands:
    """Drawn hands arranged for one input.

    Attributes:
        pictures: uint8 (M, H, W).
        regions: uint8 (M, H, W), 1 more than a region's place in `phantom.REGIONS`, 0 where there is none.
        labels: a table with `sex` and `bone_age_months`.
        region_months: float32 (M, regions), NaN for one that cannot be seen.
    """

    pictures: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    labels: pd.DataFrame
    region_months: NDArray[np.float32]


def choose_hands(count: int) -> list[DrawnHand]:
    """So many hands of all ages. Same number, same hands."""
    random = np.random.default_rng(count)

    def age() -> float:
        return float(random.uniform(YOUNGEST_MONTHS, OLDEST_MONTHS))

    def region(of: Sequence[str] = REGIONS) -> str:
        return str(random.choice(of))

    def age_apart(from_months: float) -> float:
        return next(months for months in iter(age, None) if abs(months - from_months) >= LEAST_APART_MONTHS)

    lots = [name for name in REGIONS for _ in range(ALTERED_LOTS.get(name, 1))]
    hands = []
    for number in range(count):
        months = age()
        altered = (region(lots), age_apart(months)) if random.random() < ALTERED_SHARE else None
        erased = region((*REGIONS, *[altered[0]] * ALTERED_AGAIN) if altered else REGIONS)
        hands.append(
            DrawnHand(
                seed=FIRST_SEED + number,
                sex=SEXES[number % 2],
                bone_age_months=months,
                altered=altered,
                erased=erased if random.random() < ERASED_SHARE else None,
                mirrored=bool(random.random() < MIRRORED_SHARE),
            )
        )
    return hands


@dataclass(frozen=True)
class _Work:
    """One hand for one input."""

    hand: DrawnHand
    spec: InputSpec


def _drawn(work: _Work) -> NDArray[np.uint8]:
    hand, spec = work.hand, work.spec
    region, age = hand.altered or (None, None)
    phantom = draw_phantom(
        hand.bone_age_months,
        hand.sex,
        seed=hand.seed,
        height_px=HEIGHT_PX,
        altered_region=region,
        altered_age_months=age,
        mirrored=hand.mirrored,
    )
    picture = apply_steps(phantom.radiograph, HandMask(phantom.mask.copy(), 1.0, 0.0, False), spec)
    pixels = picture.pixels
    seen = ModelInput(pixels[None, None], picture.mask, picture.to_radiograph, phantom.radiograph.shape)
    there = regions_on_input(phantom.regions, seen)
    if hand.erased is not None:
        pixels = without(seen, there[hand.erased])
    numbers = sum(((number + 1) * there[region] for number, region in enumerate(REGIONS)), np.zeros(pixels.shape, int))
    shades = np.round(np.clip(pixels, 0.0, 1.0) * 255)
    return np.stack([shades, numbers]).astype(np.uint8)


def drawn_hands(count: int, spec: InputSpec, cache: Path, workers: int = 2) -> DrawnHands:
    """Drawn hands arranged for one input, made on first use."""
    hands = choose_hands(count)
    target = cache / f"drawn_{digest([repr(spec), repr(hands)])}.npy"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made: Iterable[NDArray[np.uint8]] = in_processes(_drawn, [_Work(h, spec) for h in hands], workers, "drawing")
        partial = target.with_suffix(".partial.npy")
        np.save(partial, np.stack(list(made)))
        partial.rename(target)
    both = np.load(target, mmap_mode="r")
    months = [[hand.region_months.get(region, np.nan) for region in REGIONS] for hand in hands]
    labels = pd.DataFrame({"sex": [h.sex for h in hands], "bone_age_months": [h.label_months for h in hands]})
    return DrawnHands(both[:, 0], both[:, 1], labels, np.array(months, dtype=np.float32))
