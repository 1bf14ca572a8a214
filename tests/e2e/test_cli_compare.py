"""The `compare` command where it refuses; what it answers is in `test_recipes.py`."""

import json
import os
from pathlib import Path

import pytest

from baa_core.networks.weights import DEFAULT_FOLDER, read_manifest
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import RECIPES
from tests.e2e.command import run


def shipped() -> list[str]:
    """The recipes whose weights are here."""
    manifest = read_manifest(DEFAULT_FOLDER)
    return [
        name
        for name, recipe in RECIPES.items()
        if name in manifest.calibration and all(member.name in manifest.weights for member in recipe.members_in_use)
    ]


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "hand.png"
    path.write_bytes(to_png(draw_phantom(120.0, "male", height_px=600).radiograph))
    return path


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
