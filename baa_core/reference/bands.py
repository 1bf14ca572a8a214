"""What a growth chart shows: bands of the reference, and axes that hold the child."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from ..types import Sex
from .brush import reference_rows
from .growth import Convention

CHART_REACH_MONTHS = 48.0  # of age shown on either side of the child
MONTHS_PER_YEAR = 12.0


class Band(NamedTuple):
    """Bone ages at -2, -1, 0, +1 and +2 SD at one chronological age, months."""

    chronological_age_months: float
    levels_months: tuple[float, float, float, float, float]


def growth_bands(sex: Sex, convention: Convention) -> tuple[Band, ...]:
    """The bands at each published row; linear between them, and none beyond the last."""
    return tuple(
        Band(age, tuple(_centre(age, mean, convention) + steps * sd for steps in (-2, -1, 0, 1, 2)))  # type: ignore[arg-type]
        for age, mean, sd in reference_rows(sex)
    )


def chart_ranges_years(
    sex: Sex, convention: Convention, shown_months: Sequence[tuple[float, float, float]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Axes of chronological age and bone age in whole years.

    Args:
        sex: whose reference is drawn.
        convention: by which.
        shown_months: of each assessment on the chart, chronological age and lower and upper end of the bone age.

    Returns:
        (first, last) of chronological age: `CHART_REACH_MONTHS` on either side of all assessments, but not before
        birth, and beyond the reference only where an assessment lies there; (first, last) of bone age: all
        assessments and all bands between these ages.
    """
    ages = [age for age, _, _ in shown_months]
    bands = growth_bands(sex, convention)
    last = max(bands[-1].chronological_age_months, *ages)
    start = floor(max(0.0, min(ages) - CHART_REACH_MONTHS) / MONTHS_PER_YEAR)
    end = ceil(min(last, max(ages) + CHART_REACH_MONTHS) / MONTHS_PER_YEAR)
    inside = [
        level
        for band in bands
        if start <= band.chronological_age_months / MONTHS_PER_YEAR <= end
        for level in band.levels_months
    ]
    levels = [*inside, *(value for _, low, high in shown_months for value in (low, high))]
    bottom, top = floor(max(0.0, min(levels)) / MONTHS_PER_YEAR), ceil(max(levels) / MONTHS_PER_YEAR)
    return (start, max(end, start + 1)), (bottom, max(top, bottom + 1))


def _centre(age_months: float, mean_months: float, convention: Convention) -> float:
    return age_months if convention == "brush-age" else mean_months
