"""A local calibration from a batch results table to the reports."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from baa_core.errors import InvalidCalibration, InvalidTable
from baa_core.estimation.local_calibration import LocalCalibration, LocalLine, fit_local_calibration
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.evaluation.local_cases import read_local_cases
from baa_core.evaluation.results import RESULT_COLUMNS
from baa_core.export import FORMS, collect
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor
from baa_core.workflows.explain import explain_estimate

CASES = 32
VERSIONS = {"recipe": "tiny", "weights/age": "0123456789ab"}


def results(path: Path, **changes: object) -> Path:
    """Results as `batch` writes them, of a clinic that reads girls six months younger."""
    random = np.random.default_rng(0)
    columns = ["file", "sex", "input_bone_age_months", *RESULT_COLUMNS]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for number in range(2 * CASES):
            sex = ("female", "male")[number % 2]
            months = 50 + 2 * number + random.normal(0, 1)
            row = {
                "file": f"{number}.png", "sex": sex, "input_bone_age_months": months - 6 * (sex == "female"),
                "status": "ok", "bone_age_months": months, "interval_low_months": months - 10,
                "interval_high_months": months + 10, "sex_used": sex, "recipe": "tiny",
                "versions": json.dumps(VERSIONS),
            }  # fmt: skip
            writer.writerow(row | {k: v(number) if callable(v) else v for k, v in changes.items()})
    return path


def test_results_with_carried_references_become_cases(tmp_path: Path) -> None:
    cases = read_local_cases(results(tmp_path / "r.csv", status=lambda n: "refused" if n == 5 else "ok"))
    assert cases.left_out == {"refused": 1}
    assert cases.weights == {"age": "0123456789ab"}
    assert len(cases.sex) == 2 * CASES - 1
    made = fit_local_calibration(cases)
    assert made.by_sex["female"].correct(100) == pytest.approx(94, abs=0.1)
    assert made.by_sex["male"].correct(100) == pytest.approx(100, abs=0.1)


def test_references_may_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    lines = [f"{n}.png;{'FM'[n % 2]};{50 + 2 * n},5" for n in range(2 * CASES)]
    labels.write_text("\n".join(["file;sex;bone_age_months", *lines]))
    cases = read_local_cases(results(tmp_path / "r.csv"), labels)
    assert cases.reference_months[3] == 56.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "same.png"}, "holds same.png twice"),
        ({"versions": json.dumps(VERSIONS | {"local_calibration": "ab"})}, "corrected by a local calibration already"),
        ({"versions": ""}, "which weights made it"),
        ({"recipe": lambda n: "tiny" if n % 2 else "lite"}, "made by 2 recipes or sets of weights"),
        ({"interval_high_months": 0}, "ends below its estimate"),
        ({"input_bone_age_months": "old"}, "'old' in column bone_age_months"),
        ({"sex": ""}, "lacks its sex"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_in_a_sentence(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(InvalidTable, match=re.escape(said)):
        read_local_cases(results(tmp_path / "r.csv", **changes))


def test_a_table_without_references_is_refused(tmp_path: Path) -> None:
    path = results(tmp_path / "r.csv")
    path.write_text(path.read_text().replace("input_bone_age_months", "note"))
    with pytest.raises(InvalidTable, match="carry no reference ages"):
        read_local_cases(path)


def local(assessor: Assessor, **changes: object) -> LocalCalibration:
    weights = {k.removeprefix("weights/"): v for k, v in assessor.versions.items() if k.startswith("weights/")}
    lines = {"female": LocalLine(0.0, -6.0, (40, 400), 1.5, 40), "male": LocalLine(0.0, 3.0, (40, 400), 1.0, 40)}
    gain = fit_local_calibration_gain()
    return replace(LocalCalibration("tiny", weights, lines, gain, "c0ffee" * 10), **changes)  # type: ignore[arg-type]


def fit_local_calibration_gain() -> dict:
    from tests.unit.estimation.test_local_calibration import clinic

    return dict(fit_local_calibration(clinic(40)).gain)


@pytest.fixture(scope="module")
def hand() -> bytes:
    return to_png(draw_phantom(120, "female", seed=3, height_px=300).radiograph)


def test_a_corrected_assessment_says_so_in_every_report(tiny_assessor: Assessor, hand: bytes) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from baa_core.export import report_schema

    before = tiny_assessor.assess(hand, Patient("female"), name="hand.png")
    after = tiny_assessor.calibrated_by(local(tiny_assessor)).assess(hand, Patient("female"), name="hand.png")
    assert before.local_calibration is None
    change = 6.0
    assert after.prediction.bone_age_months == pytest.approx(before.prediction.bone_age_months + change, abs=1e-3)
    width = np.diff(after.prediction.interval_months) / np.diff(before.prediction.interval_months)
    assert width == pytest.approx(1.5, rel=1e-3)
    assert after.bone_age_if_male_months == pytest.approx(before.bone_age_if_male_months - 3.0, abs=1e-3)
    content = collect(after)
    version = after.versions["local_calibration"]
    for form in ("text", "fhir", "json", "pdf"):
        made = FORMS[form].make(content, hand)
        if form == "pdf":
            import io

            said = PdfReader(io.BytesIO(made)).pages[0].extract_text()
        else:
            said = made.decode()
        said = " ".join(said.split())
        assert f"Corrected by a local calibration of tiny ({version}): +6.0 months" in said, form
    jsonschema.validate(json.loads(FORMS["json"].make(content, hand)), report_schema())
    assert after.to_dict()["local_calibration"]["correction_months"] == 6.0


def test_an_explanation_is_of_the_corrected_estimate_and_says_so(tiny_assessor: Assessor, hand: bytes) -> None:
    calibrated = tiny_assessor.calibrated_by(local(tiny_assessor))
    panel = explain_estimate(calibrated, hand, Patient("female"), "saliency")
    assert panel.estimate_months == calibrated.assess(hand, Patient("female")).prediction.bone_age_months
    assert "local_calibration" in {caution.code for caution in panel.cautions}


def test_an_unknown_sex_is_corrected_for_both(tiny_assessor: Assessor, hand: bytes) -> None:
    before = tiny_assessor.assess(hand, Patient(), name="hand.png")
    after = tiny_assessor.calibrated_by(local(tiny_assessor)).assess(hand, Patient(), name="hand.png")
    shift = {"female": 6.0, "male": -3.0}[after.prediction.sex_used]
    assert after.prediction.bone_age_months == pytest.approx(before.prediction.bone_age_months + shift, abs=1e-3)
    low, high = after.prediction.interval_months
    assert low < after.prediction.bone_age_months < high


def test_an_estimate_beyond_the_local_cases_brings_a_caution(tiny_assessor: Assessor, hand: bytes) -> None:
    far = LocalLine(0.0, -6.0, (1.0, 2.0), 1.0, 40)
    calibrated = tiny_assessor.calibrated_by(local(tiny_assessor, by_sex={"female": far, "male": far}))
    codes = {caution.code for caution in calibrated.assess(hand, Patient("female")).cautions}
    assert {"local_calibration", "local_calibration_range"} <= codes


def test_the_assessor_refuses_a_calibration_of_other_weights(tiny_assessor: Assessor) -> None:
    with pytest.raises(InvalidCalibration, match="other weights"):
        tiny_assessor.calibrated_by(local(tiny_assessor, weights={"hand": "ffff"}))
    with pytest.raises(InvalidCalibration, match="recipe 'deeplasia'"):
        tiny_assessor.calibrated_by(local(tiny_assessor, recipe="deeplasia"))


def test_a_batch_is_not_continued_with_another_calibration(
    tiny_assessor: Assessor, hand: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(hand)
    table = tmp_path / "t.csv"
    table.write_text("file,sex\na.png,F\n")
    calibrated = tiny_assessor.calibrated_by(local(tiny_assessor))
    batch = Batch(table, tmp_path, tmp_path / "r.csv", "tiny", calibrated.versions["local_calibration"])
    run_batch(batch, lambda: calibrated, show_progress=False)
    run_batch(batch, lambda: calibrated, show_progress=False)
    with pytest.raises(InvalidTable, match="already holds something else"):
        run_batch(replace(batch, local_calibration=""), lambda: tiny_assessor, show_progress=False)
