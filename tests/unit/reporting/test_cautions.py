from dataclasses import replace

import numpy as np
import pytest

from baa_core.errors import InvalidPatient
from baa_core.preprocessing.prepare import ModelInput
from baa_core.reporting import cautions
from baa_core.types import Explanation, HandMask, MeasuredError, Patient, Prediction, Radiograph, Sex

BY_SEX = {
    sex: Prediction(months, (months - 10, months + 10), {}, sex) for sex, months in (("female", 100.0), ("male", 112.0))
}


def hand_at(rows: slice, columns: slice, tilt_degrees: float = 0.0) -> HandMask:
    """A rectangular hand in a frame of 600 x 500."""
    pixels = np.zeros((600, 500), bool)
    pixels[rows, columns] = True
    return HandMask(pixels, 1.0, tilt_degrees, inverted=False)


WELL = hand_at(slice(100, 500), slice(100, 400))
FRAME = Radiograph(np.zeros((600, 500), np.float32))


def codes(hand: HandMask) -> list[str]:
    return [caution.code for caution in cautions.about_picture(FRAME, hand)]


def test_a_good_picture_calls_for_nothing() -> None:
    assert codes(WELL) == []


def test_a_preparation_that_cuts_the_hand_away_is_told() -> None:
    """A crop of 100 x 100 px, enlarged twice, out of a hand of 400 x 300; then one of 300 x 300."""

    def crop(side_px: int) -> ModelInput:
        there = np.array([[0.5, 0, 100], [0, 0.5, 150]])
        return ModelInput(
            np.zeros((1, 1, 2 * side_px, 2 * side_px), np.float32), np.ones((2 * side_px,) * 2, bool), there, (600, 500)
        )

    (caution,) = cautions.about_view([crop(100)], WELL)
    assert caution.code == "hand_partly_seen" and " 8 % " in caution.message
    assert cautions.about_view([crop(100), crop(300)], WELL) == ()


def test_polarity_and_turning_are_told() -> None:
    assert codes(replace(WELL, inverted=True)) == ["polarity"]
    assert codes(replace(WELL, tilt_degrees=29.0)) == []
    clockwise, anticlockwise = (cautions.about_picture(FRAME, replace(WELL, tilt_degrees=t))[0] for t in (90.0, -135.0))
    assert (clockwise.code, anticlockwise.code) == ("rotated", "rotated")
    assert "90 degrees clockwise" in clockwise.message
    assert "135 degrees anticlockwise" in anticlockwise.message


@pytest.mark.parametrize(
    ("rows", "columns", "tilt", "cut"),
    [
        (slice(200, 600), slice(100, 400), 0.0, False),  # the forearm leaves at the bottom, as it should
        (slice(0, 400), slice(100, 400), 0.0, True),  # fingertips at the top edge
        (slice(0, 400), slice(100, 400), 180.0, False),  # upside down: this is the forearm
        (slice(200, 600), slice(100, 400), 180.0, True),
        (slice(100, 500), slice(0, 300), -90.0, True),  # fingers point left
        (slice(100, 500), slice(200, 500), -90.0, False),
        (slice(100, 500), slice(200, 500), 0.0, True),  # a whole side is on the edge
    ],
)
def test_cut_off_fingers_but_not_forearms_are_told(rows: slice, columns: slice, tilt: float, cut: bool) -> None:
    assert ("cut_off" in codes(hand_at(rows, columns, tilt))) == cut


def test_a_coarse_hand_is_told_with_its_size() -> None:
    small = hand_at(slice(200, 290), slice(200, 260))
    (caution,) = cautions.about_picture(FRAME, small)
    assert caution.code == "resolution"
    assert "90 pixels" in caution.message


def test_unknown_sex_shows_both_estimates() -> None:
    (caution,) = cautions.about_sex(None, 0.2, "not_checked", BY_SEX, 72.0)
    assert caution.code == "sex_unknown"
    assert "for a girl, as predicted" in caution.message
    assert "probability 80 %" in caution.message
    assert "girl it is 100 months, for a boy 112" in caution.message
    (sure,) = cautions.about_sex(None, 0.999, "not_checked", BY_SEX, 72.0)
    assert "probability >99 %" in sure.message


def test_a_mismatch_asks_to_check_the_entry_and_nothing_else() -> None:
    (caution,) = cautions.about_sex("female", 0.99, "differs", BY_SEX, 72.0)
    assert caution.code == "sex_mismatch"
    assert caution.message.startswith("Check the entry")
    assert not {"disorder", "abnormal", "child", "patient", "diagnosis"} & set(caution.message.lower().split())
    assert cautions.about_sex("female", 0.6, "inconclusive", BY_SEX, 72.0) == ()


def test_a_sex_that_the_file_contradicts_asks_to_check_the_entry() -> None:
    (caution,) = cautions.about_sex_in_file("female", "male")
    assert caution.code == "sex_contradicts_file"
    assert "female" in caution.message
    assert "file says male" in caution.message
    for entered, in_file in (("female", "female"), (None, "male"), ("male", None)):
        assert cautions.about_sex_in_file(entered, in_file) == ()


