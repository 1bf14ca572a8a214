"""SD scores against forty cases computed by hand from the published rows, and boundaries in words."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest

from baa_core.errors import InvalidPatient
from baa_core.reference.brush import reference_rows
from baa_core.reference.growth import CONVENTIONS, compare_growth, find_convention

# Sex, age, bone age; published row at or below the age and at or above it (age, mean, SD); SD score by the age, by the
# mean. By hand: share = (age - lower age) / (upper age - lower age); mean and SD = lower + share * (upper - lower);
# score = (bone age - age) / SD, or (bone age - mean) / SD. Girl of 126 months, bone age 100: share 0.5, mean
# 125.66 + 0.5 * 12.20 = 131.76, SD 11.73 + 0.5 * 0.21 = 11.835; -26 / 11.835 = -2.20; -31.76 / 11.835 = -2.68.
CASES = [
    ("female", 3, 1.9, (3, 3.02, 0.72), (3, 3.02, 0.72), -1.53, -1.56),
    ("female", 12, 15, (12, 12.04, 1.77), (12, 12.04, 1.77), 1.69, 1.67),
    ("female", 30, 39.1, (30, 30.96, 5.37), (30, 30.96, 5.37), 1.69, 1.52),
    ("female", 54, 58.3, (54, 60.06, 10.73), (54, 60.06, 10.73), 0.40, -0.16),
    ("female", 60, 86.8, (60, 66.21, 11.65), (60, 66.21, 11.65), 2.30, 1.77),
    ("female", 96, 89.9, (96, 100.66, 10.23), (96, 100.66, 10.23), -0.60, -1.05),
    ("female", 120, 147, (120, 125.66, 11.73), (120, 125.66, 11.73), 2.30, 1.82),
    ("female", 144, 172.7, (144, 149.62, 10.24), (144, 149.62, 10.24), 2.80, 2.25),
    ("female", 168, 151.1, (168, 174.25, 11.30), (168, 174.25, 11.30), -1.50, -2.05),
    ("female", 192, 212.5, (192, 189.44, 7.31), (192, 189.44, 7.31), 2.80, 3.15),
    ("female", 4.5, 7.1, (3, 3.02, 0.72), (6, 6.04, 1.16), 2.77, 2.73),
    ("female", 15, 13.4, (12, 12.04, 1.77), (18, 18.22, 3.49), -0.61, -0.66),
    ("female", 33, 16, (30, 30.96, 5.37), (36, 36.63, 5.97), -3.00, -3.14),
    ("female", 51, 21.4, (48, 50.14, 8.98), (54, 60.06, 10.73), -3.00, -3.42),
    ("female", 66, 75.8, (60, 66.21, 11.65), (72, 78.50, 10.23), 0.90, 0.31),
    ("female", 100, 117.7, (96, 100.66, 10.23), (108, 113.86, 10.74), 1.70, 1.22),
    ("female", 126, 100, (120, 125.66, 11.73), (132, 137.86, 11.94), -2.20, -2.68),
    ("female", 139, 122.6, (132, 137.86, 11.94), (144, 149.62, 10.24), -1.50, -2.02),
    ("female", 160, 153.5, (156, 162.28, 10.67), (168, 174.25, 11.30), -0.60, -1.17),
    ("female", 190, 185.4, (180, 183.62, 9.23), (192, 189.44, 7.31), -0.60, -0.40),
    ("male", 6, 2.6, (6, 6.09, 1.13), (6, 6.09, 1.13), -3.01, -3.09),
    ("male", 18, 24, (18, 19.36, 3.52), (18, 19.36, 3.52), 1.70, 1.32),
    ("male", 36, 44.6, (36, 38.21, 5.08), (36, 38.21, 5.08), 1.69, 1.26),
    ("male", 48, 63.3, (48, 49.04, 6.66), (48, 49.04, 6.66), 2.30, 2.14),
    ("male", 72, 44.5, (72, 75.46, 9.17), (72, 75.46, 9.17), -3.00, -3.38),
    ("male", 108, 116.1, (108, 113.90, 9.00), (108, 113.90, 9.00), 0.90, 0.24),
    ("male", 132, 160.3, (132, 137.32, 10.09), (132, 137.32, 10.09), 2.80, 2.28),
    ("male", 156, 180, (156, 158.39, 10.44), (156, 158.39, 10.44), 2.30, 2.07),
    ("male", 180, 155.1, (180, 182.72, 11.32), (180, 182.72, 11.32), -2.20, -2.44),
    ("male", 204, 215.7, (204, 206.21, 13.05), (204, 206.21, 13.05), 0.90, 0.73),
    ("male", 7, 3.3, (6, 6.09, 1.13), (9, 9.56, 1.43), -3.01, -3.21),
    ("male", 21, 15.4, (18, 19.36, 3.52), (24, 25.97, 3.92), -1.51, -1.95),
    ("male", 40, 28.4, (36, 38.21, 5.08), (42, 43.89, 5.40), -2.19, -2.57),
    ("male", 57, 38.1, (54, 56.00, 8.36), (60, 62.43, 8.79), -2.20, -2.46),
    ("male", 75, 47.7, (72, 75.46, 9.17), (84, 88.20, 8.91), -3.00, -3.40),
    ("male", 90, 110.7, (84, 88.20, 8.91), (96, 101.38, 9.10), 2.30, 1.77),
    ("male", 121, 106.3, (120, 125.68, 9.79), (132, 137.32, 10.09), -1.50, -2.07),
    ("male", 150, 179.1, (144, 148.82, 10.38), (156, 158.39, 10.44), 2.80, 2.45),
    ("male", 170, 179.7, (168, 170.02, 10.72), (180, 182.72, 11.32), 0.90, 0.70),
    ("male", 203, 225.2, (192, 195.32, 12.86), (204, 206.21, 13.05), 1.70, 1.53),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def test_an_sd_score_is_the_one_computed_by_hand(case) -> None:
    sex, age, bone_age, *_, by_age, by_mean = case
    assert compare_growth(bone_age, age, sex).sd_score == by_age
    assert compare_growth(bone_age, age, sex, "brush-mean").sd_score == by_mean


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def test_the_arithmetic_of_the_forty_cases_can_be_repeated(case) -> None:
    """With exact fractions, from the rows as listed here, which are those of the table."""
    sex, age, bone_age, below, above, by_age, by_mean = case
    assert tuple(below) in reference_rows(sex) and tuple(above) in reference_rows(sex)
    (low, low_mean, low_sd), (high, high_mean, high_sd) = ([Fraction(str(x)) for x in row] for row in (below, above))
    at, bone = Fraction(str(age)), Fraction(str(bone_age))
    share = (at - low) / (high - low) if high > low else Fraction(0)
    mean, sd = low_mean + share * (high_mean - low_mean), low_sd + share * (high_sd - low_sd)
    assert round(float((bone - at) / sd), 2) == by_age
    assert round(float((bone - mean) / sd), 2) == by_mean


def test_the_table_is_whole() -> None:
    assert len(CASES) == 40
    girls, boys = reference_rows("female"), reference_rows("male")
    assert (len(girls), len(boys)) == (23, 24)
    assert (girls[-1], boys[-1]) == ((192, 189.44, 7.31), (204, 206.21, 13.05))
    for rows in (girls, boys):
        assert [row.chronological_age_months for row in rows] == sorted({row[0] for row in rows})
        assert all(earlier.mean_months < later.mean_months for earlier, later in pairwise(rows))


@pytest.mark.parametrize(
    ("bone_age", "score", "found"),
    [
        (100.42, -2.0, "within"),
        (100.3, -2.01, "delayed"),
        (139.58, 2.0, "within"),
        (139.7, 2.01, "advanced"),
        (139.61, 2.0, "within"),  # 2.003: rounded first, so that "2.00 SD" never reads as advanced
        (120.0, 0.0, "within"),
    ],
)
def test_two_sd_is_within_and_beyond_it_is_not(bone_age: float, score: float, found: str) -> None:
    """A boy of 120 months has an SD of 9.79 months: 2 SD are 19.58."""
    growth = compare_growth(bone_age, 120, "male")
    assert (growth.sd_score, growth.classification) == (score, found)
    assert f"{abs(score):.2f} SD" in growth.sentence
    assert found in growth.sentence
    assert "children of Ohio, 1930s" in growth.sentence and "Brush Foundation" in growth.sentence


def test_the_sentence_says_by_how_much_beside_what_and_whose_children() -> None:
    assert compare_growth(100, 126, "female").sentence == (
        "Bone age is delayed: 2.20 SD below the chronological age, more than 2 SD (Brush Foundation table, Greulich "
        "and Pyle 1959, girls; children of Ohio, 1930s)."
    )
    by_mean = compare_growth(126, 126, "female", "brush-mean")
    assert by_mean.sentence.startswith(
        "Bone age is within 2 SD: 0.49 SD below the mean bone age of the reference at this age ("
    )
    assert (by_mean.centre_months, by_mean.mean_months, by_mean.sd_months) == pytest.approx((131.76, 131.76, 11.835))


def test_an_interval_that_crosses_a_limit_makes_the_class_uncertain() -> None:
    sure = compare_growth(100, 126, "female", interval_months=(95, 101))
    open_ = compare_growth(100, 126, "female", interval_months=(88, 112))
    assert sure.sd_score_interval == (-2.62, -2.11) and "not certain" not in sure.sentence
    assert open_.sd_score_interval == (-3.21, -1.18)
    assert "The 90 % interval reaches from -3.21 to -1.18 SD, so this class is not certain." in open_.sentence


@pytest.mark.parametrize(
    ("sex", "age", "words"),
    [
        ("female", 192.1, "the table for girls ends at 192 months"),
        ("male", 204.5, "the table for boys ends at 204 months"),
        ("male", 2.9, "the table for boys begins at 3 months"),
        ("female", 0, "the table for girls begins at 3 months"),
    ],
)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_outside_the_table_there_is_no_reference_and_no_number(sex, age, words, convention) -> None:
    growth = compare_growth(100, age, sex, convention, interval_months=(90, 110))
    assert growth.classification == "no reference" and words in growth.sentence
    numbers = (growth.sd_score, growth.sd_score_interval, growth.centre_months, growth.mean_months, growth.sd_months)
    assert numbers == (None,) * 5
    assert growth.to_dict()["sd_score"] is None


@pytest.mark.parametrize(("sex", "last"), [("female", 192), ("male", 204)])
def test_the_first_and_the_last_row_still_count(sex, last) -> None:
    assert compare_growth(3, 3, sex).sd_score == 0
    assert compare_growth(last, last, sex).sd_score == 0


@pytest.mark.parametrize(("bone_age", "age"), [(math.nan, 100), (100, math.nan), (-1, 100), (100, 301), (math.inf, 9)])
def test_an_age_that_is_none_is_refused(bone_age: float, age: float) -> None:
    with pytest.raises(InvalidPatient, match="Give months between 0 and 300"):
        compare_growth(bone_age, age, "male")


def test_an_unknown_convention_names_those_there_are() -> None:
    assert find_convention("brush-mean") == "brush-mean"
    with pytest.raises(InvalidPatient, match="Give one of: brush-age, brush-mean"):
        find_convention("who-2006")
