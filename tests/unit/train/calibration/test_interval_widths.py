"""Widths that follow the picture, on made-up children whose errors grow with what the networks doubt."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from baa_core.errors import InvalidTable
from baa_core.estimation.calibration import Calibration, LinearBias
from baa_core.estimation.conformal import COVERAGE, LEVELS, Difficulty, IntervalModel, UncertaintyFeatures, interval
from baa_core.networks.weights import Manifest, read_manifest, write_manifest
from baa_core.phantom import draw_phantom, to_png
from baa_core.recipes import DEFAULT_RECIPE, RECIPES
from baa_core.reporting.charts import BLUE, ORANGE
from baa_core.types import DISCLAIMER, Patient
from baa_core.workflows.assess import Assessor
from train.calibration import calibrate
from train.calibration.interval_widths import (
    FLOOR_MONTHS,
    KNOTS_MONTHS,
    ONE_WIDTH,
    cross_validate,
    fit_scale,
    fit_widths,
    fit_widths_at_low_resolution,
    measure_coverage,
    measure_unknown_sex,
    reliability_drawing,
    signals_of,
    to_markdown,
    validate_coverage,
)
from train.data.samples import find_samples

RECIPE = RECIPES[DEFAULT_RECIPE]


def children(thumbnails: int, sharp: int, seed: int = 0, of_age: bool = True) -> pd.DataFrame:
    """Rows of `val`: normal errors as large as age, deviation and member spread say; thumbnails half as large again."""
    random = np.random.default_rng(seed)
    n = thumbnails + sharp
    true = np.clip(random.normal(127, 41, n), 3, 228)
    deviation, spread = random.uniform(4, 14, n), random.gamma(2, 1.5, n)
    kind = np.repeat(["thumbnails", "sharp"], [thumbnails, sharp])
    size = 0.5 * deviation + 0.6 * spread + (np.interp(true, [24, 132, 204], [6, 1, 3]) if of_age else 0)
    months = np.maximum(0, true + random.normal(size=n) * size * np.where(kind == "sharp", 1.0, 1.5))
    return pd.DataFrame(
        {
            "months": months,
            "deviation_months": deviation,
            "member_spread_months": spread,
            "true_months": true,
            "sex": random.choice(["female", "male"], n),
            "kind": kind,
        }
    )


def test_the_scale_finds_what_the_errors_follow() -> None:
    """A normal error of size s stays under 1.645 s in nine of ten cases; thumbnails have 1.5 times that."""
    scale = fit_scale(children(2500, 0, of_age=False))
    assert scale.per_deviation == pytest.approx(1.645 * 1.5 * 0.5, rel=0.25)
    assert scale.per_member_spread == pytest.approx(1.645 * 1.5 * 0.6, rel=0.3)
    assert np.mean(scale.base_months) < 2.5


def test_widths_grow_with_each_doubt() -> None:
    pictures = children(500, 100)
    model = fit_widths(pictures)
    plain = pictures.head(1).assign(months=130.0, deviation_months=6.0, member_spread_months=2.0)
    unsure, apart = plain.assign(deviation_months=12.0), plain.assign(member_spread_months=8.0)
    young = plain.assign(months=20.0)
    width = {name: float(model.half_width(signals_of(row))[0]) for name, row in
             {"plain": plain, "unsure": unsure, "apart": apart, "young": young}.items()}  # fmt: skip
    assert min(width["unsure"], width["apart"]) > width["plain"] + 2
    assert width["young"] > width["plain"] + 2
    assert model.count == 100
    assert set(model.factors) == set(LEVELS)


def test_the_factor_belongs_to_sharp_radiographs() -> None:
    """Thumbnails made the scale, with errors half as large again: the factor takes that back."""
    assert fit_widths(children(2000, 1000)).factors[COVERAGE] == pytest.approx(1 / 1.5, abs=0.06)


def test_neighbouring_knots_do_not_jump() -> None:
    """The same error at every age gives nearly the same base at every knot, also where hardly anybody is."""
    pictures = children(500, 0).assign(deviation_months=0.0, member_spread_months=0.0)
    pictures.months = pictures.true_months + np.random.default_rng(1).normal(0, 10, len(pictures))
    base = fit_scale(pictures).base_months
    assert len(base) == len(KNOTS_MONTHS)
    assert np.abs(np.diff(base)).max() < 5
    assert min(base) > 12


def test_one_regression_network_gets_widths_by_age_alone() -> None:
    silent = children(500, 100).assign(deviation_months=0.0, member_spread_months=0.0)
    model = fit_widths(silent)
    assert (model.scale.per_deviation, model.scale.per_member_spread) == (0.0, 0.0)
    low, high = interval(UncertaintyFeatures(*np.array([100.0, 0.0, 0.0])), model)
    assert high - low > 2 * FLOOR_MONTHS * model.factors[COVERAGE]


@pytest.mark.slow
def test_cross_validated_coverage_holds_over_all_and_in_every_band() -> None:
    """Ten sets as large as ours: the promise is kept over all, by sex and in each band that is large enough."""
    shares: dict[str, list[float]] = {}
    for seed in range(10):
        pictures = children(500, 100, seed)
        for name, group in measure_coverage(pictures, cross_validate(pictures)[COVERAGE]).items():
            if group["n"] >= 15:
                shares.setdefault(name, []).append(group["share"])
    assert {"all", "female", "male", "female 72-108 months", "male 144-180 months"} <= set(shares)
    assert np.mean(shares.pop("all")) == pytest.approx(0.9, abs=0.02)
    for name, found in shares.items():
        assert 0.85 < np.mean(found) < 0.95, name


def test_one_width_for_all_fails_those_it_should_fail() -> None:
    """Without its signals the interval is too narrow for the unsure pictures: what the new widths are for."""
    pictures = children(1000, 400)
    unsure = (pictures.deviation_months > 11) & (pictures.kind == "sharp")
    errors = (pictures.true_months - pictures.months).abs()
    held = {
        name: float((errors <= halves[COVERAGE])[unsure].mean())
        for name, halves in (("own", cross_validate(pictures)), ("one", cross_validate(pictures, lambda _: ONE_WIDTH)))
    }
    assert held["one"] < 0.87 < held["own"]


def test_no_picture_is_judged_by_a_fit_that_saw_it() -> None:
    """Moving one reference leaves this picture's own width as it was."""
    pictures = children(150, 60)
    before = cross_validate(pictures)
    for place in (3, 170):
        moved = pictures.copy()
        moved.loc[place, "true_months"] += 200
        after = cross_validate(moved)
        assert (after.loc[place] == before.loc[place]).all()
        assert (after != before).any(axis=None)