def test_a_hand_too_young_to_tell_the_sex_is_told() -> None:
    (entered,) = cautions.about_sex("female", 0.1, "not_checked", BY_SEX, 108.0)
    assert entered.code == "sex_unchecked"
    assert "below 9 years" in entered.message
    assert cautions.about_sex("male", 0.9, "agrees", BY_SEX, 108.0) == ()  # a boy's 112 months are enough
    (unknown,) = cautions.about_sex(None, 0.1, "not_checked", BY_SEX, 108.0)
    assert unknown.code == "sex_unknown"
    assert unknown.message.endswith("Below 9 years a hand hardly tells the sex.")


MEASURED = {"young": MeasuredError(2, 8.0), "old": MeasuredError(21, 11.23)}


@pytest.mark.parametrize(
    ("entered", "trained", "ends"),
    [
        (None, (24.0, 192.0), []),
        (90.0, (24.0, 192.0), []),
        (10.0, (24.0, 192.0), ["under 24 months"]),
        (240.0, (24.0, 192.0), ["over 192 months"]),
        (None, (110.0, 192.0), ["under 110 months"]),  # the estimate is 100
        (None, (24.0, 99.0), ["over 99 months"]),
        (240.0, (110.0, 192.0), ["under 110 months", "over 192 months"]),
    ],
)
def test_ages_beyond_the_training_are_told(
    entered: float | None, trained: tuple[float, float], ends: list[str]
) -> None:
    unsure = replace(BY_SEX["female"], interval_months=(0.0, 250.0))  # so that no entry is far from it
    found = cautions.about_age(unsure, entered, trained, MEASURED)
    assert [caution.code for caution in found] == ["age_range"] * len(ends)
    for caution, end in zip(found, ends, strict=True):
        assert caution.message.startswith(f"Few girls with a bone age {end} were")


def test_the_error_beyond_the_training_is_told_if_it_was_measured() -> None:
    girl, boy = (replace(BY_SEX[sex], interval_months=(0.0, 250.0)) for sex in ("female", "male"))
    (old,) = cautions.about_age(girl, 240.0, (24.0, 192.0), MEASURED)
    assert "the error was 11.2 months on average (21 pictures that had no part in the training)" in old.message
    (young,) = cautions.about_age(boy, 10.0, (24.0, 192.0), MEASURED)  # two are too few
    (nobody,) = cautions.about_age(boy, 10.0, (24.0, 192.0), {"young": MeasuredError(0)})
    assert young == nobody
    assert "too few others were there to measure the error" in young.message
    assert "8.0" not in young.message


@pytest.mark.parametrize(
    ("months", "entered", "sex", "far"),
    [
        (118.0, 300.0, "female", True),  # 25 years
        (118.0, 10.0, "female", True),  # 10 years as months
        (118.0, 9.8, "male", True),  # years in the box for months
        (118.0, 118.0, "female", False),
        (118.0, 150.0, "female", False),  # 32 off: 15 beyond the interval, 1.4 standard deviations
        (118.0, 168.0, "female", False),  # 2.9 beyond it
        (118.0, 170.0, "female", True),
        (118.0, 75.0, "male", False),
        (118.0, 72.0, "male", True),  # 29 months beyond it, 27.5 are allowed
        (200.0, 300.0, "female", False),  # a grown hand stays as it is
        (205.0, 280.0, "male", False),
        (3.0, 4.0, "male", False),
    ],
)
def test_an_entry_far_from_the_estimate_is_to_be_checked(months: float, entered: float, sex: Sex, far: bool) -> None:
    prediction = Prediction(months, (max(0.0, months - 17), months + 17), {}, sex)
    found = cautions.about_age(prediction, entered, (0.0, 400.0), MEASURED)
    assert [caution.code for caution in found] == ["age_entry"] * far
    assert all(caution.message.startswith("Check the entry") for caution in found)


def test_an_entry_that_is_to_be_checked_says_nothing_about_the_training() -> None:
    """25 years beside 100 months: the estimate is where the networks learned, and the entry is in question."""
    (caution,) = cautions.about_age(BY_SEX["female"], 300.0, (24.0, 192.0), MEASURED)
    assert caution.code == "age_entry"
    assert "300 months (25.0 years)" in caution.message


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (float("nan"), "no number"),
        (float("inf"), "no number"),
        (-float("inf"), "no number"),
        (2400.0, r"2400 months \(200 years\)"),
        (-1.0, "-1 months"),
    ],
)
def test_an_impossible_age_is_refused_in_months_and_years(age: float, said: str) -> None:
    with pytest.raises(InvalidPatient, match=said):
        Patient("female", age)


def test_a_heatmap_beside_the_hand_is_told() -> None:
    beside = Explanation(np.zeros((2, 2), np.float32), 0.2, "saliency")
    assert "20%" in cautions.about_explanation(beside)[0].message
    assert cautions.about_explanation(replace(beside, inside_hand_share=0.9)) == ()
