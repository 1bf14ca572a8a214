"""Every system beside the default one, with its shipped weights: on a drawn hand, on real ones, on bad input."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from baa_core.errors import BoneAgeError, HandNotFound, InvalidPatient, UnreadableImage, WeightsCorrupt
from baa_core.estimation.calibration import LinearBias
from baa_core.explanation import robustness
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
from baa_core.types import DISCLAIMER, Patient, Radiograph
from baa_core.workflows.assess import STAGES, Assessor, load_assessor
from baa_core.workflows.compare import LONGEST_SEEN_PX, Compared, compare, load_compared
from baa_core.workflows.explain import explain_estimate
from baa_core.workflows.findings import Findings, SharedStages
from tests.conftest import REPOSITORY, Labelled
from tests.e2e.command import Ran, run

DOCUMENTATION = REPOSITORY / "docs" / "adding_a_system.md"

SHIPPED = [name for name in RECIPES if name != DEFAULT_RECIPE and name in read_manifest().calibration]
PUBLISHED = [
    pytest.param(
        name, marks=[] if name in SHIPPED else pytest.mark.skip(f"no weights yet: python -m train calibrate {name}")
    )
    for name in RECIPES
    if name != DEFAULT_RECIPE
]
EXPECTED_STATUS = 0 if set(RECIPES) == {DEFAULT_RECIPE, *SHIPPED} else 2  # of a comparison
LARGEST_SHIPPED_MB = 80  # of the four systems beside Deeplasia together


@pytest.fixture(scope="module")
def assessors() -> dict[str, Assessor]:
    """All of them, sharing what they share."""
    store = NetworkStore.of_folder()
    return {name: load_compared(name, store) for name in (DEFAULT_RECIPE, *SHIPPED)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The radiograph of a drawn hand of ten years."""
    path = tmp_path_factory.mktemp("drawn") / "hand.png"
    path.write_bytes(to_png(draw_phantom(120, "female", seed=5, height_px=600).radiograph))
    return path


class Assessed(NamedTuple):
    """What `assess --json` said, and what was found for it."""

    ran: Ran
    findings: Findings


@pytest.fixture(scope="module")
def alone(assessors: dict[str, Assessor], drawn: Path) -> dict[str, Assessed]:
    """The drawn hand by each system without the others, by the command."""
    assessed, found, find = {}, [], Assessor.find

    def kept(assessor: Assessor, *given: Any, **more: Any) -> Findings:
        found.append(find(assessor, *given, **more))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Assessor, "find", kept)
        for name in assessors:
            ran = run("assess", drawn, "--sex", "female", "--age-months", "118", "--recipe", name, "--json")
            assessed[name] = Assessed(ran, found[-1])
    return assessed


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


class Comparison(NamedTuple):
    """What `compare --json --out` said and wrote, what was behind it, and what ran for it."""

    ran: Ran
    out: Path
    found: dict[str, Compared]
    passes: Passes

    @property
    def values(self) -> dict[str, Any]:
        """The JSON it printed."""
        values: dict[str, Any] = json.loads(self.ran.output)
        return values

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Of that, each recipe's answer."""
        return {row["recipe"]: row for row in self.values["recipes"]}


