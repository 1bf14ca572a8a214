"""Bone age beside chronological age -> `GrowthComparison`: SD score, class and one sentence.

Two conventions are in use; the first is that of radiology reports, and the default. They share the standard deviation
of the table and differ in the centre. By the table, mean bone ages lie 5 to 6 months, about half a standard deviation,
above the chronological age in girls of 4.5 to 14 years and in boys of 8 to 12 years. So a score is named with its
convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from ..errors import InvalidPatient
from ..types import OLDEST_MONTHS, Sex
from .brush import POPULATION, REFERENCE, reference_at, reference_rows

Convention = Literal["brush-age", "brush-mean"]
Classification = Literal["delayed", "within", "advanced", "no reference"]

CONVENTIONS: dict[Convention, str] = {
    "brush-age": "(bone age - chronological age) / SD of the Brush Foundation table at that age",
    "brush-mean": "(bone age - mean bone age) / SD, both of the Brush Foundation table at that age",
}
DEFAULT_CONVENTION: Convention = "brush-age"
CENTRES: dict[Convention, str] = {
    "brush-age": "the chronological age",
    "brush-mean": "the mean bone age of the reference at this age",
}
LIMIT_SD = 2.0  # delayed or advanced lie outside +-2 SD, the rule of radiology reports on bone age
DIGITS = 2  # of an SD score; the class is that of the rounded score, so that "2.00 SD" never reads as "advanced"
CHILDREN: dict[Sex, str] = {"female": "girls", "male": "boys"}


@dataclass(frozen=True)
class GrowthComparison:
    """A bone age beside the child's age.

    Attributes:
        bone_age_months, chronological_age_months, sex: what was compared.
        convention: one of `CONVENTIONS`.
        centre_months: the age whose SD score is 0 by this convention; None without a reference.
        mean_months: mean bone age of the reference at this chronological age, interpolated; None without.
        sd_months: standard deviation of the reference at this chronological age, interpolated; None without.
        sd_score: (bone age - centre) / SD, to 0.01; None without a reference.
        sd_score_interval: the SD scores of both ends of the 90 % interval, to 0.01; None where none was given.
        classification: "delayed" below -2 SD, "advanced" above +2 SD, "within" from -2 to +2 SD, or "no reference".
        sentence: all this in plain words, with the reference and its children.
        reference, population: the table, and whom it describes.
    """

    bone_age_months: float
    chronological_age_months: float
    sex: Sex
    convention: Convention
    centre_months: float | None
    mean_months: float | None
    sd_months: float | None
    sd_score: float | None
    sd_score_interval: tuple[float, float] | None
    classification: Classification
    sentence: str
    reference: str = REFERENCE
    population: str = POPULATION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; months to 0.01."""
        return {
            "sd_score": self.sd_score,
            "sd_score_interval": list(self.sd_score_interval) if self.sd_score_interval is not None else None,
            "classification": self.classification,
            "convention": self.convention,
            "centre_months": _rounded(self.centre_months),
            "mean_months": _rounded(self.mean_months),
            "sd_months": _rounded(self.sd_months),
            "sex": self.sex,
            "reference": self.reference,
            "population": self.population,
            "sentence": self.sentence,
        }


def find_convention(name: str) -> Convention:
    """A convention by name.

    Raises:
        InvalidPatient: there is none of that name.
    """
    for convention in CONVENTIONS:
        if convention == name:
            return convention
    raise InvalidPatient(f"'{name[:30]}' is no reference this software has. Give one of: {', '.join(CONVENTIONS)}.")


def compare_growth(
    bone_age_months: float,
    chronological_age_months: float,
    sex: Sex,
    convention: Convention = DEFAULT_CONVENTION,
    interval_months: tuple[float, float] | None = None,
) -> GrowthComparison:
    """Say whether a bone age is delayed, within the range of the reference, or advanced.

    Args:
        bone_age_months: as estimated for this sex.
        chronological_age_months: of the child on the day of the radiograph.
        sex: whose reference is used.
        convention: one of `CONVENTIONS`.
        interval_months: 90 % interval of the bone age; where it crosses a limit, the sentence says so.

    Returns:
        the comparison; outside the table its class is "no reference" and its score None.

    Raises:
        InvalidPatient: an age that is no number, or outside 0 to 300 months; an unknown convention.
    """
    convention = find_convention(convention)
    check_age(chronological_age_months, "chronological age")
    check_age(bone_age_months, "bone age")
    at = reference_at(sex, chronological_age_months)
    if at is None:
        sentence = _no_reference(chronological_age_months, sex)
        return GrowthComparison(
            bone_age_months, chronological_age_months, sex, convention,
            None, None, None, None, None, "no reference", sentence,
        )  # fmt: skip
    centre = chronological_age_months if convention == "brush-age" else at.mean_months

    def scored(months: float) -> float:
        return round((months - centre) / at.sd_months, DIGITS) + 0.0

    score = scored(bone_age_months)
    ends = None if interval_months is None else (scored(interval_months[0]), scored(interval_months[1]))
    return GrowthComparison(
        bone_age_months, chronological_age_months, sex, convention,
        centre, at.mean_months, at.sd_months, score, ends, classify(score), _sentence(score, ends, convention, sex),
    )  # fmt: skip


def classify(sd_score: float) -> Classification:
    """Outside +-2 SD is delayed or advanced; +-2 SD itself is within."""
    if sd_score < -LIMIT_SD:
        return "delayed"
    return "advanced" if sd_score > LIMIT_SD else "within"


def check_age(months: float, what: str) -> None:
    """Raises InvalidPatient unless these are months a child can have."""
    if not isfinite(months) or not 0 <= months <= OLDEST_MONTHS:
        raise InvalidPatient(
            f"A {what} of {months:g} months is not possible here. Give months between 0 and {OLDEST_MONTHS:.0f}."
        )


def _sentence(score: float, ends: tuple[float, float] | None, convention: Convention, sex: Sex) -> str:
    side = "above" if score > 0 else "below"
    where = f"{abs(score):.2f} SD {side} {CENTRES[convention]}" if score else f"at {CENTRES[convention]} (0.00 SD)"
    found = classify(score)
    if found == "within":
        words = f"Bone age is within {LIMIT_SD:.0f} SD: {where}"
    else:
        words = f"Bone age is {found}: {where}, more than {LIMIT_SD:.0f} SD"
    words += f" ({REFERENCE}, {CHILDREN[sex]}; {POPULATION})."
    if ends is not None and len({classify(end) for end in ends}) > 1:
        words += f" The 90 % interval reaches from {ends[0]:.2f} to {ends[1]:.2f} SD, so this class is not certain."
    return words


def _no_reference(months: float, sex: Sex) -> str:
    rows = reference_rows(sex)
    first, last = rows[0].chronological_age_months, rows[-1].chronological_age_months
    side = f"ends at {last:.0f} months" if months > last else f"begins at {first:.0f} months"
    return (
        f"No reference: the table for {CHILDREN[sex]} {side}, and the chronological age is {months:g} months. No SD "
        f"score is given ({REFERENCE}; {POPULATION})."
    )


def _rounded(months: float | None) -> float | None:
    return None if months is None else round(months, 2)
