"""The commands that docs/speed.md names for figures about the engines."""

from pathlib import Path

import pytest

from baa_core.phantom import draw_phantom
from benchmarks.agreement import differences
from benchmarks.engines import parts


@pytest.mark.slow
def test_a_drawn_hand_gets_the_same_months_on_both_engines() -> None:
    apart = differences([draw_phantom(120.0, "male", height_px=500).radiograph])
    assert (apart.radiographs, apart.refused, apart.otherwise) == (1, 0, 0)
    assert apart.months < 0.01
    assert apart.probability_male < 0.001


@pytest.mark.slow
def test_every_part_on_the_engine_is_timed(tmp_path: Path) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in parts(1, tmp_path).splitlines()[2:]]
    assert {row[0].split(",")[0] for row in rows} == {"landmarks", "sex", "lite0_320_drawn", "age_joints"}
    assert all(int(cell) > 0 for row in rows for cell in row[3:6])
    gradients = {row[0].split(",")[0]: row[6:9] for row in rows}
    assert gradients["sex"] == ["–"] * 3
    assert all(int(cell) > 0 for name in ("lite0_320_drawn", "age_joints") for cell in gradients[name])
