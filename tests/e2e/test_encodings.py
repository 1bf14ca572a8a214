"""The same hand, stored and described in every way, gets the same bone age: a phantom, and a real radiograph if any."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from baa_core.phantom import draw_phantom
from baa_core.types import Patient, Report
from baa_core.workflows.assess import Assessor
from tests.conftest import Labelled
from tests.encodings import CASES, DARK, TWELVE, Case, twelve, twin
from tests.hostile import dicom_bytes

MOST_MONTHS = 1.0
# One of each kind; `tests/unit/io/test_encodings.py` compares the pixels of all of them.
THROUGH_THE_ASSESSOR = (
    "tiff_16_white_is_zero", "png_12_in_16", "png_label_at_full_scale", "dicom_jpeg_extended_12",
    "dicom_left_justified", "dicom_jpeg_2000_13_unsigned_in_signed", "bare_acr_nema", "window_narrow",
    "window_sigmoid", "window_useless_width_1", "window_useless_below", "dead_pixel", "slope_negative_window_CR",
    "monochrome1_identity_DX",
)  # fmt: skip
DARK_THROUGH_THE_ASSESSOR = (
    "monochrome2_CR", "monochrome2_window_DX", "monochrome1_DX", "monochrome1_window_CR", "monochrome2_inverse_DX",
    "monochrome1_identity_DX", "slope_negative_window_CR", "slope_negative_monochrome1_window_DX",
)  # fmt: skip


@cache
def drawn() -> NDArray[np.float64]:
    """A phantom of 10 years, bone bright."""
    pixels = draw_phantom(120.0, "female", seed=3, height_px=500, markers=False).radiograph.pixels.astype(np.float64)
    return (pixels - pixels.min()) / np.ptp(pixels)


@pytest.fixture(scope="module")
def plain(assessor: Assessor) -> Report:
    """What the plain 8-bit picture of the phantom gets."""
    return assessor.assess(twin(drawn()), Patient(sex="female"))


def months_apart(assessor: Assessor, plain: Report, case: Case, hand: NDArray[np.float64]) -> float:
    """How far an encoding moves the estimate; both sexes, as one of them is entered."""
    sex = plain.prediction.sex_used
    report = assessor.assess(case.make(hand), Patient(sex=sex))
    return abs(report.prediction.bone_age_months - plain.prediction.bone_age_months)


@pytest.mark.parametrize("name", THROUGH_THE_ASSESSOR)
def test_every_encoding_gets_the_same_bone_age(assessor: Assessor, plain: Report, name: str) -> None:
    assert months_apart(assessor, plain, CASES[name], drawn()) <= MOST_MONTHS


def test_a_bright_plate_around_the_hand_is_no_part_of_it(assessor: Assessor, plain: Report) -> None:
    """MONOCHROME1 without a window: what lies around the exposed field is shown white."""
    field = np.zeros((700, 600))
    field[100:600, 100:500] = 1 - drawn()
    data = dicom_bytes(twelve(field), **TWELVE, PhotometricInterpretation="MONOCHROME1")
    report = assessor.assess(data, Patient(sex="female"))
    assert abs(report.prediction.bone_age_months - plain.prediction.bone_age_months) <= 2 * MOST_MONTHS


@pytest.mark.parametrize("name", DARK_THROUGH_THE_ASSESSOR)
def test_the_picture_decides_about_polarity_whatever_the_header_says(
    assessor: Assessor, plain: Report, name: str
) -> None:
    report = assessor.assess(DARK[name].make(drawn()), Patient(sex="female"))
    assert abs(report.prediction.bone_age_months - plain.prediction.bone_age_months) <= MOST_MONTHS
    agrees_with_itself = "identity" not in name and "inverse" not in name
    told = "polarity_contradicted" if agrees_with_itself else "polarity"
    assert told in {caution.code for caution in report.cautions}


@pytest.mark.parametrize("name", ["monochrome2_CR", "slope_negative_window_DX", "monochrome2_inverse_CR"])
def test_a_real_radiograph_with_a_wrong_header_gets_its_own_bone_age(
    assessor: Assessor, sharp_val: list[Labelled], name: str
) -> None:
    radiograph = sharp_val[5]
    hand = np.asarray(Image.open(io.BytesIO(radiograph.content)).convert("L")) / 255.0
    patient = Patient(sex="female" if radiograph.sex == "female" else "male")
    right, wrong = (assessor.assess(data, patient).prediction for data in (twin(hand), DARK[name].make(hand)))
    assert abs(right.bone_age_months - wrong.bone_age_months) <= MOST_MONTHS
