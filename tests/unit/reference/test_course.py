"""Velocity between assessments, and probabilities of half-years."""

import math

import pytest

from baa_core.errors import InvalidPatient
from baa_core.reference.course import GrowthPoint, growth_velocity, point_from_result
from baa_core.reference.half_years import interval_sd_months, likely_half_years

RESULT = {"chronological_age_months": 96.0, "bone_age_months": 90.0, "interval_months": [80.0, 100.0]}


def test_velocity_is_months_of_bone_age_a_year_between_the_last_two() -> None:
    points = [GrowthPoint(120, 126), GrowthPoint(96, 90), GrowthPoint(102, 99)]
    velocity = growth_velocity(points)  # 27 months in a year and a half
    assert (velocity.months_per_year, velocity.span_months, velocity.interval) == (18.0, 18.0, None)
    assert velocity.sentence.startswith("Bone age changed by 18.0 months a year over the last 18 months")
    assert "without the interval of both" in velocity.sentence


def test_velocity_has_an_interval_where_both_assessments_have_one() -> None:
    """Half-widths of 6 and 8 months add as squares to 10; over half a year that is 20 months a year."""
    velocity = growth_velocity([GrowthPoint(100, 100, (94, 106)), GrowthPoint(106, 108, (100, 116))])
    assert velocity.months_per_year == 16
    assert velocity.interval == pytest.approx((-4, 36))
    assert velocity.sentence.endswith("(90 % interval -4.0 to 36.0).")


def test_an_earlier_assessment_comes_from_its_saved_json() -> None:
    assert point_from_result(RESULT) == GrowthPoint(96, 90, (80, 100))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"status": "refused", "error": {}}, "not the saved JSON of an assessment"),
        ([], "not the saved JSON of an assessment"),
        (RESULT | {"bone_age_months": "old"}, "not the saved JSON of an assessment"),
        (RESULT | {"interval_months": [1.0]}, "not the saved JSON of an assessment"),
        (RESULT | {"chronological_age_months": None}, "holds no chronological age"),
        (RESULT | {"bone_age_months": math.nan}, "is not possible here"),
        (RESULT | {"interval_months": [91.0, 99.0]}, "does not belong to an estimate"),
    ],
)
def test_what_is_no_earlier_assessment_is_refused_in_words(result, words: str) -> None:
    with pytest.raises(InvalidPatient, match=words):
        point_from_result(result)


def test_one_assessment_or_two_on_one_day_give_no_velocity() -> None:
    with pytest.raises(InvalidPatient, match="needs two assessments"):
        growth_velocity([GrowthPoint(100, 100)])
    with pytest.raises(InvalidPatient, match="Two assessments at the same age"):
        growth_velocity([GrowthPoint(100, 100), GrowthPoint(100, 102)])


def test_half_years_follow_the_normal_distribution_of_the_interval() -> None:
    """Estimate 120 and SD 6: P(117 to 123) = 2 Phi(0.5) - 1 = 0.3829; P(123 to 129) = Phi(1.5) - Phi(0.5) = 0.2417."""
    reach = 1.6448536269514722 * 6
    halves = likely_half_years(120, (120 - reach, 120 + reach))
    assert [half.months for half in halves] == [120, 114, 126]
    assert [half.probability for half in halves] == pytest.approx([0.38292, 0.24173, 0.24173], abs=1e-4)
    assert interval_sd_months(120, (120 - reach, 120 + reach)) == pytest.approx(6)


def test_the_most_likely_half_year_comes_first() -> None:
    assert [half.months for half in likely_half_years(124.5, (112, 137))] == [126, 120, 132]


def test_half_years_of_an_infant_do_not_lie_before_birth() -> None:
    """Estimate 3 months, interval cut off at 0: SD (8 - 3) / 1.645 from its upper half; all probabilities sum to 1."""
    halves = likely_half_years(3, (0, 8), count=12)
    assert min(half.months for half in halves) == 0
    assert sum(half.probability for half in halves) == pytest.approx(1, abs=1e-6)
    assert interval_sd_months(3, (0, 8)) == pytest.approx(5 / 1.6448536)
