"""Four assessed radiographs and one refused one, every measure worked out by hand beside it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from baa_core.errors import BoneAgeError, InvalidTable
from baa_core.evaluation.metrics import Evaluation, auroc, evaluate, measure_errors, measure_fit
from baa_core.evaluation.pairs import Cases, mean_train_age, read_cases

RESULTS = """\
file,rsna_id,status,bone_age_months,interval_low_months,interval_high_months,sex_entered,sex_predicted,\
sex_probability_male,sex_mismatch,recipe,error_type
a.png,1,ok,110,97,123,female,female,0.1,false,tiny,
b.png,2,ok,120,107,133,male,male,0.9,false,tiny,
c.png,3,ok,36,23,49,female,male,0.6,true,tiny,
d.png,4,ok,214,200,228,unknown,male,0.6,false,tiny,
e.png,5,refused,,,,,,,,tiny,HandNotFound
"""
LABELS = """\
rsna_id,sex,bone_age_months,split
1,female,100,test
2,male,120,test
3,female,60,test
4,male,200,test
5,female,30,test
11,female,100,train
12,female,140,train
13,male,150,train
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results.csv").write_text(RESULTS)
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def cases_of(folder: Path) -> Cases:
    return read_cases(folder / "results.csv", folder / "labels.csv")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "results.csv").write_text(RESULTS)
    (folder / "labels.csv").write_text(LABELS)
    return evaluate(cases_of(folder), mean_train_age(folder / "labels.csv"))


def test_errors_of_all(evaluation: Evaluation) -> None:
    everyone = evaluation.groups["all"]  # errors +10, 0, -24, +14
    assert everyone["n"] == 4
    assert everyone["mae_months"] == 12.0
    assert everyone["rmse_months"] == pytest.approx(math.sqrt(218))  # (100 + 0 + 576 + 196) / 4
    assert everyone["mean_difference_months"] == 0.0
    assert everyone["share_within_12_months"] == 0.5
    assert everyone["share_within_24_months"] == 1.0


def test_fit_of_all(evaluation: Evaluation) -> None:
    everyone = evaluation.groups["all"]  # reference mean 120, spread 20² + 0 + 60² + 80² = 10400
    assert everyone["r2"] == pytest.approx(1 - 872 / 10400)
    assert everyone["slope"] == pytest.approx((-20 * 110 - 60 * 36 + 80 * 214) / 10400)
    assert everyone["intercept_months"] == pytest.approx(120 - 120 * everyone["slope"])


def test_interval_of_all(evaluation: Evaluation) -> None:
    everyone = evaluation.groups["all"]  # a and b inside, c (60 > 49) outside, d (200) on the edge: inside
    assert everyone["interval_coverage"] == 0.75
    assert everyone["interval_mean_width_months"] == (26 + 26 + 26 + 28) / 4


def test_refusals_count_in_the_rate_alone(evaluation: Evaluation) -> None:
    assert (evaluation.groups["all"]["n_refused"], evaluation.groups["all"]["refusal_rate"]) == (1, 0.2)
    assert (evaluation.groups["female"]["n"], evaluation.groups["female"]["refusal_rate"]) == (2, pytest.approx(1 / 3))
    assert evaluation.about["refusals"] == {"HandNotFound": 1}


def test_by_sex(evaluation: Evaluation) -> None:
    assert evaluation.groups["female"]["mean_difference_months"] == (10 - 24) / 2
    assert evaluation.groups["male"]["mean_difference_months"] == (0 + 14) / 2


def test_sex_and_alarms(evaluation: Evaluation) -> None:
    everyone = evaluation.groups["all"]
    assert everyone["sex_accuracy"] == 0.75
    assert everyone["sex_auroc"] == 3.5 / 4  # of four pairs, one is tied
    assert (everyone["n_entered_right"], everyone["false_mismatch_share"]) == (3, pytest.approx(1 / 3))
    assert everyone["n_entered_wrong"] == 0
    assert math.isnan(everyone["mismatch_found_share"])


def test_age_bands_hold_their_lower_edge(evaluation: Evaluation) -> None:
    counts = {name: group["n"] for name, group in evaluation.groups.items() if "months" in name}
    assert counts == {
        "0-24 months": 0,
        "24-60 months": 0,  # the refused one
        "60-96 months": 1,
        "96-132 months": 2,
        "132-168 months": 0,
        "168-204 months": 1,
        "204 months and over": 0,
    }
    assert evaluation.groups["24-60 months"]["refusal_rate"] == 1.0
    assert evaluation.coverage["female 36-72 months"]["interval_coverage"] == 0.0
    assert evaluation.coverage["male 180-216 months"]["interval_coverage"] == 1.0


def test_baseline_is_the_mean_of_train_by_sex(evaluation: Evaluation) -> None:
    assert evaluation.baseline["guess_months"] == {"female": 120.0, "male": 150.0}
    assert evaluation.baseline["mae_months"] == (20 + 30 + 60 + 50) / 4


def test_without_cases_there_is_no_number(evaluation: Evaluation) -> None:
    empty = evaluation.groups["0-24 months"]
    assert math.isnan(empty["mae_months"])
    assert all(math.isnan(edge) for edge in empty["mae_interval_months"])
    assert math.isnan(empty["refusal_rate"])
    plain = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert plain["groups"]["0-24 months"]["mae_months"] is None


