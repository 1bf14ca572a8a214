"""Every system beside the default one, with its shipped weights: on a drawn hand, on real ones, on bad input."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baa_core.__main__ import main
from baa_core.errors import BoneAgeError, HandNotFound, InvalidPatient, UnreadableImage, WeightsCorrupt
from baa_core.estimation.calibration import LinearBias
from baa_core.explanation import robustness
from baa_core.io import read_radiograph
from baa_core.networks.bone_strips import BoneSexNetwork
from baa_core.networks.build import build
from baa_core.networks.landmarks import KeyPointNetwork, LandmarkNetwork
from baa_core.networks.store import NetworkStore
from baa_core.networks.weights import DEFAULT_FOLDER, Manifest, WeightsEntry, read_manifest, save_network
from baa_core.phantom import draw_phantom, to_png
from baa_core.preprocessing import clustering
from baa_core.preprocessing.prepare import prepare
from baa_core.recipes import DEFAULT_RECIPE, RECIPES
from baa_core.reporting.cautions import about_explanation
from baa_core.reporting.overlays import encode_png
from baa_core.types import Patient, Radiograph
from baa_core.workflows.assess import Assessor, load_assessor
from baa_core.workflows.compare import Compared, compare
from baa_core.workflows.explain import explain_estimate
from tests.conftest import REPOSITORY, Labelled

DOCUMENTATION = REPOSITORY / "docs" / "adding_a_system.md"

SHIPPED = [name for name in RECIPES if name != DEFAULT_RECIPE and name in read_manifest().calibration]
PUBLISHED = [
    pytest.param(
        name, marks=[] if name in SHIPPED else pytest.mark.skip(f"no weights yet: python -m train calibrate {name}")
    )
    for name in RECIPES
    if name != DEFAULT_RECIPE
]
LARGEST_SHIPPED_MB = 80  # of the four systems beside Deeplasia together


@pytest.fixture(scope="module")
def assessors() -> dict[str, Assessor]:
    """All of them, sharing what they share."""
    store = NetworkStore.of_folder()
    return {name: load_assessor(name, store=store) for name in (DEFAULT_RECIPE, *SHIPPED)}


@pytest.fixture(scope="module")
def drawn() -> bytes:
    """A hand of ten years."""
    return to_png(draw_phantom(120, "female", seed=5).radiograph)


class Passes(Counter[str]):
    """How often each network and the clustering ran."""

    def count(self, patch: pytest.MonkeyPatch, owner: object, method: str, name: str) -> None:
        run = getattr(owner, method)
        patch.setattr(owner, method, lambda *given, **more: self.update([name]) or run(*given, **more))

    @contextmanager
    def counted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            self.count(patch, LandmarkNetwork, "heatmaps", "landmarks")
            self.count(patch, KeyPointNetwork, "forward", "key points")
            self.count(patch, BoneSexNetwork, "forward", "sex")
            self.count(patch, Assessor, "find_hands", "segmentation")
            self.count(patch, clustering, "cluster_hand", "clustering")
            yield


@pytest.fixture(scope="module")
def compared(assessors: dict[str, Assessor], drawn: bytes) -> tuple[dict[str, Compared], Passes]:
    """The drawn hand by all systems together, and what ran for it."""
    passes = Passes()
    with passes.counted():
        found = list(compare(drawn, Patient("female"), tuple(assessors), load=assessors.__getitem__))
    return {one.recipe: one for one in found}, passes


def test_landmarks_are_placed_once_in_an_assessment(assessors: dict[str, Assessor], drawn: bytes) -> None:
    passes = Passes()
    with passes.counted():
        assessors[DEFAULT_RECIPE].assess(drawn, Patient("female"), explain=True)
    assert passes == {"landmarks": 1, "sex": 2, "segmentation": 1}


def test_a_comparison_computes_once_what_systems_have_in_common(
    compared: tuple[dict[str, Compared], Passes],
) -> None:
    """Iglovikov's system has an outline of its own, so it places landmarks and estimates the sex on that."""
    _, passes = compared
    assert passes == {"landmarks": 2, "key points": 1, "sex": 4, "segmentation": 1, "clustering": 1}


