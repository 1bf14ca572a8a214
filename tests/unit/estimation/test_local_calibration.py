"""A clinic's own correction: recovered from simulated clinics, refused where it cannot be known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baa_core.errors import InvalidCalibration, InvalidTable
from baa_core.estimation.local_calibration import (
    LEAST_CASES,
    LocalCalibration,
    LocalCases,
    LocalLine,
    fit_local_calibration,
    read_local_calibration,
)
from baa_core.types import Prediction

WEIGHTS = {"hand": "0123456789ab", "age": "ba9876543210"}
CLINIC = {"female": (0.94, 9.0), "male": (1.06, -13.0)}  # scale and shift of the ages as this clinic reads them
NOISE_MONTHS = 7.0  # about the error of the shipped ensemble


def clinic(cases_a_sex: int = 150, seed: int = 1, noise: float = NOISE_MONTHS) -> LocalCases:
    """Estimates on the usual scale beside references on a clinic's own."""
    random = np.random.default_rng(seed)
    sex = np.repeat(["female", "male"], cases_a_sex)
    predicted = random.uniform(40, 190, sex.size)
    scale, shift = (np.array([CLINIC[one][part] for one in sex]) for part in (0, 1))
    reference = scale * predicted + shift + random.normal(0, noise, sex.size)
    return LocalCases(sex, predicted, np.full(sex.size, 1.64 * NOISE_MONTHS), reference, "tiny", WEIGHTS, {})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sex", ["female", "male"])
def test_a_clinic_that_reads_ages_shifted_and_scaled_is_recovered_within_a_month(seed: int, sex: str) -> None:
    made = fit_local_calibration(clinic(400, seed=seed))  # of 150 cases chance alone is about 0.6 months, at times 1
    scale, shift = CLINIC[sex]
    line, ages = made.by_sex[sex], np.linspace(45, 185, 50)  # type: ignore[index]
    off = [abs(line.correct(age) - (scale * age + shift)) for age in ages]
    assert np.mean(off) < 1.0
    gain = made.gain["all"]
    assert gain.mae_after_months < gain.mae_before_months
    assert gain.change_interval_months[1] < 0
    assert "lowers the error" in gain.sentence


def test_without_noise_it_is_recovered_exactly() -> None:
    made = fit_local_calibration(clinic(LEAST_CASES, noise=0.0))
    for sex, (scale, shift) in CLINIC.items():
        assert made.by_sex[sex].correct(100.0) == pytest.approx(scale * 100 + shift, abs=1e-6)  # type: ignore[index]


def test_some_wrong_references_do_not_bend_the_correction() -> None:
    cases = clinic(100)
    wrong = cases.reference_months.copy()
    wrong[[3, 50, 120, 180]] += [130, -100, 150, -120]
    made = fit_local_calibration(replace(cases, reference_months=wrong))
    for sex, (scale, shift) in CLINIC.items():
        assert made.by_sex[sex].correct(110.0) == pytest.approx(scale * 110 + shift, abs=2.0)  # type: ignore[index]


def test_a_clinic_like_the_training_data_is_told_that_nothing_is_gained() -> None:
    cases = clinic(40, seed=3)
    same = cases.predicted_months + np.random.default_rng(0).normal(0, NOISE_MONTHS, cases.sex.size)
    made = fit_local_calibration(replace(cases, reference_months=same))
    assert "lowers" not in made.gain["all"].sentence


def test_intervals_are_widened_where_they_held_too_few_local_references() -> None:
    cases = clinic(200)
    narrow = fit_local_calibration(replace(cases, half_width_months=cases.half_width_months / 2))
    assert narrow.by_sex["female"].interval_factor == pytest.approx(2.0, rel=0.25)
    assert narrow.gain["all"].coverage_before < 0.75
    assert narrow.gain["all"].coverage_after == pytest.approx(0.9, abs=0.05)
    wide = fit_local_calibration(replace(cases, half_width_months=cases.half_width_months * 3))
    assert wide.by_sex["female"].interval_factor == 1.0


def only(cases: LocalCases, kept: np.ndarray) -> LocalCases:
    arrays = ("sex", "predicted_months", "half_width_months", "reference_months")
    return replace(cases, **{name: getattr(cases, name)[kept] for name in arrays})


