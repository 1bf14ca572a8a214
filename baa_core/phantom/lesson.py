"""Sets of drawn hands for a reading lesson: the same seed gives the same ten hands on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from ..errors import UnsupportedImage
from ..types import SEXES, Sex
from . import Phantom, draw_phantom

HANDS: Final = 10
YOUNGEST_MONTHS, OLDEST_MONTHS = 24, 216  # 2 to 18 years: earlier and later, too little changes to be read
LARGEST_SEED: Final = 999_999
HEIGHT_PX: Final = 900
_STREAM: Final = 21  # keeps a lesson's numbers apart from those that draw a child


@dataclass(frozen=True)
class LessonHand:
    """One hand of a set.

    Attributes:
        number: its place in the set, from 1.
        bone_age_months: what is drawn, whole months.
        sex: female or male.
        seed: which child, for `draw_phantom`.
    """

    number: int
    bone_age_months: int
    sex: Sex
    seed: int

    def draw(self) -> Phantom:
        """The hand, 900 px high, with its marker; kept for the next time it is asked for."""
        return _drawn(self)


@lru_cache(maxsize=24)
def _drawn(hand: LessonHand) -> Phantom:
    return draw_phantom(hand.bone_age_months, hand.sex, seed=hand.seed, height_px=HEIGHT_PX)


@lru_cache(maxsize=256)
def lesson_set(seed: int) -> tuple[LessonHand, ...]:
    """Ten hands: one of each tenth of the ages from 2 to 18 years, five girls and five boys, in random order.

    Raises:
        UnsupportedImage: a seed outside 0 to 999999.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UnsupportedImage(f"There is no set {seed}. Give a whole number from 0 to {LARGEST_SEED}.")
    random = np.random.default_rng([seed, _STREAM])
    bounds = np.linspace(YOUNGEST_MONTHS, OLDEST_MONTHS, HANDS + 1)
    ages = np.round(random.uniform(bounds[:-1], bounds[1:])).astype(int)
    random.shuffle(ages)
    sexes = random.permutation([number % len(SEXES) for number in range(HANDS)])
    children = random.integers(0, 1_000_000, HANDS)
    return tuple(
        LessonHand(number, int(age), SEXES[sex], int(child))
        for number, (age, sex, child) in enumerate(zip(ages, sexes, children, strict=True), start=1)
    )
