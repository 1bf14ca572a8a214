from dataclasses import replace

import numpy as np
import pytest

from baa_core import cautions
from baa_core.types import Explanation, HandMask, Prediction, Radiograph

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


def test_polarity_and_turning_are_told() -> None:
    assert codes(replace(WELL, inverted=True)) == ["polarity"]
    assert codes(replace(WELL, tilt_degrees=44.0)) == []
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
    assert cautions.fingers_cut_off(hand_at(rows, columns, tilt)) == cut


def test_a_coarse_hand_is_told_with_its_size() -> None:
    small = hand_at(slice(200, 290), slice(200, 260))
    (caution,) = cautions.about_picture(FRAME, small)
    assert caution.code == "resolution"
    assert "90 pixels" in caution.message


def test_unknown_sex_shows_both_estimates() -> None:
    (caution,) = cautions.about_sex(None, 0.2, False, BY_SEX)
    assert caution.code == "sex_unknown"
    assert "for a girl, as predicted" in caution.message
    assert "probability 0.80" in caution.message
    assert "girl it is 100 months, for a boy 112" in caution.message


def test_a_mismatch_asks_to_check_the_entry_and_nothing_else() -> None:
    (caution,) = cautions.about_sex("female", 0.99, True, BY_SEX)
    assert caution.code == "sex_mismatch"
    assert caution.message.startswith("Check the entry")
    assert not {"disorder", "abnormal", "child", "patient", "diagnosis"} & set(caution.message.lower().split())
    assert cautions.about_sex("female", 0.6, False, BY_SEX) == ()


@pytest.mark.parametrize(("entered", "told"), [(None, False), (90.0, False), (10.0, True), (240.0, True)])
def test_ages_beyond_the_training_are_told(entered: float | None, told: bool) -> None:
    found = cautions.about_age(BY_SEX["female"], entered, (24.0, 192.0))
    assert [caution.code for caution in found] == (["age_range"] if told else [])
    assert cautions.about_age(BY_SEX["female"], None, (110.0, 192.0))[0].code == "age_range"


def test_a_heatmap_beside_the_hand_is_told() -> None:
    beside = Explanation(np.zeros((2, 2), np.float32), 0.2, "saliency")
    assert "20%" in cautions.about_explanation(beside)[0].message
    assert cautions.about_explanation(replace(beside, inside_hand_share=0.9)) == ()
