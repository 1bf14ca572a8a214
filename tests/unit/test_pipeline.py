"""How the stages are put together, with tiny untrained networks: what the numbers are does not matter here."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from baa_core.errors import UnknownRecipe, UnreadableImage, WeightsCorrupt, WeightsMissing
from baa_core.pipeline import STAGES, Assessor, load_assessor
from baa_core.recipe import Recipe
from baa_core.types import Patient
from baa_core.weights import read_manifest


def png(seed: int = 0, height: int = 300, width: int = 240) -> bytes:
    """A drawn blob with some texture, as the bytes of a PNG."""
    rows, columns = np.mgrid[:height, :width]
    blob = ((rows - height / 2) / (height / 3)) ** 2 + ((columns - width / 2) / (width / 4)) ** 2 < 1
    texture = np.random.default_rng(seed).normal(0, 12, (height, width))
    return bytes(cv2.imencode(".png", np.clip(30 + 120 * blob + texture, 0, 255).astype(np.uint8))[1])


def assessor_in(recipe: Recipe, folder: Path) -> Assessor:
    from baa_core.calibration import Calibration

    manifest = read_manifest(folder)
    return Assessor(recipe, manifest, Calibration.from_dict(manifest.calibration[recipe.name]), folder)


def test_a_report_is_complete_and_plain(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png(), Patient("male", 121), name="folder/hand.png")
    values = json.loads(json.dumps(report.to_dict()))
    assert values["file"] == "hand.png"
    assert values["recipe"] == "tiny"
    assert set(values["members"]) == {"tiny_64", "tiny_96"}
    assert values["bone_age_months"] == pytest.approx(np.mean(list(values["members"].values())), abs=0.02)
    assert values["bone_age_months"] == values["bone_age_if_male_months"]
    assert values["versions"]["weights/tiny_64"] == tiny_assessor.manifest.weights["tiny_64"].sha256[:12]
    assert set(values["versions"]) >= {"baa_core", "torch", "python", "recipe"}
    assert report.hand.pixels.shape == report.radiograph.shape == (300, 240)
    assert report.explanation is None
    assert 0 < sum(report.stage_seconds.values()) <= report.seconds


def test_an_explanation_is_on_the_radiographs_grid(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png(), Patient("male"), explain=True)
    assert report.explanation is not None
    assert report.explanation.heat.shape == (300, 240)
    assert 0.0 <= float(report.explanation.heat.min()) <= float(report.explanation.heat.max()) <= 1.0
    assert 0.0 < report.explanation.inside_hand_share <= 1.0


def test_explaining_does_not_move_the_number(tiny_assessor: Assessor) -> None:
    months = {tiny_assessor.assess(png(), Patient("male"), explain=e).prediction.bone_age_months for e in (True, False)}
    assert len(months) == 1


def test_stages_are_told_in_order(tiny_assessor: Assessor) -> None:
    told: list[str] = []
    tiny_assessor.assess(png(), explain=True, on_stage=told.append)
    assert tuple(told) == STAGES
    told.clear()
    tiny_assessor.assess(png(), on_stage=told.append)
    assert tuple(told) == STAGES[:3]


def test_unknown_sex_uses_the_predicted_one(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png())
    assert report.sex_entered is None
    assert report.prediction.sex_used == report.sex_predicted
    assert "sex_unknown" in [caution.code for caution in report.cautions]
    assert report.sex_mismatch is False


def test_a_mismatch_needs_certainty_and_age(tiny_assessor: Assessor) -> None:
    likelier = tiny_assessor.assess(png()).sex_predicted
    other = "male" if likelier == "female" else "female"
    sure = replace(tiny_assessor.calibration, mismatch_probability=0.0, mismatch_youngest_months=0.0)
    alarmed = replace(tiny_assessor, calibration=sure).assess(png(), Patient(other))
    assert alarmed.sex_mismatch
    assert "sex_mismatch" in [caution.code for caution in alarmed.cautions]
    assert alarmed.prediction.sex_used == other
    unsure = replace(sure, mismatch_probability=0.999)
    assert not replace(tiny_assessor, calibration=unsure).assess(png(), Patient(other)).sex_mismatch
    too_young = replace(sure, mismatch_youngest_months=300.0)
    assert not replace(tiny_assessor, calibration=too_young).assess(png(), Patient(other)).sex_mismatch


def test_the_same_bytes_give_the_same_months(tiny_assessor: Assessor) -> None:
    assert len({tiny_assessor.assess(png(), Patient("female")).prediction.bone_age_months for _ in range(3)}) == 1


def test_threads_may_share_an_assessor(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    assessor = assessor_in(tiny_recipe, tiny_weights)
    alone = [tiny_months(assessor_in(tiny_recipe, tiny_weights), seed) for seed in range(4)]
    together: dict[int, float] = {}
    threads = [
        threading.Thread(target=lambda s=seed: together.update({s: tiny_months(assessor, s)})) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(4)] == pytest.approx(alone, abs=1e-4)


def tiny_months(assessor: Assessor, seed: int) -> float:
    return assessor.assess(png(seed), Patient("male"), explain=True).prediction.bone_age_months


def test_members_of_one_input_share_its_preparation(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png())
    inputs = tiny_assessor.prepare(report.radiograph, report.hand)
    assert inputs["tiny_sex"] is inputs["tiny_64"]
    assert inputs["tiny_96"] is not inputs["tiny_64"]


@pytest.mark.parametrize("content", [b"", b"hello", png()[:200]])
def test_what_cannot_be_read_is_refused_before_any_network_runs(
    tiny_recipe: Recipe, tiny_weights: Path, content: bytes
) -> None:
    assessor = assessor_in(tiny_recipe, tiny_weights)
    with pytest.raises(UnreadableImage):
        assessor.assess(content, name="hand.png")
    assert not assessor._networks


def test_a_missing_file_is_told_and_the_rest_still_works(
    tiny_recipe: Recipe, tiny_weights: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_weights, tmp_path / "weights"))
    (folder / "tiny_96.safetensors").rename(tmp_path / "aside")
    assessor = assessor_in(tiny_recipe, folder)
    with pytest.raises(WeightsMissing, match=r"weights/tiny_96\.safetensors"):
        assessor.assess(png())
    (tmp_path / "aside").rename(folder / "tiny_96.safetensors")
    assert assessor.assess(png()).prediction.bone_age_months >= 0


def test_load_assessor_reads_the_manifest_at_once(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match="deeplasia"):
        load_assessor("no such recipe")
    with pytest.raises(WeightsMissing, match="manifest"):
        load_assessor("deeplasia", weights_dir=tmp_path)
    with pytest.raises(WeightsMissing, match="no calibration for 'deeplasia'"):
        load_assessor("deeplasia", weights_dir=tiny_weights)
    values = json.loads((tiny_weights / "manifest.json").read_text())
    values["calibration"]["deeplasia"] = {}
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(WeightsCorrupt, match="calibration"):
        load_assessor("deeplasia", weights_dir=tmp_path)
