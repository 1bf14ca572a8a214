"""The command line with the shipped networks: what it prints, writes, and answers as exit status."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import baa_core
from baa_core.networks.weights import DEFAULT_FOLDER
from baa_core.phantom import draw_phantom
from baa_core.reporting.overlays import encode_png
from baa_core.workflows.assess import Assessor
from tests.e2e.command import Ran, run

REPOSITORY = Path(__file__).resolve().parents[2]
PROMISED = {
    "file",
    "status",
    "bone_age_months",
    "interval_months",
    "sex_entered",
    "sex_predicted",
    "sex_probability_male",
    "sex_mismatch",
    "bone_age_if_female_months",
    "bone_age_if_male_months",
    "cautions",
    "recipe",
    "members",
    "versions",
    "seconds",
}
ADDED = {"sex_used", "sex_check", "chronological_age_months", "interval_factor", "disclaimer"}
LABELS = "rsna_id,sex,bone_age_months,split\n1,female,96,test\n2,male,150,test\n3,female,50,test\n9,female,90,train\n"


@pytest.fixture(scope="session")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn radiographs and a text that claims to be one."""
    folder = tmp_path_factory.mktemp("hands")
    for number, (age_months, sex) in {1: (96, "female"), 2: (150, "male")}.items():
        pixels = baa_core.draw_phantom(age_months, sex, seed=number, height_px=600).radiograph.pixels
        (folder / f"{number}.png").write_bytes(encode_png(np.rint(pixels * 255).astype(np.uint8)))
    (folder / "3.png").write_text("not a picture")
    return folder


def run_apart(folder: Path, *arguments: str) -> Ran:
    """A command in a process of its own, whose working, home and temporary folder is `folder`."""
    before = files_in(folder)
    homes = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(folder))
    environment = os.environ | homes | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "baa_core", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    return Ran(done.returncode, done.stdout, done.stderr, frozenset(files_in(folder) - before))


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def spoken(hands: Path) -> Ran:
    """Four files as JSON: two hands, a text, and one that is not there."""
    before = files_in(hands)
    with chdir(hands):
        ran = run(
            "assess", "1.png", "3.png", "sub/none.png", "./2.png", "--sex", "female", "--age-months", "100", "--json"
        )
    return ran._replace(new_files=frozenset(files_in(hands) - before))