def test_too_few_pictures_are_said() -> None:
    with pytest.raises(InvalidTable, match="Only 89 val pictures of the kind 'thumbnails'"):
        fit_widths(children(89, 100))
    with pytest.raises(InvalidTable, match="Only 29 val pictures of the kind 'sharp'"):
        fit_widths(children(100, 29))


def test_the_proof_says_where_an_aim_is_missed() -> None:
    pictures = children(300, 60)
    validation = validate_coverage(pictures, fit_widths(pictures))
    json.dumps(validation, allow_nan=False)
    name = "sharp radiographs, n = 60"
    assert set(validation["coverage"][name]) >= {"all", "female", "male"}
    validation["coverage"][name]["all"]["share"] = 0.5
    text = to_markdown(validation, "the command")
    assert "Made by `the command`" in text
    assert "| all | 60 | 50.0 % | 87-93 %, missed |" in text
    assert all(f"| {100 * level:g} % |" in text for level in LEVELS)


def networks_said(seed: int = 0) -> pd.DataFrame:
    """A table as `train calibrate` keeps it: every member a little off, on `train` and `val`."""
    random = np.random.default_rng(seed)
    pictures = children(300, 400, seed)
    split = np.where((pictures.kind == "sharp") & (pictures.index < 600), "train", "val")
    table = pictures[["kind", "sex", "true_months"]].assign(
        rsna_id=pictures.index, split=split, probability_male=np.where(pictures.sex == "male", 0.9, 0.1)
    )
    for member in RECIPE.members:
        table[member.name] = 0.8 * (pictures.months + random.normal(0, 3, len(pictures))) + 20
        table[f"{member.name}_deviation"] = pictures.deviation_months
    return table


def test_a_kept_table_is_calibrated_again_without_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, weights = tmp_path / "kept.csv", tmp_path / "weights"
    weights.mkdir()
    write_manifest(Manifest({}, {"another": {"kept": 1}}), weights)
    networks_said().to_csv(table, index=False)
    words = [RECIPE.name, "--table", str(table), "--weights", str(weights)]
    assert calibrate.main(words) == 0
    calibration = Calibration.from_dict(json.loads(capsys.readouterr().out))
    kept = read_manifest(weights).calibration
    assert kept["another"] == {"kept": 1}
    assert Calibration.from_dict(kept[RECIPE.name]) == calibration
    for line in calibration.bias.values():
        assert line.correct(0.8 * 100 + 20) == pytest.approx(100, abs=6)  # fitted on 100 pictures
    assert calibration.interval.scale.per_deviation > 0.3
    document = json.loads((weights / "evaluation" / RECIPE.name / "coverage.json").read_text())
    assert f"--table {table}" in document["command"]
    assert document["command"] in (weights / "evaluation" / RECIPE.name / "coverage.md").read_text()
    assert 0.8 < document["coverage"]["sharp radiographs, n = 100"]["all"]["share"] < 0.98
    assert "held" in (weights / "evaluation" / RECIPE.name / "reliability.svg").read_text()


