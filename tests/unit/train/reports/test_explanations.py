"""The explanations measured over radiographs: what is counted, what is kept, and going on after an interruption."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baa_core.explanation.methods import METHODS
from baa_core.phantom import draw_phantom, to_png
from baa_core.workflows.assess import Assessor
from tests.unit.explanation.test_report import Halved, Unplaced
from train.data.samples import find_samples, read_labels
from train.reports import explanations as explain_card
from train.reports.explanations import COLUMNS, CONTROL, METHOD, REFUSED, REGION, UNPLACED


def rows_of(*rows: tuple[int, str, str, dict[str, float]]) -> pd.DataFrame:
    """Finished parts as the file holds them."""
    long = [(n, part, name, measure, value) for n, part, name, all_ in rows for measure, value in all_.items()]
    return pd.DataFrame(long, columns=list(COLUMNS))


def tried(area: float, chance: float, luckiest: float, edges: float, least: float) -> dict[str, float]:
    return {
        "area": area, "random_area": chance, "luckiest_area": luckiest, "edge_area": edges, "least_correlation": least,
        "inside_hand_share": 1.0, "map_seconds": 1.0, "seconds": 4.0,
    }  # fmt: skip


ROWS = rows_of(
    (1, METHOD, "grad_cam", tried(9.0, 4.0, 6.0, 8.0, 0.9) | {"member_agreement": 0.2}),  # beats all
    (2, METHOD, "grad_cam", tried(5.0, 4.0, 6.0, 2.0, 0.5)),  # not the luckiest map of chance, not stable
    (3, METHOD, "grad_cam", tried(7.0, 4.0, 6.0, 8.0, 0.7)),  # not the edges
    (4, METHOD, "grad_cam", tried(-1.0, 4.0, 6.0, 2.0, 0.9)),  # only the edges' size, with the wrong sign
    (1, METHOD, "integrated_gradients", tried(9.0, 4.0, 6.0, 8.0, 0.9) | {"completeness_error": 0.25}),
    (1, REGION, "carpals", {"contribution": -6.0, "chance_low": -2.0, "chance_high": 2.0}),
    (2, REGION, "carpals", {"contribution": 2.0, "chance_low": -2.0, "chance_high": 2.0}),
    (3, REGION, "carpals", {"contribution": 3.0, "chance_low": -2.0, "chance_high": 2.0}),
    (1, CONTROL, "grad_cam", {"shuffled": -3.0, "random_map": -1.0}),
    (2, CONTROL, "grad_cam", {"shuffled": 3.0, "random_map": -1.0}),
    (9, REFUSED, "HandNotFound", {"count": 1.0}),
)


def test_methods_are_counted_by_hand() -> None:
    found = explain_card.measure_methods(ROWS)
    assert list(found) == ["grad_cam", "integrated_gradients"]
    cam = found["grad_cam"]
    assert (cam["films"], cam["better_than_chance"], cam["better_than_edges"]) == (4, 0.75, 0.5)
    assert (cam["faithful"], cam["stable"], cam["relied_on"]) == (0.25, 0.75, 0.25)
    assert cam["member_agreement"]["50 %"] == pytest.approx(0.2)
    assert "member_agreement" not in found["integrated_gradients"]
    assert cam["median"]["area"] == pytest.approx(6.0)
    assert found["integrated_gradients"]["median"]["completeness_error"] == 0.25


def test_maps_that_know_nothing_are_counted_by_hand() -> None:
    assert explain_card.measure_controls(ROWS)["grad_cam"] == {"radiographs": 2, "shuffled": 0.5, "random_map": 0.0}
    assert explain_card.any_region(ROWS) == pytest.approx(2 / 3)


def test_regions_are_measured_by_age_band() -> None:
    labels = pd.DataFrame({"bone_age_months": [30.0, 40.0, 150.0]}, index=[1, 2, 3])
    found = explain_card.measure_regions(ROWS, labels)
    assert list(found) == ["0-60 months", "132-168 months"]
    young = found["0-60 months"]["carpals"]
    assert young == {"films": 2, "contribution_months": -2.0, "size_months": 4.0, "stands_out": 0.5}
    assert found["132-168 months"]["carpals"]["stands_out"] == 1.0


def test_the_tables_name_the_command() -> None:
    labels = pd.DataFrame({"bone_age_months": [30.0, 40.0, 150.0]}, index=[1, 2, 3])
    text = explain_card.to_markdown(
        {
            "command": "python -m train explanations --count 4",
            "refused": 1,
            "unplaced": 0,
            "methods": explain_card.measure_methods(ROWS),
            "controls": explain_card.measure_controls(ROWS),
            "any_region": explain_card.any_region(ROWS),
            "regions": explain_card.measure_regions(ROWS, labels),
        }
    )
    assert "python -m train explanations --count 4" in text
    assert "| Grad-CAM | 4 | 75 % | 50 % | 25 % |" in text
    assert "| carpals | -2.0, 4.0, 50 % | +3.0, 3.0, 100 % |" in text
    assert "0-60 months (n = 2)" in text


@pytest.fixture
def radiographs(tmp_path: Path) -> Path:
    """Three drawn radiographs of `val` and one of `train`; the second holds no hand."""
    lines = ["rsna_id,sex,bone_age_months,split"]
    for number, split in ((1, "val"), (2, "val"), (3, "val"), (4, "train")):
        drawn = draw_phantom(60.0 * number, "female", seed=number, height_px=300)
        picture = to_png(drawn.radiograph)
        if number == 2:
            picture = (tmp_path / "1.png").read_bytes()
        (tmp_path / f"{number}.png").write_bytes(picture)
        lines.append(f"{number},female,{60 * number},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_radiographs_are_val_only_and_spread_over_the_ages(radiographs: Path) -> None:
    labels = read_labels(radiographs / "labels.csv")
    assert [sample.rsna_id for sample in explain_card.chosen_samples([radiographs], labels, 100)] == [1, 2, 3]
    assert [sample.rsna_id for sample in explain_card.chosen_samples([radiographs], labels, 2)] == [1, 3]


@pytest.mark.slow
def test_what_is_done_is_not_done_again(radiographs: Path, tiny_assessor: Assessor) -> None:
    halved = Halved(tiny_assessor.recipe, tiny_assessor.calibration, tiny_assessor.store)
    labels, path = read_labels(radiographs / "labels.csv"), radiographs / "runs" / "rows.csv"
    samples = [sample for sample in find_samples([radiographs], labels) if sample.rsna_id in (1, 3)]
    explain_card.explain_radiographs(halved, samples[:1], labels, ["grad_cam"], path)
    first = path.read_bytes()
    explain_card.explain_radiographs(halved, samples[:1], labels, ["grad_cam"], path)
    assert path.read_bytes() == first
    path.write_bytes(first + b"3,region,fing")  # interrupted in the middle of a line
    explain_card.explain_radiographs(halved, samples, labels, ["grad_cam", "saliency"], path)
    rows = explain_card.read_rows(path)
    parts = set(zip(rows.rsna_id, rows.part, rows.name, strict=True))
    assert parts >= {(n, METHOD, name) for n in (1, 3) for name in ("grad_cam", "saliency")}
    assert parts >= {(n, REGION, name) for n in (1, 3) for name in ("fingers", "wrist_side")}
    assert set(rows[rows.part == METHOD].name) <= set(METHODS)
    assert np.isfinite(rows.value).all()
    with path.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def test_a_radiograph_whose_joints_cannot_be_placed_keeps_its_methods(
    radiographs: Path, tiny_assessor: Assessor
) -> None:
    unplaced = Unplaced(tiny_assessor.recipe, tiny_assessor.calibration, tiny_assessor.store)
    labels, path = read_labels(radiographs / "labels.csv"), radiographs / "rows.csv"
    for _ in range(2):
        explain_card.explain_radiographs(
            unplaced, explain_card.chosen_samples([radiographs], labels, 1), labels, ["grad_cam"], path
        )
    rows = explain_card.read_rows(path)
    assert rows.part.value_counts()[UNPLACED] == 1
    assert set(rows.part) == {UNPLACED, METHOD, CONTROL}
    assert explain_card.measure_regions(rows, labels) == {}


class Refusing(Halved):
    """Finds no hand in anything."""

    def find_hand(self, *_):
        from baa_core.errors import HandNotFound

        raise HandNotFound("No hand was found.")


def test_a_refused_radiograph_is_counted_and_left_alone(radiographs: Path, tiny_assessor: Assessor) -> None:
    refusing = Refusing(tiny_assessor.recipe, tiny_assessor.calibration, tiny_assessor.store)
    labels, path = read_labels(radiographs / "labels.csv"), radiographs / "rows.csv"
    samples = explain_card.chosen_samples([radiographs], labels, 1)
    for _ in range(2):
        explain_card.explain_radiographs(refusing, samples, labels, ["grad_cam"], path)
    rows = explain_card.read_rows(path)
    assert rows[["part", "name"]].to_numpy().tolist() == [[REFUSED, "HandNotFound"]]
