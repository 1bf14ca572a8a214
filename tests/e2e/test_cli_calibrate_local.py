"""A clinic's own calibration on the command line, with the shipped networks: made, used, told, and refused."""

import csv
import json
import signal
import sys
from pathlib import Path

import pytest

from baa_core.__main__ import _load_with
from baa_core.evaluation.results import RESULT_COLUMNS
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import RECIPES
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor
from baa_core.workflows.compare import compare
from tests.e2e.command import run

CASES = 31  # of each sex
SHIFT = {"female": -4.0, "male": 6.0}  # of this clinic's references against the estimates


def write_results(path: Path, assessor: Assessor, cases: int = CASES) -> Path:
    """As `batch` writes them for the shipped weights; a clinic that reads girls younger and boys older."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "sex", "input_bone_age_months", *RESULT_COLUMNS], restval="")
        writer.writeheader()
        for number in range(2 * cases):
            sex = ("female", "male")[number % 2]
            months = 40.0 + 2.5 * number
            writer.writerow(
                {
                    "file": f"{number}.png", "sex": sex, "status": "ok", "sex_used": sex,
                    "input_bone_age_months": months + SHIFT[sex] + (number % 3 - 1), "bone_age_months": months,
                    "interval_low_months": months - 15, "interval_high_months": months + 15,
                    "recipe": assessor.recipe.name, "versions": json.dumps(assessor.versions),
                }
            )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, assessor: Assessor) -> Path:
    """A results table, its calibration, and a drawn hand."""
    made = tmp_path_factory.mktemp("clinic")
    write_results(made / "results.csv", assessor)
    (made / "hand.png").write_bytes(to_png(draw_phantom(120, "female", seed=2, height_px=700).radiograph))
    ran = run("calibrate-local", made / "results.csv", "--out", made / "clinic.json")
    assert ran.status == 0, ran.errors
    assert "The correction lowers the error." in ran.output
    assert "female: 31 cases; correction -4" in ran.output
    return made


def assess(folder: Path, *arguments: str | Path) -> dict:
    ran = run("assess", folder / "hand.png", "--sex", "female", "--json", *arguments)
    assert ran.status == 0, ran.output
    return json.loads(ran.output)


def test_an_assessment_and_a_batch_are_corrected_alike_and_say_so(folder: Path) -> None:
    before = assess(folder)
    after = assess(folder, "--calibration", folder / "clinic.json", "--text", folder / "report.txt")
    change = after["local_calibration"]["correction_months"]
    assert change == pytest.approx(SHIFT["female"], abs=1.0)
    assert after["bone_age_months"] == pytest.approx(before["bone_age_months"] + change, abs=0.011)
    assert "Corrected by a local calibration" in " ".join((folder / "report.txt").read_text().split())
    assert "local_calibration" not in before

    (folder / "table.csv").write_text("file,sex\nhand.png,F\n")
    options = ["batch", folder / "table.csv", "--images", folder, "--out", folder / "batch.csv"]
    assert run(*options, "--calibration", folder / "clinic.json").status == 0
    with (folder / "batch.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["bone_age_months"]) == after["bone_age_months"]
    assert "local_calibration" in row["cautions"].split("; ")
    ran = run(*options)
    assert ran.status == 1
    assert "already holds something else" in ran.errors


def test_what_does_not_belong_together_is_refused_in_a_sentence(folder: Path, assessor: Assessor) -> None:
    hand = folder / "hand.png"
    other = run("assess", hand, "--sex", "F", "--recipe", "deeplasia", "--calibration", folder / "clinic.json")
    assert other.status != 0
    assert "made with the recipe" in other.output + other.errors
    values = json.loads((folder / "clinic.json").read_text())
    values["weights_sha256"]["hand"] = "000000000000"
    (folder / "old.json").write_text(json.dumps(values))
    old = run("assess", hand, "--sex", "F", "--calibration", folder / "old.json")
    assert old.status != 0
    assert "made with other weights (hand)" in old.output + old.errors
    none = run("batch", folder / "x.csv", "--images", folder, "--out", folder / "y.csv", "--calibration", hand)
    assert none.status == 1
    assert "hand.png is no local calibration file" in none.errors

    few = run("calibrate-local", write_results(folder / "few.csv", assessor, 29), "--out", folder / "few.json")
    assert few.status == 1
    assert "at least 30 cases of each sex, but there are only 29 female and 29 male" in few.errors
    assert not (folder / "few.json").exists()
    over = run("calibrate-local", folder / "results.csv", "--out", folder / "results.csv")
    assert over.status == 1
    assert "would overwrite a table" in over.errors


def test_compare_corrects_the_one_system_it_was_made_for_and_explain_reads_it_first(folder: Path) -> None:
    after = assess(folder, "--calibration", folder / "clinic.json")
    wrong = run("explain", folder / "hand.png", "--sex", "F", "--calibration", folder / "hand.png")
    assert wrong.status == 1
    assert "hand.png is no local calibration file" in wrong.errors
    load = _load_with(folder / "clinic.json")  # what `compare` loads its systems with; all six take a minute
    said = {name: "local_calibration" in load(name).versions for name in RECIPES}
    assert said == {name: name == "lite" for name in RECIPES}, "the others have no local calibration"
    (row,) = compare(folder / "hand.png", Patient("female"), ["lite"], load=load)
    assert row.to_dict("hand.png")["bone_age_months"] == after["bone_age_months"]
    values = json.loads((folder / "clinic.json").read_text()) | {"recipe": "unknown"}
    (folder / "unknown.json").write_text(json.dumps(values))
    refused = run("compare", folder / "hand.png", "--sex", "F", "--calibration", folder / "unknown.json")
    assert refused.status == 1
    assert "which is none of those compared" in refused.errors


def test_the_page_is_corrected_and_says_so_and_does_not_start_with_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import app  # first: it tells Gradio where to keep its files
    from page.assess_text import calibration
    from page.service import Loading

    after = assess(folder, "--calibration", folder / "clinic.json")
    loading = Loading("lite", folder / "clinic.json")
    assert loading.local_calibration() == after["local_calibration"]["calibration"]
    report = loading.assess((folder / "hand.png").read_bytes(), Patient("female"))
    assert round(report.prediction.bone_age_months, 2) == after["bone_age_months"]
    assert loading.local_calibration() in calibration(loading.local_calibration())
    assert calibration("") == ""
    monkeypatch.setattr(sys, "argv", ["app.py", "--no-browser", "--calibration", str(folder / "hand.png")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = str(ended.value.code)  # Python prints it and ends with status 1
    assert said.endswith(".") and "hand.png is no local calibration file" in said
