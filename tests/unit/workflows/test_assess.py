"""How the stages are put together, with tiny untrained networks: what the numbers are does not matter here."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baa_core.errors import UnknownRecipe, UnreadableImage, WeightsCorrupt, WeightsMissing
from baa_core.estimation.conformal import COVERAGE, Difficulty, IntervalModel
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes.schema import Recipe
from baa_core.types import Patient
from baa_core.workflows.assess import STAGES, Assessor, load_assessor
from tests.conftest import assessor_of
from tests.hostile import dicom_bytes


def png(seed: int = 0) -> bytes:
    """A drawn hand, 300 x 240 px, another child by the seed, as the bytes of a PNG."""
    return to_png(draw_phantom(120.0, "male", seed=seed, height_px=300).radiograph)


def test_a_report_is_complete_and_plain(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png(), Patient("male", 121), name="folder/hand.png")
    values = json.loads(json.dumps(report.to_dict()))
    assert values["file"] == "hand.png"
    assert values["recipe"] == "tiny"
    assert set(values["members"]) == {"tiny_64", "tiny_96"}
    assert values["bone_age_months"] == pytest.approx(np.mean(list(values["members"].values())), abs=0.02)
    assert values["bone_age_months"] == values["bone_age_if_male_months"]
    assert values["versions"]["weights/tiny_64"] == tiny_assessor.store.manifest.weights["tiny_64"].sha256[:12]
    assert set(values["versions"]) >= {"baa_core", "torch", "python", "recipe"}
    assert report.hand.pixels.shape == report.radiograph.shape == (300, 240)
    assert report.explanation is None
    assert 0 < sum(report.stage_seconds.values()) <= report.seconds


def test_an_explanation_is_on_the_radiographs_grid(tiny_assessor: Assessor) -> None:
    report = tiny_assessor.assess(png(), Patient("male"), explain=True)
    assert report.explanation is not None
    assert report.explanation.heat.shape == (300, 240)
    assert report.explanation.inside_hand_share > 0.0


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


def test_a_header_of_the_other_sex_is_told_beside_the_number(tiny_assessor: Assessor) -> None:
    stored = (draw_phantom(120.0, "male", height_px=300).radiograph.pixels * 4095).astype(np.uint16)
    data = dicom_bytes(stored, PatientSex="M")
    for sex, told in (("female", True), ("male", False)):
        codes = {caution.code for caution in tiny_assessor.assess(data, Patient(sex=sex)).cautions}
        assert ("sex_contradicts_file" in codes) == told


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


@pytest.mark.parametrize(("agrees_from", "checked"), [(0.0, "agrees"), (1.0, "inconclusive")])
def test_a_sex_that_the_picture_leaves_open_is_not_said_to_agree(
    tiny_assessor: Assessor, agrees_from: float, checked: str
) -> None:
    """An untrained network is sure of nothing: below the limit nothing is settled, though the entry is likelier."""
    known = replace(tiny_assessor.calibration, agreement_probability=agrees_from)
    assessor = replace(tiny_assessor, calibration=known)
    report = assessor.assess(png(), Patient(assessor.assess(png()).sex_predicted))
    assert (report.sex_check, report.to_dict()["sex_check"]) == (checked, checked)
    assert assessor.assess(png()).sex_check == "not_checked"
    young = replace(assessor, calibration=replace(known, mismatch_youngest_months=300.0))
    assert young.assess(png(), Patient("male")).sex_check == "not_checked"


def test_the_interval_of_an_unknown_sex_covers_both_estimates(tiny_assessor: Assessor) -> None:
    """However narrow each sex's own interval is."""
    narrow = IntervalModel(Difficulty((0.0,), (0.002,), 0.0, 0.0, 0.001), {0.5: 0.4, COVERAGE: 1.0})
    assessor = replace(tiny_assessor, calibration=replace(tiny_assessor.calibration, interval=narrow))
    report = assessor.assess(png())
    low, high = report.prediction.interval_months
    assert 0.2 < report.sex_probability_male < 0.8
    both = report.bone_age_if_female_months, report.bone_age_if_male_months
    assert abs(both[1] - both[0]) > 0.004  # so that neither interval holds the other estimate
    assert low < min(both) < max(both) < high
    own = assessor.assess(png(), Patient(report.sex_predicted)).prediction
    assert own.bone_age_months == report.prediction.bone_age_months
    assert own.interval_months[1] - own.interval_months[0] == pytest.approx(0.004)


