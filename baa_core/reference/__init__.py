"""Growth context: what a bone age means beside the child's age, and beside earlier bone ages.

    estimate, chronological age, sex ─► compare_growth ─► GrowthComparison (SD score, class, sentence)
    estimate, interval               ─► likely_half_years ─► HalfYear, three of them
    earlier assessments, this one    ─► growth_velocity ─► Velocity

The reference is the Brush Foundation table (`brush`): children of Ohio, 1930s. No value of it is extrapolated.
"""

from .bands import Band, chart_ranges_years, growth_bands
from .brush import POPULATION, REFERENCE, ReferenceRow, reference_rows
from .course import GrowthPoint, Velocity, growth_velocity, point_from_result
from .growth import (
    CENTRES,
    CONVENTIONS,
    DEFAULT_CONVENTION,
    Convention,
    GrowthComparison,
    compare_growth,
    find_convention,
)
from .half_years import HalfYear, interval_sd_months, likely_half_years

__all__ = [
    "CENTRES",
    "CONVENTIONS",
    "DEFAULT_CONVENTION",
    "POPULATION",
    "REFERENCE",
    "Band",
    "Convention",
    "GrowthComparison",
    "GrowthPoint",
    "HalfYear",
    "ReferenceRow",
    "Velocity",
    "chart_ranges_years",
    "compare_growth",
    "find_convention",
    "growth_bands",
    "growth_velocity",
    "interval_sd_months",
    "likely_half_years",
    "point_from_result",
    "reference_rows",
]
