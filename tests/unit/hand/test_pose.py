import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from baa_core.errors import BoneAgeError, UnsupportedPose, WeightsCorrupt, WeightsMissing
from baa_core.hand.pose import NAME, FeatureSpace, check_pose, load_feature_space, save_feature_space
from baa_core.networks.build import build
from baa_core.networks.weights import Manifest, WeightsEntry, save_network, write_manifest
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes.schema import Architecture, Member
from baa_core.workflows.assess import Assessor
from tests.conftest import PLAN, assessor_of, masked
from train.calibration.pose_outliers import choose_threshold, features_of, fit_and_measure, fit_space, keep
from train.data.samples import find_samples

SHA256 = hashlib.sha256(b"network").hexdigest()


@pytest.fixture
def space() -> FeatureSpace:
    """Three features around (1, 0, 0): along the first by 2, along the second by 0.5, beside them 1 with spread 0.5."""
    return FeatureSpace(
        mean=np.array([1, 0, 0], np.float32),
        axes=np.eye(3, 2, dtype=np.float32),
        deviations=np.array([2, 0.5], np.float32),
        residual=np.array([1, 0.5], np.float32),
        threshold=np.array([3], np.float32),
        network_sha256=np.frombuffer(bytes.fromhex(SHA256), np.uint8).copy(),
    )


@pytest.mark.parametrize(
    ("features", "distance"),
    [
        ((1, 0, 0), 0.0),  # nearer to the axes than most: nothing unusual
        ((5, 0, 0), 2.0),
        ((1, -1.5, 0), 3.0),
        ((5, 1.5, 1), 13**0.5),
        ((1, 0, -3), 4.0),  # only what the axes leave over
    ],
)
def test_the_distance_is_what_one_finds_by_hand(space: FeatureSpace, features: tuple, distance: float) -> None:
    assert space.distance(np.array(features, np.float32)) == pytest.approx(distance, abs=1e-5)


def test_only_what_lies_beyond_the_threshold_is_refused(space: FeatureSpace) -> None:
    check_pose(np.array([1, -1.5, 0], np.float32), space, "hand.png")
    with pytest.raises(UnsupportedPose, match=r"in hand\.png lie unlike .* \(distance 4\.0, at most 3\.0 is read\)"):
        check_pose(np.array([1, 0, -3], np.float32), space, "hand.png")


def test_fitting_finds_the_axes_and_a_foreign_picture_lies_far() -> None:
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(20, 20)))[0]
    spread = np.r_[5.0, 3.0, 2.0, np.full(17, 0.1)]
    seen, fresh = (generator.normal(size=(n, 20)) * spread @ turn.T + 7.0 for n in (600, 200))
    space = fit_space(seen.astype(np.float32), dimensions=3, network_sha256=SHA256)
    assert sorted(space.deviations, reverse=True) == pytest.approx([5, 3, 2], rel=0.1)
    assert space.axes.T @ space.axes == pytest.approx(np.eye(3), abs=1e-4)
    distances = [space.distance(row.astype(np.float32)) for row in fresh]
    assert float(np.median(distances)) == pytest.approx(3**0.5, rel=0.15)
    beside = fresh[0] + 2.0 * turn[:, 10]
    assert space.distance(beside.astype(np.float32)) > max(distances)


@pytest.mark.parametrize(("count", "refused"), [(100, 0), (200, 1), (1000, 5)])
def test_the_threshold_refuses_no_more_than_its_share(count: int, refused: int) -> None:
    distances = np.random.default_rng(count).uniform(size=count)
    assert int((distances > choose_threshold(distances, most_refused=0.005)).sum()) == refused


def folder_with(space: FeatureSpace, folder: Path, content: bytes | None = None) -> Manifest:
    content = save_feature_space(space) if content is None else content
    (folder / "outlier.safetensors").write_bytes(content)

    def entry(file: str, sha256: str) -> WeightsEntry:
        return WeightsEntry(file, sha256, "tiny", "nothing", 0, "cpu", "public domain")

    own = entry("outlier.safetensors", hashlib.sha256(content).hexdigest())
    return Manifest({NAME: own, "age": entry("a.safetensors", SHA256)}, {})


def test_a_saved_space_comes_back_the_same(space: FeatureSpace, tmp_path: Path) -> None:
    again = load_feature_space("age", tmp_path, folder_with(space, tmp_path))
    for name, array in space.to_arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)
    assert not again.mean.flags.writeable


def test_a_space_of_other_weights_is_not_used(space: FeatureSpace, tmp_path: Path) -> None:
    older = replace(space, network_sha256=np.zeros(32, np.uint8))
    with pytest.raises(WeightsCorrupt, match=r"not fitted on the weights of 'age'.*train outliers"):
        load_feature_space("age", tmp_path, folder_with(older, tmp_path))