def test_fewer_than_thirty_cases_of_a_sex_are_refused_in_a_sentence() -> None:
    cases = clinic(LEAST_CASES)
    kept = np.ones(cases.sex.size, bool)
    kept[-1] = False
    with pytest.raises(InvalidTable, match="at least 30 cases of each sex, but there are only 29 male"):
        fit_local_calibration(only(cases, kept))
    with pytest.raises(InvalidTable, match="0 male"):
        fit_local_calibration(only(cases, cases.sex == "female"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cases: replace(cases, reference_months=cases.reference_months / 12), "bone ages in months"),
        (lambda cases: replace(cases, predicted_months=100 + cases.predicted_months / 20), "cover at least 24 months"),
    ],
)
def test_what_cannot_be_a_calibration_is_refused(change: object, said: str) -> None:
    with pytest.raises(InvalidTable, match=said):
        fit_local_calibration(change(clinic()))  # type: ignore[operator]


def test_beyond_the_local_cases_the_correction_stays_what_it_is_at_their_end() -> None:
    line = LocalLine(0.1, -2.0, (60.0, 120.0), 1.0, 40)
    at_end = line.correct(120.0) - 120.0
    assert line.correct(200.0) - 200.0 == pytest.approx(at_end)
    assert line.correct(60.0) < line.correct(61.0) < line.correct(120.0) < line.correct(121.0)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = fit_local_calibration(clinic())
    path = tmp_path / "clinic.json"
    path.write_bytes(made.to_json())
    read = read_local_calibration(path)
    assert read.sha256 == made.sha256
    assert read.weights == WEIGHTS
    for sex in ("female", "male"):
        assert read.by_sex[sex].correct(100) == pytest.approx(made.by_sex[sex].correct(100), abs=1e-3)
    assert read.gain["all"].cases == 300
    assert fit_local_calibration(clinic()).to_json() == made.to_json(), "the same cases give the same file"


def written(tmp_path: Path, **changes: object) -> Path:
    values = json.loads(fit_local_calibration(clinic(40)).to_json()) | changes
    path = tmp_path / "clinic.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize(
    "changes",
    [{"format": "something else"}, {"format_version": 2}, {"by_sex": {}}, {"gain": None}, {"weights_sha256": []},
     {"by_sex": {sex: {"slope": 5.0, "intercept_months": 0, "range_months": [1, 2], "interval_factor": 1, "cases": 30}
                 for sex in ("female", "male")}},
     {"by_sex": {sex: {"slope": 0.0, "intercept_months": 0, "range_months": [1, 2], "interval_factor": 1, "cases": 3}
                 for sex in ("female", "male")}}],
)  # fmt: skip
def test_another_file_is_refused_in_a_sentence(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(InvalidCalibration, match="no local calibration file of this version"):
        read_local_calibration(written(tmp_path, **changes))


def test_a_missing_file_and_a_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCalibration, match="cannot be read"):
        read_local_calibration(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("[" * 90_000)
    with pytest.raises(InvalidCalibration, match="no local calibration"):
        read_local_calibration(tmp_path / "text.json")


def test_a_calibration_of_another_recipe_or_of_other_weights_is_refused() -> None:
    made = fit_local_calibration(clinic(40))
    made.check("tiny", WEIGHTS)
    with pytest.raises(InvalidCalibration, match="made with the recipe 'tiny', but 'lite'"):
        made.check("lite", WEIGHTS)
    with pytest.raises(InvalidCalibration, match="other weights \\(age\\)"):
        made.check("tiny", {**WEIGHTS, "age": "ffffffffffff"})
    with pytest.raises(InvalidCalibration, match="other weights \\(new\\)"):
        made.check("tiny", {**WEIGHTS, "new": "ffffffffffff"})


def test_an_estimate_is_corrected_and_its_interval_moves_along() -> None:
    made = LocalCalibration("tiny", WEIGHTS, {"female": LocalLine(0.0, -6.0, (40, 180), 1.5, 40),
                                              "male": LocalLine(0.0, 3.0, (40, 180), 1.0, 40)}, {})  # fmt: skip
    corrected = made.apply(Prediction(100.0, (90.0, 110.0), {"one": 100.0}, "female"))
    assert corrected.bone_age_months == pytest.approx(106.0)
    assert corrected.interval_months == pytest.approx((91.0, 121.0))
    near_birth = made.apply(Prediction(5.0, (0.0, 15.0), {"one": 5.0}, "female"))
    assert near_birth.interval_months == pytest.approx((0.0, 26.0))
