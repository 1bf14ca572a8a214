"""The `compare` command with the shipped networks on a drawn hand."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from baa_core.networks.weights import DEFAULT_FOLDER, read_manifest
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import RECIPES
from baa_core.types import DISCLAIMER, Patient
from baa_core.workflows.assess import STAGES, load_assessor
from baa_core.workflows.compare import LONGEST_SEEN_PX
from tests.e2e.command import Ran, run


def shipped() -> list[str]:
    """The recipes whose weights are here."""
    manifest = read_manifest(DEFAULT_FOLDER)
    return [
        name
        for name, recipe in RECIPES.items()
        if name in manifest.calibration and all(member.name in manifest.weights for member in recipe.members_in_use)
    ]


def expected_status() -> int:
    return 0 if shipped() == list(RECIPES) else 2


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "hand.png"
    path.write_bytes(to_png(draw_phantom(120.0, "male", height_px=600).radiograph))
    return path


@pytest.fixture(scope="module")
def compared(hand: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, dict[str, Any], Path]:
    """A comparison as JSON with its pictures."""
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    ran = run("compare", hand, "--sex", "male", "--age-months", "118", "--json", "--out", out)
    return ran, json.loads(ran.output), out


@pytest.mark.slow
def test_json_holds_every_recipe_and_the_spread(compared: tuple[Ran, dict[str, Any], Path], hand: Path) -> None:
    ran, values, _ = compared
    assert len(ran.output.splitlines()) == 1
    assert set(values) == {
        "file", "status", "recipes", "spread_months", "low_months", "high_months", "sentence", "disclaimer"
    }  # fmt: skip
    assert (values["file"], values["disclaimer"]) == (str(hand), DISCLAIMER)
    rows = {row["recipe"]: row for row in values["recipes"]}
    assert list(rows) == list(RECIPES)
    answered = [name for name, row in rows.items() if row["status"] == "ok"]
    assert answered == shipped()
    assert ran.status == expected_status()
    assert values["status"] == ("ok" if answered == list(RECIPES) else "partial")
    for name, row in rows.items():
        assert row["file"] == str(hand)
        assert row["seconds"] >= (0.01 if name in answered else 0)
        if name not in answered:
            assert row["error"]["type"] == "WeightsMissing"
            continue
        assert row["interval_months"][0] <= row["bone_age_months"] <= row["interval_months"][1]
        assert row["chronological_age_months"] == 118
    months = [rows[name]["bone_age_months"] for name in answered]
    assert (values["low_months"], values["high_months"]) == (min(months), max(months))
    if len(months) > 1:
        assert values["spread_months"] == pytest.approx(max(months) - min(months), abs=0.02)
    else:
        assert values["spread_months"] is None


@pytest.mark.slow
def test_progress_names_the_recipe_and_the_stage(compared: tuple[Ran, dict[str, Any], Path]) -> None:
    told = [line.removesuffix(" ...") for line in compared[0].errors.splitlines() if line.endswith(" ...")]
    assert told == [f"{name}: {stage}" for name in shipped() for stage in STAGES]


@pytest.mark.slow
def test_every_answer_has_its_two_pictures(compared: tuple[Ran, dict[str, Any], Path], hand: Path) -> None:
    _, values, out = compared
    answered = [row["recipe"] for row in values["recipes"] if row["status"] == "ok"]
    pictures = {f"{name}_{what}.png" for name in answered for what in ("seen", "heatmap")}
    assert set(os.listdir(out)) == pictures
    radiograph = cv2.imread(str(hand))
    for name in answered:
        heatmap, seen = (cv2.imread(str(out / f"{name}_{what}.png")) for what in ("heatmap", "seen"))
        assert heatmap.shape == radiograph.shape
        assert np.ptp(heatmap, axis=2).max() > 30
        assert max(seen.shape) <= LONGEST_SEEN_PX
        assert np.ptp(seen, axis=2).max() == 0
        assert np.ptp(seen) > 100


@pytest.mark.slow
def test_a_comparison_says_what_an_assessment_says(compared: tuple[Ran, dict[str, Any], Path], hand: Path) -> None:
    name = shipped()[0]
    alone = load_assessor(name).assess(hand, Patient("male", 118)).to_dict()
    (row,) = (row for row in compared[1]["recipes"] if row["recipe"] == name)
    assert (row["bone_age_months"], row["interval_months"]) == (alone["bone_age_months"], alone["interval_months"])
    assert set(row) - set(alone) == {"reimplementation", "mean_absolute_error_months", "about"}
    assert set(alone) <= set(row)


@pytest.mark.slow
def test_the_table_is_for_people(hand: Path) -> None:
    ran = run("compare", hand, "--sex", "male")
    assert ran.status == expected_status()
    for said in (str(hand), "Recipe", "90 % interval", "Seconds", "Not a medical device", *RECIPES):
        assert said in ran.output
    assert "{" not in ran.output
    assert ("refused" in ran.output) == (shipped() != list(RECIPES))


def test_what_is_no_radiograph_is_refused_by_all(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    ran = run("compare", tmp_path / "text.png", "--sex", "male", "--json", "--out", tmp_path / "out")
    values = json.loads(ran.output)
    assert (ran.status, values["status"], values["spread_months"]) == (2, "refused", None)
    kinds = {row["recipe"]: row["error"]["type"] for row in values["recipes"]}
    assert list(kinds) == list(RECIPES)
    assert {kinds[name] for name in shipped()} == {"UnreadableImage"}
    assert os.listdir(tmp_path / "out") == []


def test_a_sex_or_age_that_makes_no_sense_is_refused_like_in_assess(hand: Path) -> None:
    for options in (["--sex", "girl"], ["--sex", "male", "--age-months", "-3"]):
        ran = run("compare", hand, *options, "--json")
        values = json.loads(ran.output)
        assert (ran.status, values["status"]) == (2, "refused")
        assert [row["error"]["type"] for row in values["recipes"]] == ["InvalidPatient"] * len(RECIPES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare"],
        ["compare", "hand.png"],
        ["compare", "hand.png", "hand.png", "--sex", "male"],
        ["compare", "hand.png", "--sex", "male", "--recipe", "deeplasia"],
        ["compare", "hand.png", "--sex", "male", "--age-months", "ten"],
        ["compare", "hand.png", "--sex", "male", "--out", "hand.png"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_said_and_changes_nothing(
    hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (tmp_path / "hand.png").write_bytes(hand.read_bytes())
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors.strip().endswith(".")
    assert os.listdir(tmp_path) == ["hand.png"]


def test_the_radiograph_itself_is_not_overwritten(hand: Path, tmp_path: Path) -> None:
    radiograph = tmp_path / "li2021_seen.png"
    radiograph.write_bytes(hand.read_bytes())
    ran = run("compare", radiograph, "--sex", "male", "--out", tmp_path)
    assert (ran.status, ran.output) == (1, "")
    assert "overwritten" in ran.errors
    assert radiograph.read_bytes() == hand.read_bytes()


def test_the_command_is_offered() -> None:
    assert "compare" in run("--help").output
    assert "--out" in run("compare", "--help").output