@pytest.fixture(scope="session")
def started(hands: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The command as a user starts it: one hand as JSON, with both pictures."""
    folder = tmp_path_factory.mktemp("started")
    shutil.copy(hands / "1.png", folder)
    options = ["--sex", "unknown", "--json", "--heatmap", "heat.png", "--mask", "mask.png"]
    return folder, run_apart(folder, "assess", "1.png", *options)


def reports_of(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.output.splitlines()]


def test_one_json_object_a_line_in_order(spoken: Ran) -> None:
    assert [report["file"] for report in reports_of(spoken)] == ["1.png", "3.png", "sub/none.png", "./2.png"]
    assert [report["status"] for report in reports_of(spoken)] == ["ok", "refused", "refused", "ok"]
    assert spoken.status == 2


def test_an_assessed_file_has_the_promised_fields(spoken: Ran) -> None:
    report = reports_of(spoken)[0]
    assert set(report) == PROMISED | ADDED
    low, high = report["interval_months"]
    assert low <= report["bone_age_months"] <= high
    assert (report["sex_entered"], report["chronological_age_months"]) == ("female", 100)
    assert report["bone_age_months"] == report["bone_age_if_female_months"]
    assert report["sex_predicted"] == ("male" if report["sex_probability_male"] > 0.5 else "female")
    assert isinstance(report["sex_mismatch"], bool)
    assert list(report["members"]) == [member.name for member in baa_core.RECIPES["lite"].members]
    assert all(set(caution) == {"code", "message"} for caution in report["cautions"])


def test_a_refused_file_has_a_reason_instead(spoken: Ran) -> None:
    for report in reports_of(spoken)[1:3]:
        assert set(report) == {"file", "status", "recipe", "error"}
        assert set(report["error"]) == {"type", "message"}
        assert report["error"]["type"] == "UnreadableImage"
        assert report["error"]["message"].endswith(".")


def test_nothing_else_is_printed_or_written(spoken: Ran, started: tuple[Path, Ran]) -> None:
    assert spoken.new_files == set()
    _, ran = started
    assert ran.status == 0
    assert [report["file"] for report in reports_of(ran)] == ["1.png"]
    assert ran.new_files == {"heat.png", "mask.png"}
    assert "Traceback" not in ran.errors


def test_summary_is_for_people(hands: Path) -> None:
    ran = run("assess", hands / "1.png", "--sex", "unknown")
    assert ran.status == 0
    for words in (
        "1.png",
        "Bone age",
        "year",
        "90 % interval",
        "; check: ",
        "If male",
        "Not a medical device",
    ):
        assert words in ran.output
    assert "{" not in ran.output


def test_pictures_have_the_radiographs_size(started: tuple[Path, Ran]) -> None:
    folder, _ = started
    shape = cv2.imread(str(folder / "1.png"), cv2.IMREAD_UNCHANGED).shape[:2]
    heat = cv2.imread(str(folder / "heat.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(folder / "mask.png"), cv2.IMREAD_UNCHANGED)
    assert heat.shape == (*shape, 3)
    assert np.ptp(heat, axis=2).max() > 30  # there is colour on it
    assert (mask.shape, mask.dtype) == (shape, np.uint8)
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["guess"],
        ["assess"],
        ["assess", "1.png"],
        ["assess", "--sex", "female"],
        ["assess", "1.png", "--sex", "female", "--age-months", "ten"],
        ["assess", "1.png", "--sex", "female", "--recipe", "nobody"],
        ["assess", "1.png", "--sex", "female", "--fast"],
        ["assess", "1.png", "2.png", "--sex", "female", "--heatmap", "out.png"],
        ["assess", "1.png", "--sex", "female", "--mask", "1.png"],
        ["assess", "1.png", "--sex", "female", "--mask", "out.png", "--heatmap", "out.png"],
        ["assess", "1.png", "--sex", "female", "--mask", "out.jpg"],
        ["assess", "1.png", "--sex", "female", "--mask", "nowhere/out.png"],
        ["assess", "1.png", "2.png", "--sex", "female", "--text", "out.txt"],
        ["assess", "1.png", "--sex", "female", "--text", "1.png"],
        ["assess", "1.png", "--sex", "female", "--text", "out", "--pdf", "out"],
        ["assess", "1.png", "--sex", "female", "--pdf", "nowhere/out.pdf"],
        ["assess", "1.png", "--sex", "female", "--sr", "out.dcm"],
        ["assess", "1.png", "--sex", "female", "--text", "out.txt", "--identify"],
        ["assess", "1.png", "--sex", "female", "--identify"],
        ["assess", "1.png", "--sex", "female", "--reference", "brush-age"],
        ["assess", "1.png", "--sex", "female", "--age-months", "90", "--reference", "brush"],
        ["batch", "table.csv", "--images", "."],
        ["batch", "none.csv", "--images", ".", "--out", "out.csv"],
        ["batch", "table.csv", "--images", "nowhere", "--out", "out.csv"],
        ["batch", "3.png", "--images", ".", "--out", "out.csv"],
        ["batch", "table.csv", "--images", ".", "--out", "table.csv"],
        ["batch", "table.csv", "--images", ".", "--out", "nowhere/out.csv"],
        ["evaluate", "table.csv", "--labels", "labels.csv", "--out", "out"],
        ["evaluate", "none.csv", "--labels", "labels.csv", "--out", "out"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_said_and_changes_nothing(
    hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    shutil.copytree(hands, tmp_path, dirs_exist_ok=True)
    (tmp_path / "table.csv").write_text("file,sex\n1.png,female\n")
    (tmp_path / "labels.csv").write_text(LABELS)
    monkeypatch.chdir(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}
    ran = run(*arguments)
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors.strip().endswith(".")
    assert {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)} == before


@pytest.mark.parametrize("option", [["--help"], ["assess", "--help"], ["--version"]])
def test_help_is_no_failure(option: list[str]) -> None:
    assert run(*option).status == 0


@pytest.mark.parametrize(
    "entry", [["--sex", "girl"], ["--sex", "female", "--age-months", "-1"], ["--sex", "female", "--age-months", "nan"]]
)
def test_an_impossible_entry_is_refused(hands: Path, entry: list[str]) -> None:
    ran = run("assess", hands / "1.png", *entry, "--json")
    (report,) = reports_of(ran)
    assert (ran.status, report["status"], report["error"]["type"]) == (2, "refused", "InvalidPatient")
    assert report["file"] == str(hands / "1.png")


def test_refusals_are_readable_too(hands: Path) -> None:
    ran = run("assess", hands / "3.png", hands / "1.png", "--sex", "girl")
    assert ran.status == 2
    assert ran.output.count("Give female, male or unknown.") == 2


@pytest.fixture(params=["WeightsMissing", "WeightsCorrupt"])
def broken_weights(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A weights folder without a file, or with one that is not the manifest's."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in DEFAULT_FOLDER.glob("*.safetensors"):
        (folder / path.name).symlink_to(path.resolve())
    shutil.copy(DEFAULT_FOLDER / "manifest.json", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    file = folder / manifest["weights"][baa_core.RECIPES["deeplasia"].hand.name]["file"]
    file.unlink()
    if request.param == "WeightsCorrupt":
        file.write_bytes(b"other bytes")
    monkeypatch.setattr("baa_core.networks.store.DEFAULT_FOLDER", folder)
    return str(request.param)


def test_broken_weights_are_one_sentence(hands: Path, tmp_path: Path, broken_weights: str) -> None:
    ran = run("assess", hands / "1.png", "--sex", "female", "--json")
    (report,) = reports_of(ran)
    assert (ran.status, report["error"]["type"]) == (2, broken_weights)
    (tmp_path / "table.csv").write_text("file,sex\n1.png,female\n")
    ran = run("batch", tmp_path / "table.csv", "--images", hands, "--out", tmp_path / "results.csv")
    assert (ran.status, ran.output) == (2, "")
    assert report["error"]["message"] in ran.errors


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_batch_continues_and_evaluate_measures(hands: Path, tmp_path: Path) -> None:
    table, results = tmp_path / "table.csv", tmp_path / "results.csv"
    table.write_text("file,sex,bone_age_months\n1.png,female,96\n2.png,male,150\n3.png,female,50\n")
    command = ["batch", table, "--images", hands, "--out", results]
    ran = run(*command)
    assert ran.status == 2
    assert ran.output.startswith("2 assessed, 1 refused")
    assert "3/3" in ran.errors  # the progress bar
    whole = read(results)
    assert [row["status"] for row in whole] == ["ok", "ok", "refused"]
    assert [row["input_bone_age_months"] for row in whole] == ["96", "150", "50"]

    content = results.read_bytes()
    results.write_bytes(content[: content.index(b"2.png") + 20])  # interrupted while writing the second row
    assert run(*command).status == 2
    assert read(results) == whole

    (tmp_path / "labels.csv").write_text(LABELS)
    ran = run("evaluate", results, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "evaluation")
    assert ran.status == 0
    assert files_in(tmp_path / "evaluation") == {
        "evaluation.json", "evaluation.md", "predicted.html", "bland_altman.html", "error_by_age.html"
    }  # fmt: skip
    measured = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    errors = [float(row["bone_age_months"]) - age for row, age in zip(whole[:2], (96, 150), strict=True)]
    assert measured["groups"]["all"]["mae_months"] == pytest.approx(np.mean(np.abs(errors)), abs=1e-3)
    assert measured["groups"]["all"]["n_refused"] == 1
    assert measured["baseline"] == {}  # no boys to train on


def test_one_answer_by_every_door(hands: Path, assessor: Assessor) -> None:
    (told,) = reports_of(run("assess", hands / "2.png", "--sex", "male", "--json"))
    in_python = assessor.assess((hands / "2.png").read_bytes(), baa_core.Patient(sex="male")).to_dict()
    assert told["bone_age_months"] == in_python["bone_age_months"]
    assert told["interval_months"] == in_python["interval_months"]


def test_of_two_hands_in_a_picture_the_named_one_is_assessed(tmp_path: Path) -> None:
    """A child's right hand on the left side of the picture, a grown-up's left hand on the right side."""
    child, grown = (baa_core.draw_phantom(m, "male", seed=1, height_px=500).radiograph.pixels for m in (48, 216))
    both = tmp_path / "both.png"
    both.write_bytes(encode_png(np.rint(np.hstack([child, grown[:, ::-1]]) * 255).astype(np.uint8)))
    refused = run("assess", both, "--sex", "male", "--json")
    assert refused.status == 2
    error = json.loads(refused.output)["error"]
    assert error["type"] == "SeveralHands"
    assert all(word in error["message"] for word in ("left", "right", "largest"))
    left, right = (json.loads(run("assess", both, "--sex", "male", "--hand", s, "--json").output) for s in
                   ("left", "right"))  # fmt: skip
    assert left["bone_age_months"] < 96 < right["bone_age_months"]
    assert "one_of_several_hands" in [caution["code"] for caution in left["cautions"]]
    assert run("assess", both, "--sex", "male", "--hand", "middle").status == 1


def test_a_hand_that_was_spoilt_is_put_right_by_hand_and_says_so(tmp_path: Path) -> None:
    """Turned, mirrored, in a frame and with greys reversed: undone by hand, it is the drawn hand again."""
    upright = np.rint(draw_phantom(120, "female", seed=3).radiograph.pixels * 255).astype(np.uint8)
    height, width = upright.shape
    framed = np.pad(upright, ((20, 10), (30, 0)))
    spoilt = 255 - np.rot90(framed[:, ::-1], 1)
    cv2.imwrite(str(tmp_path / "upright.png"), upright)
    cv2.imwrite(str(tmp_path / "spoilt.png"), spoilt)
    plain = json.loads(run("assess", tmp_path / "upright.png", "--sex", "female", "--json").output)
    crop = [str(n) for n in (20, 30, 20 + height, 30 + width)]  # mirrored and turned, rows are the frame's columns
    options = ["--rotate", "90", "--mirror", "--invert", "--crop", *crop]
    ran = run("assess", tmp_path / "spoilt.png", "--sex", "female", "--json", *options)
    assert ran.status == 0, ran.output
    result = json.loads(ran.output)
    assert result["bone_age_months"] == pytest.approx(plain["bone_age_months"], abs=0.02)
    assert result["manual_edits"] == {
        "crop": [int(n) for n in crop], "rotated_degrees": 90, "mirrored": True, "inverted": True,
    }  # fmt: skip
    assert "edited_by_hand" in {caution["code"] for caution in result["cautions"]}
    assert "polarity" not in {caution["code"] for caution in result["cautions"]}
    wrong = run("assess", tmp_path / "spoilt.png", "--sex", "female", "--crop", "0", "0", "9999", "9999")
    assert wrong.status == 2 and "Give a rectangle inside the picture" in wrong.output


def test_a_reader_that_has_enough_ends_the_command_without_a_word(tmp_path: Path) -> None:
    """As `| head` does."""
    table = tmp_path / "results.csv"
    table.write_text("file,status,bone_age_months,sex_probability_male\na.png,ok,100,0.5\n")
    command = [sys.executable, "-m", "baa_core", "changes", str(table), str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(60) == 141
        assert running.stderr is not None
        assert running.stderr.read() == b""
