import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from baa_core.estimation.calibration import LinearBias
from baa_core.phantom import draw_phantom
from baa_core.workflows.assess import Assessor
from train.reports import components as results


def radiographs() -> pd.DataFrame:
    """Two radiographs read by members a and b: months by views and sex, written so that every variant differs."""
    table = pd.DataFrame({"sex": ["female", "male"], "sex_predicted": ["male", "male"], "true_months": [100.0, 120.0]})
    for number, member in enumerate(("a", "b")):
        for step, views in enumerate(results.VIEWS):
            for sex, more in (("female", 0.0), ("male", 10.0)):
                value = 100.0 + 4 * number + step + more
                table[results.READING.format(member=member, views=views, sex=sex)] = value
    return table


LINES = {"a": LinearBias(0.0, 1.0), "b": LinearBias(0.0, -1.0)}
WEIGHTS = {"a": 1.0, "b": 1.0}


def test_members_are_corrected_and_averaged_for_the_sex_named() -> None:
    # mirrored: a 101 - 1, b 105 + 1 for a girl; 10 more for a boy
    assert results.months(radiographs(), LINES, WEIGHTS, "mirrored", "sex").tolist() == [103.0, 113.0]
    assert results.months(radiographs(), LINES, WEIGHTS, "mirrored", "sex_predicted").tolist() == [113.0, 113.0]
    assert results.months(radiographs(), LINES, {"a": 2.0, "b": 1.0}, "mirrored", "sex").tolist() == [102.0, 112.0]
    assert results.months(radiographs(), {"a": LINES["a"]}, WEIGHTS, "plain", "sex").tolist() == [99.0, 109.0]


def test_no_estimate_is_below_zero() -> None:
    assert results.months(radiographs(), {"a": LinearBias(0.0, 1000.0)}, WEIGHTS, "plain", "sex").tolist() == [0.0, 0.0]


class Calibrated:
    bias = LINES


def test_a_recipe_without_bias_lines_is_measured_as_it_is_served() -> None:
    class Plain:
        bias: dict[str, LinearBias] = {}  # noqa: RUF012

    estimates = results.variants(radiographs(), Plain(), WEIGHTS, {"female": 90.0, "male": 130.0})  # type: ignore[arg-type]
    assert estimates["as served"].tolist() == [103.0, 113.0]
    assert estimates["a alone"].tolist() == [101.0, 111.0]
    assert "without bias correction" not in estimates


def test_every_variant_is_measured_against_the_label() -> None:
    estimates = results.variants(radiographs(), Calibrated(), WEIGHTS, {"female": 90.0, "male": 130.0})  # type: ignore[arg-type]
    measured = results.measure(radiographs(), estimates)
    assert measured["as served"]["mae_months"] == pytest.approx((3 + 7) / 2)
    assert measured["as served"]["mean_difference_by_sex_months"] == {"female": 3.0, "male": -7.0}
    assert measured["a alone"]["mae_months"] == pytest.approx((0 + 10) / 2)
    assert measured["predicted in place of entered sex"]["mae_months"] == pytest.approx((13 + 7) / 2)
    assert measured["mean by sex, picture not looked at"]["mae_months"] == pytest.approx(10)
    assert measured["without bias correction"]["mae_months"] == pytest.approx((3 + 7) / 2)  # 1 and -1 cancel
    assert measured["turned by -10, -5, 0, 5, 10 degrees as well"]["mae_months"] == pytest.approx((4 + 6) / 2)
    assert measured["as served, 96-132 months"]["n"] == 2 and "as served, 0-24 months" not in measured
    document = {"command": "made so", "splits": {"val": {"refused": {"HandCutOff": 1}, "variants": measured}}}
    lines = results.to_markdown(document).splitlines()
    assert "Refused: 1 HandCutOff." in lines
    (served,) = (line for line in lines if line.startswith("| as served |"))
    assert "5.00 [3.00, 7.00]" in served and "100.0 %" in served and "+3.00 | -7.00" in served


def test_drawn_radiographs_are_read_and_refused_ones_kept_with_their_reason(
    tiny_assessor: Assessor, tmp_path: Path
) -> None:
    hand = np.round(255 * draw_phantom(120.0, "female", height_px=400).radiograph.pixels).astype(np.uint8)
    rows = ["rsna_id,sex,bone_age_months,split"]
    for number, (split, picture) in enumerate(
        (("val", hand), ("test", hand), ("test", np.zeros((300, 300), np.uint8)))
    ):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), picture)
        rows.append(f"{number},female,{100 + number},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    labels = results.read_labels(tmp_path / "labels.csv")
    table = results.read_radiographs(tiny_assessor, results.find_samples([tmp_path], labels), labels)
    assert table.true_months.tolist() == [100.0, 101.0, 102.0]
    assert table.refused.notna().tolist() == [False, False, True]
    assert np.isfinite(
        results.months(table[:2], {"tiny_64": LinearBias()}, tiny_assessor.recipe.weights, "turned", "sex")
    ).all()


def test_a_batch_is_measured_with_each_network_alone_and_without_each_by_weight(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "rsna_id,sex,bone_age_months,split\n1,female,100,test\n2,male,120,test\n3,male,90,test\n"
    )
    members = {"lite0_320_drawn": (102.0, 120.0), "age_bones": (105.0, 108.0), "age_joints": (104.0, 110.0)}
    by_radiograph = [json.dumps({name: months[n] for name, months in members.items()}) for n in range(2)]
    said = pd.DataFrame(
        {
            "rsna_id": [1, 2, 3],
            "status": ["ok", "ok", "refused"],
            "bone_age_months": [103.0, 115.0, None],
            "members": [*by_radiograph, None],
            "error_type": [None, None, "HandCutOff"],
        }
    )
    said.to_csv(tmp_path / "said.csv", index=False)
    words = ["lite", "--batch", str(tmp_path / "said.csv"), "--labels", str(tmp_path / "labels.csv")]
    assert results.main([*words, "--weights", str(tmp_path)]) == 0
    text = (tmp_path / "evaluation" / "lite" / "results.md").read_text()
    assert "Refused: 1 HandCutOff." in text
    errors = {row.split("|")[1].strip(): row.split("|")[3].split()[0] for row in text.splitlines() if " | 2 |" in row}
    assert errors["as served"] == "4.00"
    assert errors["age_bones alone"] == "8.50"
    assert errors["without age_joints"] == "3.50"  # weights 2 and 1: 103 and 116 months


def test_it_is_said_how_alike_the_networks_errors_are() -> None:
    rows = radiographs()
    estimates = {results.SERVED: rows.true_months}
    noise = pd.Series(range(len(rows)), index=rows.index, dtype=float)
    estimates |= {"a alone": rows.true_months + noise, "b alone": rows.true_months - noise}
    assert results.correlations(rows, estimates) == {"a, b": -1.0}
