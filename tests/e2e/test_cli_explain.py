"""The `explain` command with the shipped networks, and months by region against a known truth."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from baa_core.estimation.ensemble import age_forward
from baa_core.explanation.methods import METHODS
from baa_core.explanation.region_effects import months_by_region
from baa_core.explanation.report import Panel
from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.hand_anatomy import REGIONS
from baa_core.phantom import Phantom, draw_phantom, to_png
from baa_core.preprocessing.prepare import ModelInput, prepare
from baa_core.recipes.deeplasia import masked_hand
from baa_core.types import HandMask
from baa_core.workflows.assess import Assessor
from baa_core.workflows.explain import STAGES, explain_estimate
from tests.e2e.command import run
from tests.e2e.test_heatmap import SIDE_PX, learn

USUAL_MONTHS, OTHER_MONTHS = 110.0, (40.0, 190.0)
LEARNED_MONTHS = (20.0, 60.0, 110.0, 160.0, 200.0)
LEARNED_HANDS = 54
LEAST_NAMED = 0.8  # issue 4: in at least 8 of 10


@pytest.fixture(scope="session")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "hand.png"
    path.write_bytes(to_png(draw_phantom(120.0, "male", height_px=600).radiograph))
    return path


@pytest.fixture(scope="session")
def placed(assessor: Assessor) -> None:
    """Skips where the network that places the joints is not among the weights."""
    if "landmarks" not in assessor.store.manifest.weights:
        pytest.skip("needs the weights of the landmark network")


@pytest.mark.slow
@pytest.mark.usefixtures("placed", "fewest_steps")
def test_json_pictures_and_progress_and_a_summary_for_people(
    hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels: list[Panel] = []

    def computed_once(*given: Any, **more: Any) -> Panel:
        if not panels:
            panels.append(explain_estimate(*given, **more))
        return panels[0]

    monkeypatch.setattr("baa_core.__main__.explain_estimate", computed_once)
    out = tmp_path / "new" / "folder"
    ran = run("explain", hand, "--sex", "male", "--method", "grad_cam", "--json", "--out", out)
    assert ran.status == 0
    values = json.loads(ran.output)
    assert set(values) == {
        "file", "status", "method", "estimate_months", "regions", "joints", "inside_hand_share", "deletion",
        "stability",
        "member_agreement", "drift", "drift_refusals", "verdict", "recipe", "cautions", "seconds", "disclaimer",
    }  # fmt: skip
    assert (values["file"], values["method"]) == (str(hand), "grad_cam")
    assert set(values["regions"]) <= set(REGIONS)
    assert len(values["regions"]) >= 5
    assert set(values["drift"]) == {*TRANSFORMS, OTHER_SEX}
    assert sum(region["attribution_share"] for region in values["regions"].values()) > 0
    assert [line.removesuffix(" ...") for line in ran.errors.splitlines() if line.endswith(" ...")] == list(STAGES)
    assert {path.name for path in out.iterdir()} == {
        "map.png", "regions.png", "regions.html", "deletion.html", "insertion.html", "drift.html"
    }  # fmt: skip
    radiograph, drawn = cv2.imread(str(hand)), cv2.imread(str(out / "map.png"))
    assert drawn.shape == radiograph.shape
    assert np.ptp(drawn, axis=2).max() > 60

    ran = run("explain", hand, "--sex", "male", "--method", "grad_cam")
    assert ran.status == 0
    for said in ("Bone age", "Grad-CAM", "Carpal bones", "Stands out", "Textbook", "Verdict", "Not a medical device"):
        assert said in ran.output
    assert "{" not in ran.output


def test_a_refused_file_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    ran = run("explain", tmp_path / "text.png", "--sex", "male", "--json")
    values = json.loads(ran.output)
    assert (ran.status, values["status"], values["error"]["type"]) == (2, "refused", "UnreadableImage")
    ran = run("explain", tmp_path / "text.png", "--sex", "girl")
    assert (ran.status, "Give female, male or unknown." in ran.output) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["explain", "hand.png"],
        ["explain", "hand.png", "--sex", "male", "--method", "guessing"],
        ["explain", "hand.png", "--sex", "male", "--recipe", "nobody"],
        ["explain", "hand.png", "--sex", "male", "--out", "hand.png"],
        ["explain", "hand.png", "hand.png", "--sex", "male"],
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


def test_every_method_is_offered() -> None:
    ran = run("explain", "--help")
    assert ran.status == 0
    assert all(name in ran.output for name in METHODS)


def drawn(region: str | None = None, months: float | None = None) -> Phantom:
    """Always the same child's hand of nine years, one region of another age."""
    return draw_phantom(USUAL_MONTHS, "female", seed=5, height_px=220, altered_region=region, altered_age_months=months)


def seen(phantom: Phantom, pixels: np.ndarray | None = None) -> ModelInput:
    """As a network sees it; with other greys if they are given."""
    radiograph = phantom.radiograph
    if pixels is not None:
        radiograph = type(radiograph)(np.clip(pixels, 0, 1).astype(np.float32))
    return prepare(radiograph, HandMask(phantom.mask.copy(), 1.0, 0.0, inverted=False), masked_hand(SIDE_PX))


@pytest.fixture(scope="module")
def reader() -> nn.Module:
    """A small network that reads the mean age of six regions drawn at six ages of their own.

    Hands that differ in one region differ nowhere else, so the regions' changes add up to hands of every mixture.
    """
    usual = drawn()
    changes = {
        region: [drawn(region, months).radiograph.pixels - usual.radiograph.pixels for months in LEARNED_MONTHS]
        for region in REGIONS
    }
    random = np.random.default_rng(0)
    choices = random.integers(len(LEARNED_MONTHS), size=(LEARNED_HANDS, len(REGIONS)))
    images = []
    for choice in choices:
        change = sum(changes[region][which] for region, which in zip(REGIONS, choice, strict=True))
        images.append(torch.tensor(seen(usual, usual.radiograph.pixels + change).image))
    months = torch.tensor(np.array(LEARNED_MONTHS)[choices].mean(axis=1), dtype=torch.float32)
    return learn(torch.cat(images), months)


@pytest.mark.slow
@pytest.mark.usefixtures("fewest_steps")
def test_months_by_region_name_the_region_that_was_drawn_otherwise(
    reader: nn.Module, record_property: Callable[[str, object], None]
) -> None:
    """Every region filled in, in the altered hand and in its ordinary twin: named first is the one whose months differ
    most. A region matters in the ordinary hand too, so its months alone would not say what is out of the ordinary.
    """
    forwards = {"reader": age_forward(reader, "female", mirror=False)}
    usual = drawn()
    ordinary = months_by_region(forwards, {"reader": seen(usual)}, usual.regions)
    named = []
    for region in REGIONS:
        for months in OTHER_MONTHS:
            altered = drawn(region, months)
            found = months_by_region(forwards, {"reader": seen(altered)}, altered.regions)
            moved = {name: found[name].contribution_months - ordinary[name].contribution_months for name in REGIONS}
            first = max(moved, key=lambda name: abs(moved[name]))
            older = months > USUAL_MONTHS
            named.append((first == region) and (moved[first] > 0) == older)
    record_property("named_share", round(float(np.mean(named)), 2))
    assert np.mean(named) >= LEAST_NAMED