def test_when_an_entry_is_questioned_can_come_from_another_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_manifest(Path("weights")).calibration
    theirs = {
        **own["deeplasia"],
        "sex_mismatch": {"probability": 0.987, "agreement_probability": 0.9, "youngest_months": 50.0},
    }
    write_manifest(Manifest({}, {RECIPE.name: own[RECIPE.name], "deeplasia": theirs}), tmp_path)
    assert calibrate.main([RECIPE.name, "--sex-from", "deeplasia", "--weights", str(tmp_path)]) == 0
    found = read_manifest(tmp_path).calibration
    assert found == {RECIPE.name: {**own[RECIPE.name], "sex_mismatch": theirs["sex_mismatch"]}, "deeplasia": theirs}
    capsys.readouterr()
    assert calibrate.main([RECIPE.name, "--sex-from", "li2021", "--weights", str(tmp_path)]) == 1
    assert "'li2021' has no calibration yet" in capsys.readouterr().err


def test_the_error_beyond_the_trained_range_is_by_reference_and_sex() -> None:
    rows = [("female", 20, 26), ("female", 169, 160), ("female", 200, 193), ("male", 190, 150), ("male", 205, 200)]
    pictures = pd.DataFrame(rows, columns=["sex", "true_months", "months"])
    found = calibrate.measure_range_error(pictures)
    said = {sex: {end: (e.n, e.mae_months) for end, e in ends.items()} for sex, ends in found.items()}
    assert said == {
        "female": {"young": (1, 6.0), "old": (2, 8.0)},
        "male": {"young": (0, None), "old": (1, 5.0)},
    }


def test_test_rows_change_nothing() -> None:
    table = networks_said()
    more = pd.concat([table, table.assign(split="test", true_months=1.0)], ignore_index=True)
    (one, pictures, said), (other, same, again) = (calibrate.choose_bias(RECIPE, some) for some in (table, more))
    assert (one, said) == (other, again)
    assert calibrate.fit_calibration(one, pictures) == calibrate.fit_calibration(other, same)


def test_no_bias_line_is_applied_where_it_helps_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Members that are right on average, known on `val` alone: a line would follow chance."""
    table = networks_said().query("split == 'val'")
    for member in RECIPE.members:
        table[member.name] = (table[member.name] - 20) / 0.8
    middle = np.mean([table[member.name] for member in RECIPE.members], axis=0)
    table["true_months"] = middle + np.random.default_rng(3).normal(0, 9, len(table))
    table.to_csv(tmp_path / "kept.csv", index=False)
    write_manifest(Manifest({}, {}), tmp_path)
    assert calibrate.main([RECIPE.name, "--table", str(tmp_path / "kept.csv"), "--weights", str(tmp_path)]) == 0
    assert "no bias line: mean absolute error on 100 sharp val" in capsys.readouterr().err
    kept = read_manifest(tmp_path).calibration[RECIPE.name]
    assert "bias" not in kept and not Calibration.from_dict(kept).bias
    assert "No bias line" in (tmp_path / "evaluation" / RECIPE.name / "coverage.md").read_text()


def test_no_picture_is_corrected_by_a_line_that_saw_it() -> None:
    """Moving one reference leaves the picture's own estimate as it was, and moves those of other folds."""
    table = networks_said()
    lines, before, _ = calibrate.choose_bias(RECIPE, table)
    assert lines
    place = table.index[(table.split == "val") & (table.kind == "sharp")][3]
    moved = table.copy()
    moved.loc[place, "true_months"] += 15
    after = calibrate.choose_bias(RECIPE, moved)[1]
    row = int(before.index[before.rsna_id == table.rsna_id[place]][0])
    assert after.months[row] == before.months[row]
    assert (after.months != before.months).any()


def test_coverage_with_the_sex_left_out_is_held_by_the_mixture_alone() -> None:
    """Sexes 30 months apart, and a picture that hardly tells them: the likelier one's own interval misses many."""
    random = np.random.default_rng(0)
    pictures = children(300, 100)
    male = random.uniform(0.3, 0.7, len(pictures))
    true_is_male = random.random(len(pictures)) < male
    other = pictures.months + np.where(true_is_male, -30.0, 30.0)
    pictures = pictures.assign(
        sex=np.where(true_is_male, "male", "female"),
        probability_male=male,
        other_months=other.clip(lower=0),
        other_deviation_months=pictures.deviation_months,
        other_member_spread_months=pictures.member_spread_months,
    )
    found = measure_unknown_sex(pictures, 0.75)
    assert set(found) == {"all pictures", "sharp", "sex not settled"}
    everyone = found["all pictures"]
    assert everyone["n"] == 400
    assert everyone["likelier"]["share"] < 0.8 < 0.86 < everyone["mixture"]["share"] < 0.97
    assert everyone["mixture"]["width_months"] > everyone["likelier"]["width_months"]