def test_missing_and_damaged_files_are_told(space: FeatureSpace, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"lists no 'outlier'.*train outliers"):
        load_feature_space("age", tmp_path, Manifest({}, {}))
    manifest = folder_with(space, tmp_path)
    (tmp_path / "outlier.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsCorrupt, match="not the file the manifest names"):
        load_feature_space("age", tmp_path, manifest)
    for content in (b"other", save_feature_space(space)[:-8]):
        with pytest.raises(WeightsCorrupt, match="does not hold a feature space"):
            load_feature_space("age", tmp_path, folder_with(space, tmp_path, content))


@pytest.mark.parametrize(
    "wrong", [{"mean": np.zeros(4, np.float32)}, {"deviations": np.array([1, np.nan], np.float32)}]
)
def test_a_space_that_cannot_be_is_refused(space: FeatureSpace, wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"belong together|not finite"):
        replace(space, **wrong)


@pytest.fixture(scope="module")
def drawn_hands(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Fifty drawn radiographs of `train` and three of `val`, with their labels."""
    folder = tmp_path_factory.mktemp("radiographs")
    rows = []
    for i in range(53):
        months, sex = 30.0 + 3 * i, "female" if i % 2 else "male"
        pixels = draw_phantom(months, sex, seed=i, height_px=200).radiograph.pixels  # type: ignore[arg-type]
        cv2.imwrite(str(folder / f"{i}.bmp"), np.round(pixels * 255).astype(np.uint8))
        rows.append({"rsna_id": i, "sex": sex, "bone_age_months": months, "split": "val" if i % 24 == 0 else "train"})
    return folder, pd.DataFrame(rows).set_index("rsna_id")


@pytest.fixture
def joints_assessor(tiny_assessor: Assessor, tiny_weights: Path, tmp_path: Path) -> Assessor:
    """The tiny networks and one that places joints, in a folder of their own."""
    shape = Architecture("test_efficientnet", task="landmarks", hidden=(16,), sex_features=0)
    member = Member("tiny_joints", shape, masked(64), PLAN)
    folder = Path(shutil.copytree(tiny_weights, tmp_path / "weights"))
    sha256 = save_network(build(shape), folder / "tiny_joints.safetensors")
    entry = WeightsEntry("tiny_joints.safetensors", sha256, "tiny", "nothing", 0, "cpu", "public domain")
    known = tiny_assessor.store.manifest
    write_manifest(Manifest({**known.weights, "tiny_joints": entry}, known.calibration), folder)
    return assessor_of(replace(tiny_assessor.recipe, landmarks=member), folder)


@pytest.mark.slow
def test_a_space_is_fitted_measured_kept_and_served(
    joints_assessor: Assessor, drawn_hands: tuple[Path, pd.DataFrame]
) -> None:
    """The whole of `python -m train outliers`, with tiny networks; and what it writes is what serving goes by."""
    radiographs, labels = drawn_hands
    hand = draw_phantom(60.0, "male", seed=0, height_px=200).radiograph
    with pytest.raises(WeightsMissing, match="poses outside the training distribution cannot be refused"):
        joints_assessor.assess(to_png(hand))
    space, table = fit_and_measure(joints_assessor, find_samples([radiographs], labels), labels, [])
    assert table["train, sharp"]["hands"] == 50
    assert table["val, sharp"]["share_refused"] == 0.0
    assert table["val, squeezed to a side view"]["pictures"] == 3
    keep(joints_assessor, space, table, 1.0, joints_assessor.store.folder)
    served = assessor_of(joints_assessor.recipe, joints_assessor.store.folder)
    told = json.loads((served.store.folder / "evaluation" / "outliers.json").read_text())
    assert told["threshold"] == pytest.approx(float(space.threshold[0]), abs=1e-3)
    shape = features_of(served, hand)
    assert shape is not None and shape.shape == space.mean.shape
    # A hand it was fitted on: whether untrained networks take another one in differs from machine to machine.
    assert 0 < served.assess((radiographs / "1.bmp").read_bytes()).prediction.bone_age_months < 300
    none = replace(space, threshold=np.zeros(1, np.float32))
    keep(joints_assessor, none, table, 1.0, joints_assessor.store.folder)
    with pytest.raises(UnsupportedPose, match="seen from the front"):
        assessor_of(joints_assessor.recipe, joints_assessor.store.folder).assess(to_png(hand))


@pytest.mark.slow
def test_too_few_radiographs_are_reported(joints_assessor: Assessor, drawn_hands: tuple[Path, pd.DataFrame]) -> None:
    radiographs, labels = drawn_hands
    few = labels.iloc[:12]
    samples = find_samples([radiographs], few)
    with pytest.raises(BoneAgeError, match=r"Only 11 sharp train radiographs .* more than 48 are needed"):
        fit_and_measure(joints_assessor, samples, few, [])


def test_a_recipe_that_places_no_joints_is_told(tiny_assessor: Assessor) -> None:
    with pytest.raises(BoneAgeError, match="'tiny' has no network that places joints"):
        fit_and_measure(tiny_assessor, [], pd.DataFrame(), [])