@pytest.fixture(scope="module")
def compared(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The drawn hand by all systems together, by the command."""
    out, passes = tmp_path_factory.mktemp("out") / "new" / "folder", Passes()
    found: dict[str, Compared] = {}

    def kept(*given: Any, **more: Any) -> Iterator[Compared]:
        for one in compare(*given, **more):
            found[one.recipe] = one
            yield one

    with passes.counted(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("baa_core.__main__.compare", kept)
        ran = run("compare", drawn, "--sex", "female", "--age-months", "118", "--json", "--out", out)
    return Comparison(ran, out, found, passes)


def test_landmarks_are_placed_once_in_an_assessment(assessors: dict[str, Assessor], drawn: Path) -> None:
    passes = Passes()
    with passes.counted():
        assessors[DEFAULT_RECIPE].assess(drawn, Patient("female"), explain=True)
    assert passes == {"landmarks": 1, "sex": 2, "segmentation": 1}


def test_a_comparison_computes_once_what_systems_have_in_common(compared: Comparison) -> None:
    """Iglovikov's system has an outline of its own, so it places landmarks and estimates the sex on that."""
    assert compared.passes == {"landmarks": 2, "key points": 1, "sex": 4, "segmentation": 1, "clustering": 1}


@pytest.mark.parametrize("name", [DEFAULT_RECIPE, *SHIPPED])
def test_a_comparison_says_what_each_system_says_alone(
    name: str, compared: Comparison, alone: dict[str, Assessed]
) -> None:
    together, ran = compared.found[name].report, alone[name].ran
    said = json.loads(ran.output)
    assert together is not None
    assert (ran.status, said["recipe"], said["status"]) == (0, name, "ok")
    about_heatmap = about_explanation(together.explanation) if together.explanation else ()
    expected = said | {"cautions": [*said["cautions"], *map(asdict, about_heatmap)], "seconds": 0}
    row = compared.rows[name]
    assert {key: row[key] for key in expected} | {"seconds": 0} == expected
    assert set(row) - set(expected) == {"reimplementation", "mean_absolute_error_months", "about"}


def test_the_comparison_as_json_holds_every_recipe_and_the_spread(compared: Comparison, drawn: Path) -> None:
    ran, values, rows = compared.ran, compared.values, compared.rows
    assert len(ran.output.splitlines()) == 1
    assert set(values) == {
        "file", "status", "recipes", "spread_months", "low_months", "high_months", "sentence", "disclaimer"
    }  # fmt: skip
    assert (values["file"], values["disclaimer"]) == (str(drawn), DISCLAIMER)
    assert list(rows) == list(RECIPES)
    answered = [name for name, row in rows.items() if row["status"] == "ok"]
    assert set(answered) == {DEFAULT_RECIPE, *SHIPPED}
    assert ran.status == EXPECTED_STATUS
    assert values["status"] == ("ok" if answered == list(RECIPES) else "partial")
    for name, row in rows.items():
        if name not in answered:
            assert row["error"]["type"] == "WeightsMissing"
            continue
        assert row["interval_months"][0] <= row["bone_age_months"] <= row["interval_months"][1]
    months = [rows[name]["bone_age_months"] for name in answered]
    assert (values["low_months"], values["high_months"]) == (min(months), max(months))
    assert values["spread_months"] == pytest.approx(max(months) - min(months), abs=0.02)


def test_the_comparison_says_its_progress_by_recipe_and_stage(compared: Comparison) -> None:
    told = [line.removesuffix(" ...") for line in compared.ran.errors.splitlines() if line.endswith(" ...")]
    assert told == [f"{name}: {stage}" for name in RECIPES if name in compared.found for stage in STAGES]


def test_every_answer_of_a_comparison_has_its_two_pictures(compared: Comparison, drawn: Path) -> None:
    answered = [name for name, one in compared.found.items() if one.report]
    assert set(os.listdir(compared.out)) == {f"{name}_{what}.png" for name in answered for what in ("seen", "heatmap")}
    radiograph = cv2.imread(str(drawn))
    for name in answered:
        heatmap, seen = (cv2.imread(str(compared.out / f"{name}_{what}.png")) for what in ("heatmap", "seen"))
        assert heatmap.shape == radiograph.shape
        assert np.ptp(heatmap, axis=2).max() > 30
        assert max(seen.shape) <= LONGEST_SEEN_PX
        assert np.ptp(seen, axis=2).max() == 0
        assert np.ptp(seen) > 100


def test_a_comparison_as_a_table_is_for_people(
    compared: Comparison, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The systems' answers are those of the comparison above, not computed again."""
    monkeypatch.setattr("baa_core.__main__.compare", lambda *_, **__: iter(compared.found.values()))
    ran = run("compare", drawn, "--sex", "female")
    assert ran.status == EXPECTED_STATUS
    for said in (str(drawn), "Recipe", "90 % interval", "Seconds", "Not a medical device", *RECIPES):
        assert said in ran.output
    assert "{" not in ran.output
    assert ("refused" in ran.output) == bool(EXPECTED_STATUS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_drawn_hand_gets_months_an_interval_and_an_aligned_heatmap(name: str, compared: Comparison) -> None:
    report = compared.found[name].report
    assert report is not None and report.explanation is not None
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
def test_places_come_home_within_a_pixel(name: str, assessors: dict[str, Assessor], alone: dict[str, Assessed]) -> None:
    """A bright dot on the palm lies where the heatmap of a network that saw only it would draw it."""
    radiograph, hand = alone[name].findings.radiograph, alone[name].findings.hand
    points = assessors[name].points(radiograph, hand)
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


@pytest.fixture(scope="module")
def real_hands(sharp_val: list[Labelled]) -> list[tuple[Labelled, SharedStages]]:
    """Three radiographs of `val`, and what the systems have in common of them."""
    return [(sample, SharedStages()) for sample in sharp_val[::4]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_hands_are_told_apart_by_age(
    name: str, assessors: dict[str, Assessor], real_hands: list[tuple[Labelled, SharedStages]]
) -> None:
    """Far better than their mean, whatever the system."""
    assessor, errors, spread = assessors[name], [], []
    mean = np.mean([sample.bone_age_months for sample, _ in real_hands])
    for sample, stages in real_hands:
        try:
            findings = assessor.find(sample.content, name=sample.name, stages=stages)
        except BoneAgeError:
            continue
        report = assessor.report(findings, Patient(sample.sex))
        errors.append(abs(report.prediction.bone_age_months - sample.bone_age_months))
        spread.append(abs(sample.bone_age_months - mean))
    assert len(errors) >= len(real_hands) - 1, "at most one is refused"
    assert np.mean(errors) < 0.7 * np.mean(spread)


def test_bad_input_is_refused_by_all_in_a_sentence(assessors: dict[str, Assessor]) -> None:
    noise = encode_png(np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8))
    for content, kind in ((b"no picture at all", UnreadableImage), (noise, HandNotFound)):
        for one in compare(content, Patient("female"), tuple(assessors), load=assessors.__getitem__):
            assert isinstance(one.refusal, kind) and str(one.refusal).endswith(".")


def weights_in(folder: Path) -> Path:
    """A folder that holds the shipped weights, by reference."""
    folder.mkdir()
    for path in DEFAULT_FOLDER.glob("*.safetensors"):
        (folder / path.name).symlink_to(path.resolve())
    shutil.copy(DEFAULT_FOLDER / "manifest.json", folder)
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_verified_and_have_a_card(name: str, tmp_path: Path) -> None:
    manifest = read_manifest()
    own = [m for m in RECIPES[name].members_in_use if manifest.weights[m.name].recipe == name]
    assert own, "a system of its own has networks of its own"
    for member in own:
        entry = manifest.weights[member.name]
        assert entry.minutes > 0 and entry.device and entry.measured and "non-commercial" in entry.licence
    folder = weights_in(tmp_path / "weights")
    file = folder / manifest.weights[own[0].name].file
    spoilt = file.read_bytes()[:-1] + b"?"
    file.unlink()
    file.write_bytes(spoilt)
    with pytest.raises(WeightsCorrupt, match="sha256"):
        load_assessor(name, weights_dir=folder).warm_up()


def test_the_four_systems_together_are_small() -> None:
    manifest = read_manifest()
    files = {entry.file for entry in manifest.weights.values() if entry.recipe in set(SHIPPED) - {"deeplasia"}}
    assert sum((DEFAULT_FOLDER / file).stat().st_size for file in files) < LARGEST_SHIPPED_MB * 1e6


def test_stating_the_age_group_changes_malangas_route(
    assessors: dict[str, Assessor], alone: dict[str, Assessed], drawn: Path
) -> None:
    malanga, sex, stages = assessors["malanga2024"], Patient("female"), SharedStages()
    stated = [
        malanga.report(malanga.find(drawn, age_group=group, stages=stages), sex).prediction.bone_age_months
        for group in range(1, len(malanga.recipe.age_groups_months))
    ]
    free = malanga.report(alone["malanga2024"].findings, sex).prediction.bone_age_months
    assert stated == sorted(stated) and stated[-1] - stated[0] > 60
    assert stated[0] - 0.01 <= free <= stated[-1] + 0.01  # the picture and its mirror image may take two routes
    ran = run("assess", drawn, "--sex", "female", "--recipe", "malanga2024", "--json", "--age-group", "4")
    assert json.loads(ran.output)["bone_age_months"] == pytest.approx(stated[-1], abs=0.01)
    with pytest.raises(InvalidPatient, match="1 to 4"):
        malanga.assess(drawn, age_group=5)
    with pytest.raises(InvalidPatient, match="no age groups"):
        assessors[DEFAULT_RECIPE].assess(drawn, age_group=1)


def with_smallest_network(assessor: Assessor) -> Assessor:
    """The same system; of Deeplasia's three networks of one kind only the one with the smallest picture, since an
    explanation asks each of them a hundred times."""
    members = assessor.recipe.members
    kept = members[:1] if assessor.recipe.name == "deeplasia" else members
    return replace(assessor, recipe=replace(assessor.recipe, members=kept))


@pytest.mark.slow
@pytest.mark.usefixtures("fewest_steps")
@pytest.mark.parametrize("name", [DEFAULT_RECIPE, *SHIPPED])
def test_every_recipe_explains_its_estimate(
    name: str, assessors: dict[str, Assessor], drawn: Path, alone: dict[str, Assessed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole panel, each test with fewer steps: regions where joints are placed, else the caution that says so."""
    kept = {"mirrored": robustness.TRANSFORMS["mirrored"]}
    monkeypatch.setattr(robustness, "TRANSFORMS", kept)
    assessor, patient = with_smallest_network(assessors[name]), Patient("female")
    found, own = alone[name].findings, {member.name for member in assessor.recipe.members_in_use}
    inputs = {member: picture for member, picture in found.inputs.items() if member in own}
    findings = replace(found, versions=assessor.versions, inputs=inputs, outputs=assessor.run_networks(inputs))
    panel = explain_estimate(assessor, findings, patient, "grad_cam")
    values = json.loads(json.dumps(panel.to_dict(), allow_nan=False))
    assert panel.estimate_months == assessor.report(findings, patient).prediction.bone_age_months
    assert panel.explanation.months.shape == panel.radiograph.shape
    assert np.isfinite(panel.explanation.months).all() and panel.explanation.months.any()
    assert set(values["drift"]) == {*kept, robustness.OTHER_SEX}
    placed = assessor.recipe.landmarks is not None
    assert bool(values["regions"]) == placed
    assert ("no_regions" in [caution["code"] for caution in values["cautions"]]) != placed
    assert sum(panel.shares.values()) == pytest.approx(1.0)


def test_the_sixth_system_of_the_documentation_runs(
    tmp_path: Path, drawn: Path, assessors: dict[str, Assessor]
) -> None:
    """Its Python as it stands in docs/adding_a_system.md, with an untrained network in place of a trained one."""
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    made: dict[str, Any] = {}
    exec(code, made)
    recipe, member, manifest = made["RECIPE"], made["WRIST"], read_manifest()
    file = weights_in(tmp_path / "weights") / "wrist_lite0.safetensors"
    sha256 = save_network(build(member.architecture), file)
    entry = WeightsEntry(file.name, sha256, "wrist_only", "nothing", 0, "CPU", "public domain")
    calibration = replace(assessors[DEFAULT_RECIPE].calibration, bias={"wrist_lite0": LinearBias()})
    listed = Manifest({**manifest.weights, "wrist_lite0": entry}, manifest.calibration)
    sixth = Assessor(recipe, calibration, NetworkStore(listed, tmp_path / "weights"))
    report = sixth.assess(drawn, Patient("male"), explain=True)
    assert report.recipe == "wrist_only" and report.explanation.heat.shape == report.radiograph.shape