def test_markdown_says_what_made_it_and_what_it_is_not_for(evaluation: Evaluation) -> None:
    text = evaluation.to_markdown("python -m baa_core evaluate r.csv")
    assert "`python -m baa_core evaluate r.csv`" in text
    assert "Not a medical device" in text
    assert "| all | 4 | 1 (20.0 %) | 12.00 [" in text
    assert "nan" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {11, 7, 5}


def test_training_images_are_pointed_out(folder: Path) -> None:
    (folder / "labels.csv").write_text(LABELS.replace("1,female,100,test", "1,female,100,train"))
    text = evaluate(cases_of(folder), {}).to_markdown("x")
    assert "**1 of them were trained on" in text


def test_results_without_a_label_are_counted(folder: Path) -> None:
    (folder / "labels.csv").write_text("\n".join(LABELS.splitlines()[:3]))
    evaluation = evaluate(cases_of(folder), {})
    assert (evaluation.about["n"], evaluation.about["n_without_label"]) == (2, 3)
    assert evaluation.baseline == {}


@pytest.mark.parametrize(
    ("results", "labels"),
    [
        (RESULTS.replace("rsna_id", "number").replace("a.png", "sub/1.png"), LABELS),
        (RESULTS.replace("a.png,1,", "a.png,1.0,"), LABELS),
        (RESULTS.replace("rsna_id", "number"), LABELS.replace("rsna_id", "file").replace("\n1,", "\na.png,")),
    ],
    ids=["by stem", "as spreadsheets write numbers", "by file"],
)
def test_ways_to_find_a_label(folder: Path, results: str, labels: str) -> None:
    (folder / "results.csv").write_text(results)
    (folder / "labels.csv").write_text(labels)
    assert cases_of(folder).reference_months[0] == 100


def test_labels_and_results_saved_by_a_spreadsheet_are_evaluated_alike(folder: Path) -> None:
    """Semicolons, decimal commas, capital headers, TRUE for true, a byte order mark."""
    plain = evaluate(cases_of(folder), mean_train_age(folder / "labels.csv")).to_dict()
    results = (
        RESULTS.replace("0.", "0,x").replace(",x", "@").replace(",", ";").replace("@", ",").replace("true", "TRUE")
    )
    labels = LABELS.replace(",", ";").replace("rsna_id;sex", "RSNA ID;Sex").replace("100;", "100,0;")
    (folder / "results.csv").write_text(results.replace("file;rsna_id", "File;Rsna_Id"), "utf-8-sig")
    (folder / "labels.csv").write_text(labels, "utf-8-sig")
    assert evaluate(cases_of(folder), mean_train_age(folder / "labels.csv")).to_dict() == plain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rsna_id,sex", "rsna_id,gender"),
        ("bone_age_months,split", "age,split"),
        ("1,female,100", "1,female,hundred"),
        ("1,female,100", "1,female,nan"),
        ("1,female,100", "1,girl,100"),
        ("1,female,100", "1,unknown,100"),
        ("2,male,120", "1,male,120"),
    ],
)
def test_unusable_labels_are_refused(folder: Path, old: str, new: str) -> None:
    (folder / "labels.csv").write_text(LABELS.replace(old, new, 1))
    with pytest.raises(BoneAgeError):
        cases_of(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [("ok,110", "fine,110"), ("ok,110", "ok,"), ("file,", "name,"), (",interval_low_months,", ",low,")],
)
def test_unusable_results_are_refused(folder: Path, old: str, new: str) -> None:
    (folder / "results.csv").write_text(RESULTS.replace(old, new, 1))
    with pytest.raises(InvalidTable):
        cases_of(folder)


def test_labels_of_other_radiographs_are_refused(folder: Path) -> None:
    (folder / "labels.csv").write_text("rsna_id,sex,bone_age_months\n99,male,50\n")
    with pytest.raises(InvalidTable, match="None of the 5 results"):
        cases_of(folder)


def test_bootstrap_is_seeded_and_surrounds_the_value() -> None:
    errors = np.random.default_rng(1).normal(0, 10, 200)
    first, second = measure_errors(errors), measure_errors(errors)
    assert first == second
    low, high = first["mae_interval_months"]
    assert low < first["mae_months"] < high
    assert high - low == pytest.approx(2 * 1.96 * np.abs(errors).std() / math.sqrt(200), rel=0.1)


def test_equal_errors_leave_no_doubt() -> None:
    assert measure_errors(np.full(5, -3.0))["rmse_interval_months"] == [3.0, 3.0]


def test_a_line_is_found_again() -> None:
    reference = np.array([20.0, 80.0, 150.0])
    fit = measure_fit(reference, 0.8 * reference + 12)
    assert fit["slope"] == pytest.approx(0.8)
    assert fit["intercept_months"] == pytest.approx(12)


def test_one_age_alone_has_no_line() -> None:
    assert math.isnan(measure_fit(np.array([50.0, 50.0]), np.array([40.0, 60.0]))["r2"])


@pytest.mark.parametrize(
    ("scores", "expected"), [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)]
)
def test_auroc(scores: list[float], expected: float) -> None:
    assert auroc(np.array(scores), np.array([False, False, True, True])) == expected


def test_auroc_needs_both() -> None:
    assert math.isnan(auroc(np.array([0.1, 0.2]), np.array([True, True])))