def test_the_interval_is_as_wide_as_this_pictures_doubts(tiny_assessor: Assessor) -> None:
    """One member spreads its belief over months, the other does not, and they disagree: both must reach the width."""
    report = tiny_assessor.assess(png(), Patient("male"))
    outputs = tiny_assessor.run_networks(tiny_assessor.prepare(report.radiograph, report.hand))

    def half_width(**doubts: float) -> float:
        interval = tiny_assessor.calibration.interval
        model = replace(interval, scale=replace(interval.scale, base_months=(200.0, 200.0), **doubts))
        assessor = replace(tiny_assessor, calibration=replace(tiny_assessor.calibration, interval=model))
        prediction = assessor.estimate(outputs, Patient("male")).prediction
        return prediction.interval_months[1] - prediction.bone_age_months

    assert half_width() == pytest.approx(200.0)
    spread = float(np.std(list(report.prediction.members.values())))
    assert half_width(per_member_spread=2.0) == pytest.approx(200 + 2 * spread)
    assert half_width(per_deviation=1.0) > 220  # half of what an untrained softmax over 240 months has, 69


def test_the_error_beyond_the_trained_range_is_told(tiny_assessor: Assessor) -> None:
    young = replace(tiny_assessor.calibration, trained_range_months={"female": (1.0, 50.0), "male": (1.0, 50.0)})
    report = replace(tiny_assessor, calibration=young).assess(png(), Patient("male"))
    (caution,) = [c for c in report.cautions if c.code == "age_range"]
    assert "over 50 months" in caution.message
    assert "11.2 months on average (21 pictures" in caution.message


def test_the_same_bytes_give_the_same_months(tiny_assessor: Assessor) -> None:
    assert len({tiny_assessor.assess(png(), Patient("female")).prediction.bone_age_months for _ in range(3)}) == 1


@pytest.mark.slow
def test_threads_may_share_an_assessor(tiny_recipe: Recipe, tiny_weights: Path) -> None:
    assessor = assessor_of(tiny_recipe, tiny_weights)
    alone = [tiny_months(assessor_of(tiny_recipe, tiny_weights), seed) for seed in range(4)]
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
    assessor = assessor_of(tiny_recipe, tiny_weights)
    with pytest.raises(UnreadableImage):
        assessor.assess(content, name="hand.png")
    assert not assessor.store.loaded


def test_a_missing_file_is_told_and_the_rest_still_works(
    tiny_recipe: Recipe, tiny_weights: Path, tiny_assessor: Assessor, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_weights, tmp_path / "weights"))
    (folder / "tiny_96.safetensors").rename(tmp_path / "aside")
    assessor = assessor_of(tiny_recipe, folder)
    with pytest.raises(WeightsMissing, match=r"weights/tiny_96\.safetensors"):
        assessor.assess(png())
    (tmp_path / "aside").rename(folder / "tiny_96.safetensors")
    months = [one.assess(png()).prediction.bone_age_months for one in (assessor, tiny_assessor)]
    assert months[0] == pytest.approx(months[1], abs=1e-4)


def test_load_assessor_reads_the_manifest_at_once(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match="deeplasia"):
        load_assessor("no such recipe")
    with pytest.raises(WeightsMissing, match="manifest"):
        load_assessor("deeplasia", weights_dir=tmp_path)
    with pytest.raises(WeightsMissing, match="weights of Deeplasia are not in the weights folder"):
        load_assessor("deeplasia", weights_dir=tiny_weights)
    values = json.loads((tiny_weights / "manifest.json").read_text())
    values["calibration"]["deeplasia"] = {}
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(WeightsCorrupt, match="calibration"):
        load_assessor("deeplasia", weights_dir=tmp_path)
