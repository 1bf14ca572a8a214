"""Rows on several processes are those of one, and a process that is killed loses none of them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from baa_core.errors import InvalidTable, WeightsMissing
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.evaluation.tables import read_table
from baa_core.types import HandChoice, Patient


@dataclass
class Result:
    """What stands for a report: it says which row it is of."""

    values: dict

    def to_dict(self) -> dict:
        return self.values


class Fake:
    """An assessor that answers at once; of files named so it kills its process, once or each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def assess(self, source: Path, patient: Patient, *, hand: HandChoice | None = None) -> Result:
        name = Path(source).name
        mark = self.folder / f"{name}.seen"
        if name.startswith("always") or (name.startswith("once") and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("bad"):
            raise InvalidTable(f"{name} cannot be meant.")
        return Result(
            {"status": "ok", "bone_age_months": float(len(name)), "recipe": "fake", "sex_entered": patient.sex or ""}
        )


def load_fake(folder: Path) -> Fake:
    return Fake(folder)


def load_elsewhere(here: int, folder: Path) -> Fake:
    """An assessor in the process that starts the batch, and none in any other."""
    return Fake(folder) if os.getpid() == here else load_nothing()


def load_nothing() -> Fake:
    raise WeightsMissing("The weights are not there.")


def rows_of(
    tmp_path: Path, files: list[str], processes: int, engine: Literal["pool", "ray"] = "pool", form: str = "csv"
) -> tuple[tuple[dict[str, str], ...], tuple[int, int]]:
    folder = tmp_path / f"{engine}{processes}"
    folder.mkdir()
    table = folder / "table.csv"
    table.write_text("file,sex\n" + "".join(f"{name},{('female', 'male')[n % 2]}\n" for n, name in enumerate(files)))
    batch = Batch(table, folder, folder / f"results.{form}", "fake", part_rows=5)
    tally = run_batch(batch, partial(load_fake, folder), show_progress=False, processes=processes, engine=engine)
    return read_table(batch.results).rows, (tally.assessed, tally.refused)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_two_processes_give_the_rows_of_one(tmp_path: Path, form: str) -> None:
    files = [f"{'bad' if number % 4 == 0 else 'hand'}{'x' * number}.png" for number in range(12)]
    assert rows_of(tmp_path, files, 1) == rows_of(tmp_path, files, 2, form=form)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_actors_of_ray_give_the_rows_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    files = [f"{'bad' if number % 4 == 0 else 'hand'}{'x' * number}.png" for number in range(12)]
    assert rows_of(tmp_path, files, 1) == rows_of(tmp_path, files, 2, "ray", "parquet")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_what_an_actor_of_ray_cannot_load_stops_the_batch(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "table.csv").write_text("file,sex\na,m\nb,m\n")
    batch = Batch(tmp_path / "table.csv", tmp_path, tmp_path / "results.csv", "fake")
    with pytest.raises(WeightsMissing, match="not there"):
        run_batch(batch, partial(load_elsewhere, os.getpid(), tmp_path), show_progress=False, engine="ray")


def test_a_killed_process_is_replaced_and_its_row_done_again(tmp_path: Path) -> None:
    files = ["a.png", "once.png", "bb.png", "once_more.png", "ccc.png"]
    rows, tally = rows_of(tmp_path, files, 2)
    assert tally == (5, 0)
    assert [row["file"] for row in rows] == files


def test_a_row_that_ends_each_process_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    files = ["a.png", "always.png", "bb.png"]
    rows, tally = rows_of(tmp_path, files, 2)
    assert tally == (2, 1)
    assert "ProcessLookupError" in rows[1]["error_message"]


def test_what_cannot_be_loaded_stops_the_batch(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("file,sex\na,m\nb,m\n")
    batch = Batch(tmp_path / "table.csv", tmp_path, tmp_path / "results.csv", "fake")
    with pytest.raises(WeightsMissing):
        run_batch(batch, load_nothing, show_progress=False, processes=2)
