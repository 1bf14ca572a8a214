"""Radiographs as everyday practice delivers them: read like the plain one, or with a word about what is wrong."""

import numpy as np
import pytest

from baa_core.errors import HandRefused, QualityTooLow, SeveralHands, SeveralPictures, UnsupportedImage
from baa_core.io import read_radiograph
from baa_core.types import Patient, Report
from baa_core.workflows.assess import Assessor
from tests.conftest import Labelled
from tests.everyday import VARIANTS, Hand, drawn_hand, png

# Of the plain twin. The changes take away or add what the networks see, so that the months move by about as much as
# the estimate errs on average (6 to 7 months); measured on drawn and real hands 0 to 6.7.
MOST_MONTHS = 8.0
READ = (
    "38% of a black frame", "38% of a white frame", "38% of a grey frame", "forearm twice as long",
    "forearm three times as long", "wide black borders", "wide white borders",
    "gamma 2", "burned-in text", "ring", "strong unsharp", "alignment grid", "photo of a screen",
)  # fmt: skip
CAUTIONED = {
    "plaster to the knuckles": "foreign_material",
    "splint": "foreign_material",
    "thumb cut": "cut_off",
    "alignment grid": "grid_removed",
    "strong CLAHE": "strong_processing",
    "strong unsharp": "sharpening_reduced",
}
REFUSED = {
    "touching hands": (SeveralHands, "2 hands"),
    "page of four": (SeveralPictures, "4 separate pictures"),
    "screen of four": (SeveralPictures, "4 separate pictures"),
    "120 px copy": (UnsupportedImage, "at least 100 px"),
    "bone window": (QualityTooLow, "pure black or white .* as in a hard window"),
}


@pytest.fixture(scope="module")
def hand() -> Hand:
    return drawn_hand()


@pytest.fixture(scope="module")
def plain(assessor: Assessor, hand: Hand) -> Report:
    return assessor.assess(png(hand.pixels), Patient(sex="female"))


def changed(hand: Hand, name: str) -> bytes:
    return png(VARIANTS[name](hand, np.random.default_rng(3)))


@pytest.mark.parametrize("name", READ)
def test_a_picture_that_a_person_reads_gets_about_the_months_of_the_plain_one(
    assessor: Assessor, hand: Hand, plain: Report, name: str
) -> None:
    report = assessor.assess(changed(hand, name), Patient(sex="female"))
    assert abs(report.prediction.bone_age_months - plain.prediction.bone_age_months) <= MOST_MONTHS


@pytest.mark.parametrize("name", CAUTIONED)
def test_what_can_move_the_estimate_is_said_beside_it(assessor: Assessor, hand: Hand, name: str) -> None:
    report = assessor.assess(changed(hand, name), Patient(sex="female"))
    assert CAUTIONED[name] in {caution.code for caution in report.cautions}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong_with_the_picture(assessor: Assessor, hand: Hand, name: str) -> None:
    error, said = REFUSED[name]
    with pytest.raises(error, match=said):
        assessor.assess(changed(hand, name), Patient(sex="female"))


def test_on_real_hands_a_grid_moves_little_and_plaster_is_never_passed_over_in_silence(
    assessor: Assessor, sharp_val: list[Labelled]
) -> None:
    """The grid moved one of them by 44 months without a caution, plaster by 35."""
    for labelled in sharp_val[4:8:3]:
        sex = Patient(sex="female" if labelled.sex == "female" else "male")
        plain = assessor.assess(labelled.content, sex, name=labelled.name)
        landmarks = plain.hand.landmarks
        assert landmarks is not None
        real = Hand(plain.radiograph.pixels, plain.hand.pixels, landmarks.points)
        freed = assessor.assess(changed(real, "alignment grid"), sex)
        assert abs(freed.prediction.bone_age_months - plain.prediction.bone_age_months) <= MOST_MONTHS
        assert "grid_removed" in {caution.code for caution in freed.cautions}
        try:
            veiled = assessor.assess(changed(real, "plaster to the knuckles"), sex)
        except HandRefused:
            continue
        codes = {caution.code for caution in veiled.cautions}
        assert codes & {"foreign_material", "outline_doubtful", "pose_rare"}


def test_a_hand_that_only_a_blurred_picture_shows_is_said_to_be_one(assessor: Assessor, hand: Hand) -> None:
    (found,) = assessor.find_hands(read_radiograph(changed(hand, "bone window")))
    assert "hand_found_blurred" in {caution.code for caution in found.cautions}
