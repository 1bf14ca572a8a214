"""Estimate and interval -> probabilities of the half-years nearest to it, as readers of an atlas name bone ages.

The distribution is a normal one around the estimate, cut off at 0 months. Its standard deviation follows from the
90 % interval: half of its width is 1.645 standard deviations, as 90 % of a normal distribution lie that near to its
mean. Where the interval was cut off at 0 months, its upper half alone is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from ..errors import InvalidPatient
from ..estimation.conformal import COVERAGE

HALF_YEAR_MONTHS = 6.0
QUANTILE = NormalDist().inv_cdf((1 + COVERAGE) / 2)  # 1.645


@dataclass(frozen=True)
class HalfYear:
    """One half-year and how probable it is that the bone age is nearest to it.

    Attributes:
        months: a multiple of 6.
        probability: of the bone age within 3 months of it, 0 to 1.
    """

    months: float
    probability: float


def interval_sd_months(bone_age_months: float, interval_months: tuple[float, float]) -> float:
    """The standard deviation of a normal distribution whose central 90 % are as wide as the interval.

    Raises:
        InvalidPatient: the interval does not hold the estimate.
    """
    low, high = interval_months
    if not low <= bone_age_months <= high or high <= low:
        raise InvalidPatient(
            f"An interval of {low:g} to {high:g} months does not belong to an estimate of {bone_age_months:g} months. "
            "Give the interval of this estimate."
        )
    half = high - bone_age_months if low <= 0 else (high - low) / 2
    return half / QUANTILE


def likely_half_years(
    bone_age_months: float, interval_months: tuple[float, float], count: int = 3
) -> tuple[HalfYear, ...]:
    """The most probable half-years, most probable first.

    Args:
        bone_age_months: the estimate.
        interval_months: its 90 % interval.
        count: how many.

    Raises:
        InvalidPatient: see `interval_sd_months`.
    """
    spread = NormalDist(bone_age_months, interval_sd_months(bone_age_months, interval_months))
    possible = 1 - spread.cdf(0.0)
    middle = round(bone_age_months / HALF_YEAR_MONTHS)
    found = []
    for number in range(max(0, middle - count), middle + count + 1):
        months = number * HALF_YEAR_MONTHS
        below = spread.cdf(max(0.0, months - HALF_YEAR_MONTHS / 2))
        found.append(HalfYear(months, (spread.cdf(months + HALF_YEAR_MONTHS / 2) - below) / possible))
    return tuple(sorted(found, key=lambda half: -half.probability)[:count])