@pytest.mark.parametrize("name", [DEFAULT_RECIPE, *SHIPPED])
def test_a_comparison_says_what_each_system_says_alone(
    name: str, assessors: dict[str, Assessor], compared: tuple[dict[str, Compared], Passes], drawn: bytes
) -> None:
    together = compared[0][name].report
    assert together is not None
    alone = assessors[name].assess(drawn, Patient("female")).to_dict()
    about_heatmap = about_explanation(together.explanation) if together.explanation else ()
    expected = alone | {"cautions": [*alone["cautions"], *map(asdict, about_heatmap)], "seconds": 0}
    assert together.to_dict() | {"seconds": 0} == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_drawn_hand_gets_months_an_interval_and_an_aligned_heatmap(
    name: str, compared: tuple[dict[str, Compared], Passes]
) -> None:
    report = compared[0][name].report
    low, high = report.prediction.interval_months
    assert 0 <= low < report.prediction.bone_age_months < high <= 300
    assert list(report.prediction.members) == [m.name for m in RECIPES[name].members]
    heat = report.explanation.heat
    assert heat.shape == report.radiograph.shape and np.isfinite(heat).all() and heat.max() > 0.5
    rows, columns = np.nonzero(report.hand.pixels)
    weight = heat / heat.sum()
    middle = (weight.sum(axis=1) @ np.arange(heat.shape[0]), weight.sum(axis=0) @ np.arange(heat.shape[1]))
    assert rows.min() < middle[0] < rows.max() and columns.min() < middle[1] < columns.max()


@pytest.mark.parametrize("name", PUBLISHED)
def test_places_come_home_within_a_pixel(name: str, assessors: dict[str, Assessor], drawn: bytes) -> None:
    """A bright dot on the palm lies where the heatmap of a network that saw only it would draw it."""
    assessor = assessors[name]
    radiograph = read_radiograph(drawn)
    hand = assessor.find_hand(radiograph)
    points = assessor.points(radiograph, hand)
    rows, columns = np.nonzero(hand.pixels)
    row, column = int(np.median(rows)), int(np.median(columns))
    dotted = radiograph.pixels * 0.5
    dotted[row - 6 : row + 7, column - 6 : column + 7] = 1.0
    for member in RECIPES[name].members:
        made = prepare(Radiograph(dotted.astype(np.float32)), hand, member.input, points)
        plain = prepare(Radiograph((radiograph.pixels * 0.5).astype(np.float32)), hand, member.input, points)
        if not np.array_equal(made.to_radiograph, plain.to_radiograph):  # the clustering saw the dot as well
            seen = made.to_radiograph_grid(np.ones(made.mask.shape, np.float32)) > 0.5
            home = made.to_radiograph_grid(made.mask.astype(np.float32)) > 0.5
            assert (home & hand.pixels).sum() > 0.93 * ((home | hand.pixels) & seen).sum(), member.name
            continue
        if member.input.steps[-2].__class__.__name__ == "CutRegion":
            continue  # the dot may lie outside this region
        change = np.abs(made.image[0, 0] - plain.image[0, 0])
        at = np.array(np.unravel_index(np.argmax(np.where(made.mask, change, 0)), change.shape))[::-1]
        home = made.to_radiograph[:, :2] @ at + made.to_radiograph[:, 2]
        size = np.sqrt(abs(np.linalg.det(made.to_radiograph[:, :2])))
        assert home == pytest.approx((column, row), abs=6 + size), member.name


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_hands_are_told_apart_by_age(name: str, assessors: dict[str, Assessor], sharp_val: list[Labelled]) -> None:
    """Six `val` radiographs: far better than their mean, whatever the system."""
    errors, spread, chosen = [], [], sharp_val[::2]
    for sample in chosen:
        try:
            report = assessors[name].assess(sample.content, Patient(sample.sex), name=sample.name)
        except BoneAgeError:
            continue
        errors.append(abs(report.prediction.bone_age_months - sample.bone_age_months))
        spread.append(abs(sample.bone_age_months - np.mean([one.bone_age_months for one in chosen])))
    assert len(errors) >= len(chosen) - 1, "at most one is refused"
    assert np.mean(errors) < 0.7 * np.mean(spread)


def test_bad_input_is_refused_by_all_in_a_sentence(assessors: dict[str, Assessor]) -> None:
    noise = encode_png(np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8))
    for content, kind in ((b"no picture at all", UnreadableImage), (noise, HandNotFound)):
        for one in compare(content, Patient("female"), tuple(assessors), load=assessors.__getitem__):
            assert isinstance(one.refusal, kind) and str(one.refusal).endswith(".")


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_verified_and_have_a_card(name: str, tmp_path: Path) -> None:
    manifest = read_manifest()
    own = [m for m in RECIPES[name].members_in_use if manifest.weights[m.name].recipe == name]
    assert own, "a system of its own has networks of its own"
    for member in own:
        entry = manifest.weights[member.name]
        assert entry.minutes > 0 and entry.device and entry.measured and "non-commercial" in entry.licence
    folder = tmp_path / "weights"
    shutil.copytree(DEFAULT_FOLDER, folder, ignore=shutil.ignore_patterns("start", "evaluation"))
    file = folder / manifest.weights[own[0].name].file
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsCorrupt, match="sha256"):
        load_assessor(name, weights_dir=folder).warm_up()


