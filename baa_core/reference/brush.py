"""The Brush Foundation table: mean and standard deviation of skeletal age at a chronological age, by sex.

Source: Greulich WW, Pyle SI, Radiographic Atlas of Skeletal Development of the Hand and Wrist, 2nd edition, Stanford
University Press, 1959. The rows are in `brush_female.csv` (3 to 192 months) and `brush_male.csv` (3 to 204 months),
whose first lines say how they were transcribed. Between two rows mean and standard deviation are interpolated
linearly; before the first and beyond the last row there is no reference.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ..types import Sex

REFERENCE = "Brush Foundation table, Greulich and Pyle 1959"
POPULATION = "children of Ohio, 1930s"


class ReferenceRow(NamedTuple):
    """Skeletal age of the reference children at one chronological age, months."""

    chronological_age_months: float
    mean_months: float
    sd_months: float


@cache
def reference_rows(sex: Sex) -> tuple[ReferenceRow, ...]:
    """The published rows for one sex, in order of age."""
    text = files(__package__).joinpath(f"brush_{sex}.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(ReferenceRow(*(float(row[name]) for name in ReferenceRow._fields)) for row in csv.DictReader(lines))


def reference_at(sex: Sex, chronological_age_months: float) -> ReferenceRow | None:
    """Mean and standard deviation at an age, interpolated linearly between two rows; None outside the table."""
    rows = reference_rows(sex)
    ages = [row.chronological_age_months for row in rows]
    if not ages[0] <= chronological_age_months <= ages[-1]:
        return None
    above = bisect_left(ages, chronological_age_months)
    after = rows[above]
    if after.chronological_age_months == chronological_age_months:
        return after
    before = rows[above - 1]
    share = (chronological_age_months - before.chronological_age_months) / (
        after.chronological_age_months - before.chronological_age_months
    )
    return ReferenceRow(
        chronological_age_months,
        before.mean_months + share * (after.mean_months - before.mean_months),
        before.sd_months + share * (after.sd_months - before.sd_months),
    )
