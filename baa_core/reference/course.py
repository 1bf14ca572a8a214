"""Earlier assessments and this one -> how fast the bone age rises: months of bone age a year of age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

from ..errors import InvalidPatient
from .growth import check_age
from .half_years import QUANTILE, interval_sd_months

MONTHS_PER_YEAR = 12.0


@dataclass(frozen=True)
class GrowthPoint:
    """One assessment of a child.

    Attributes:
        chronological_age_months: on the day of the radiograph.
        bone_age_months: as found then.
        interval_months: its 90 % interval; None where only the number is known.

    Raises:
        InvalidPatient: an age outside 0 to 300 months, or an interval that does not hold the bone age.
    """

    chronological_age_months: float
    bone_age_months: float
    interval_months: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_age(self.chronological_age_months, "chronological age")
        check_age(self.bone_age_months, "bone age")
        if self.interval_months is not None:
            interval_sd_months(self.bone_age_months, self.interval_months)


@dataclass(frozen=True)
class Velocity:
    """How fast bone age rose between two assessments.

    Attributes:
        months_per_year: of bone age; 12 is as fast as age itself.
        interval: 90 % interval of that rate, if both assessments have one; it takes their errors to be independent
            and normal. Errors that repeat on the same child make it too wide.
        span_months: of chronological age between the two.
        sentence: in plain words.
    """

    months_per_year: float
    interval: tuple[float, float] | None
    span_months: float
    sentence: str


def growth_velocity(points: Sequence[GrowthPoint]) -> Velocity:
    """The rate between the last two of a child's assessments, by age.

    Raises:
        InvalidPatient: fewer than two, or two at the same chronological age.
    """
    ordered = sorted(points, key=lambda point: point.chronological_age_months)
    if len(ordered) < 2:
        raise InvalidPatient("A velocity needs two assessments at different ages. Give an earlier one.")
    before, now = ordered[-2:]
    span = now.chronological_age_months - before.chronological_age_months
    if span == 0:
        raise InvalidPatient(
            f"Two assessments at the same age of {now.chronological_age_months:g} months give no velocity. "
            "Give the ages on the days of the radiographs."
        )
    years = span / MONTHS_PER_YEAR
    rate = (now.bone_age_months - before.bone_age_months) / years
    words = f"Bone age changed by {rate:.1f} months a year over the last {span:g} months"
    if before.interval_months is None or now.interval_months is None:
        words += "; without the interval of both assessments it has none itself."
        return Velocity(rate, None, span, words)
    spreads = (interval_sd_months(point.bone_age_months, point.interval_months) for point in (before, now)
               if point.interval_months is not None)  # fmt: skip
    reach = QUANTILE * hypot(*spreads) / years
    low, high = rate - reach, rate + reach
    return Velocity(rate, (low, high), span, f"{words} (90 % interval {low:.1f} to {high:.1f}).")


def point_from_result(result: Mapping[str, Any]) -> GrowthPoint:
    """An earlier assessment from its saved JSON, as `Report.to_dict` writes it.

    Raises:
        InvalidPatient: it is no result of an assessment, a refusal, or was made without a chronological age.
    """
    try:
        age, months = result["chronological_age_months"], float(result["bone_age_months"])
        low, high = (float(end) for end in result["interval_months"])
    except (KeyError, TypeError, ValueError):
        raise InvalidPatient(
            "This is not the saved JSON of an assessment with a bone age. Choose a file that was saved as JSON here."
        ) from None
    if not isinstance(age, (int, float)):
        raise InvalidPatient(
            "This saved assessment holds no chronological age, so it has no place in time. Type its age and bone age."
        )
    return GrowthPoint(float(age), months, (low, high))