def test_the_four_systems_together_are_small() -> None:
    manifest = read_manifest()
    files = {entry.file for entry in manifest.weights.values() if entry.recipe in set(SHIPPED) - {"deeplasia"}}
    assert sum((DEFAULT_FOLDER / file).stat().st_size for file in files) < LARGEST_SHIPPED_MB * 1e6


def test_stating_the_age_group_changes_malangas_route(assessors: dict[str, Assessor], drawn: bytes) -> None:
    recipe = RECIPES["malanga2024"]
    stated = [
        assessors["malanga2024"].assess(drawn, Patient("female"), age_group=group).prediction.bone_age_months
        for group in range(1, len(recipe.age_groups_months))
    ]
    free = assessors["malanga2024"].assess(drawn, Patient("female")).prediction.bone_age_months
    assert stated == sorted(stated) and stated[-1] - stated[0] > 60
    assert stated[0] - 0.01 <= free <= stated[-1] + 0.01  # the picture and its mirror image may take two routes
    with pytest.raises(InvalidPatient, match="1 to 4"):
        assessors["malanga2024"].assess(drawn, age_group=5)
    with pytest.raises(InvalidPatient, match="no age groups"):
        assessors[DEFAULT_RECIPE].assess(drawn, age_group=1)


@pytest.mark.slow
@pytest.mark.usefixtures("fewest_steps")
@pytest.mark.parametrize("name", [DEFAULT_RECIPE, *SHIPPED])
def test_every_recipe_explains_its_estimate(
    name: str, assessors: dict[str, Assessor], drawn: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole panel, each test with fewer steps: regions where joints are placed, else the caution that says so."""
    kept = {change: robustness.TRANSFORMS[change] for change in ("mirrored", "upside down")}
    monkeypatch.setattr(robustness, "TRANSFORMS", kept)
    assessor = assessors[name]
    panel = explain_estimate(assessor, drawn, Patient("female"), "grad_cam")
    values = json.loads(json.dumps(panel.to_dict(), allow_nan=False))
    assert panel.estimate_months == assessor.assess(drawn, Patient("female")).prediction.bone_age_months
    assert panel.explanation.months.shape == panel.radiograph.shape
    assert np.isfinite(panel.explanation.months).all() and panel.explanation.months.any()
    assert set(values["drift"]) == {*kept, robustness.OTHER_SEX}
    placed = assessor.recipe.landmarks is not None
    assert bool(values["regions"]) == placed
    assert ("no_regions" in [caution["code"] for caution in values["cautions"]]) != placed
    assert sum(panel.shares.values()) == pytest.approx(1.0)


def test_the_command_line_takes_every_recipe(tmp_path: Path, drawn: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "drawn.png"
    picture.write_bytes(drawn)
    for name in SHIPPED:
        heat = tmp_path / f"{name}.png"
        words = ["assess", str(picture), "--sex", "female", "--recipe", name, "--json", "--heatmap", str(heat)]
        assert main(words) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["recipe"] == name and said["status"] == "ok" and heat.stat().st_size > 1000
    words = ["assess", str(picture), "--sex", "female", "--recipe", "malanga2024", "--json", "--age-group"]
    months = []
    for group in ("1", "4"):
        assert main([*words, group]) == 0
        months.append(json.loads(capsys.readouterr().out)["bone_age_months"])
    assert months[1] - months[0] > 60


def test_the_sixth_system_of_the_documentation_runs(tmp_path: Path, drawn: bytes) -> None:
    """Its Python as it stands in docs/adding_a_system.md, with an untrained network in place of a trained one."""
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    made: dict[str, Any] = {}
    exec(code, made)
    recipe, member, manifest = made["RECIPE"], made["WRIST"], read_manifest()
    shutil.copytree(DEFAULT_FOLDER, tmp_path / "weights", ignore=shutil.ignore_patterns("start", "evaluation"))
    file = tmp_path / "weights" / "wrist_lite0.safetensors"
    sha256 = save_network(build(member.architecture), file)
    entry = WeightsEntry(file.name, sha256, "wrist_only", "nothing", 0, "CPU", "public domain")
    known = load_assessor().calibration
    calibration = replace(known, bias={"wrist_lite0": LinearBias()})
    listed = Manifest({**manifest.weights, "wrist_lite0": entry}, manifest.calibration)
    sixth = Assessor(recipe, calibration, NetworkStore(listed, tmp_path / "weights"))
    report = sixth.assess(drawn, Patient("male"), explain=True)
    assert report.recipe == "wrist_only" and report.explanation.heat.shape == report.radiograph.shape