def test_wrong_tables_are_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(Manifest({}, {}), tmp_path)
    table = tmp_path / "kept.csv"

    def said() -> str:
        assert calibrate.main([RECIPE.name, "--table", str(table), "--weights", str(tmp_path)]) == 1
        return capsys.readouterr().err

    assert "kept.csv cannot be read" in said()
    networks_said().drop(columns="probability_male").to_csv(table)
    assert "lacks the columns ['probability_male']" in said()
    assert not read_manifest(tmp_path).calibration
    with pytest.raises(SystemExit):
        calibrate.main([RECIPE.name])
    assert "--images and --labels are needed" in capsys.readouterr().err


def test_the_table_holds_what_serving_answers(tiny_assessor: Assessor, tmp_path: Path) -> None:
    """Estimate and width made from a table's row are those of the report of the same picture."""
    pixels = [draw_phantom(months, "male", height_px=300).radiograph for months in (90, 150)]
    for number, radiograph in enumerate(pixels):
        (tmp_path / f"{number}.png").write_bytes(to_png(radiograph))
    labels = pd.DataFrame({"sex": "male", "bone_age_months": [90, 150], "split": "val"}, index=[0, 1])
    doubtful = Difficulty((0.0,), (50.0,), 0.5, 1.0, 1.0)
    known = replace(tiny_assessor.calibration, interval=IntervalModel(doubtful, {COVERAGE: 1.0}))
    assessor = replace(tiny_assessor, calibration=known)
    table = calibrate.predict_all(assessor, find_samples([tmp_path], labels), labels)
    assert (table.tiny_96_deviation == 0).all()  # a regression network
    assert (table.tiny_64_deviation > 1).all()
    pictures = calibrate.ensemble(assessor.recipe, dict(known.bias), table)
    halves = known.interval.half_width(signals_of(pictures))
    for row, half in zip(pictures.itertuples(), halves, strict=True):
        prediction = assessor.assess(tmp_path / f"{row.rsna_id}.png", Patient("male")).prediction
        assert row.months == pytest.approx(prediction.bone_age_months, abs=1e-3)
        assert row.months + half == pytest.approx(prediction.interval_months[1], abs=1e-3)


def test_members_are_corrected_as_in_serving() -> None:
    """No member is below birth before the mean is taken."""
    table = networks_said().head(2).assign(split="val")
    bias = {member.name: LinearBias(0.0, 500.0) for member in RECIPE.members}
    assert calibrate.ensemble(RECIPE, bias, table).months.tolist() == [0.0, 0.0]


def test_reliability_lies_beside_the_promise() -> None:
    """What keeps its promise lies on the dashed line, what holds less lies below it."""
    drawing = ElementTree.fromstring(reliability_drawing({"sharp": {0.5: 0.5, 0.9: 0.9}, "a < b": {0.5: 0.45}}))
    tag = "{http://www.w3.org/2000/svg}"
    exact, (low,) = ([c for c in drawing.iter(f"{tag}circle") if c.get("fill") == look] for look in (BLUE, ORANGE))
    assert [float(c.get("cx")) - 48 for c in exact] == [pytest.approx(352 - float(c.get("cy")), abs=0.2) for c in exact]
    assert low.get("cx") == exact[0].get("cx") and float(low.get("cy")) > float(exact[0].get("cy"))
    said = [text.text for text in drawing.iter(f"{tag}text")]
    assert {"sharp", "a < b", DISCLAIMER} <= set(said)


def test_pictures_that_a_network_is_left_out_of_get_an_interval_of_their_own() -> None:
    """Thumbnails answered by fewer networks say nothing about how wide a sharp radiograph's interval must be."""
    pictures = children(400, 300)
    pictures["low_resolution"] = pictures.kind == "thumbnails"
    low = pictures[pictures.low_resolution]
    sharp = pictures[~pictures.low_resolution]
    wider = fit_widths_at_low_resolution(pictures)
    assert wider is not None
    for model, own in ((fit_widths(pictures), sharp), (wider, low)):
        held = (own.true_months - own.months).abs() <= model.half_width(signals_of(own))
        assert 0.88 <= held.mean() <= 0.95
    shifted = pictures.assign(true_months=pictures.true_months + 40 * pictures.low_resolution)
    assert fit_widths(shifted).factors == fit_widths(pictures).factors
    assert fit_widths_at_low_resolution(children(100, 30)) is None
