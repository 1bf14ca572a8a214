"""`batch` for archives: Parquet in and out, object storage, heatmaps; the rows are those of CSV and a folder."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem

from baa_core.__main__ import main
from baa_core.errors import InvalidTable, PackageMissing, StorageUnreachable, UnreadableImage, UnsupportedImage
from baa_core.evaluation import images as images_module
from baa_core.evaluation.batch import Batch, run_batch
from baa_core.evaluation.changes import compare_results
from baa_core.evaluation.heatmaps import Heatmaps
from baa_core.evaluation.images import open_images
from baa_core.evaluation.pairs import read_cases
from baa_core.evaluation.results import lock
from baa_core.evaluation.tables import read_table
from baa_core.phantom import draw_phantom, to_png
from baa_core.reporting.overlays import heatmap_png
from baa_core.types import Patient
from baa_core.workflows.assess import Assessor

FILES = ["a.png", "bad.png", "sub/ccc.png", "dddd.png", "missing.png"]
PREFIX = "memory://archive/hands"


@dataclass
class Answer:
    """What stands for a report."""

    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.values


class StandIn:
    """An assessor that answers at once, by the length of what it is given; it refuses files that begin with "bad"."""

    def __init__(self) -> None:
        self.versions = {"weights": "1"}
        self.asked: list[str] = []

    def assess(self, source: Path | bytes, patient: Patient, *, name: str = "", hand: str | None = None) -> Answer:
        if isinstance(source, Path) and not source.is_file():
            raise UnreadableImage(
                f"There is no file called {source.name} where it was looked for. Check its name and folder."
            )
        content = source if isinstance(source, bytes) else source.read_bytes()
        self.asked.append(name or source.name)
        if content.startswith(b"bad"):
            raise InvalidTable("It cannot be meant.")
        months = len(content) + 0.5
        return Answer(
            {
                "status": "ok", "recipe": "fake", "bone_age_months": months,
                "interval_months": (months - 1, months + 1),
                "sex_entered": patient.sex or "", "sex_mismatch": False, "sex_probability_male": 0.25, "seconds": 0.1,
                "versions": self.versions, "cautions": [],
            }
        )  # fmt: skip


class Stops(StandIn):
    """One that is ended by the operator after so many rows."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def assess(self, *given: Any, **more: Any) -> Answer:
        if len(self.asked) >= self.after:
            raise KeyboardInterrupt
        return super().assess(*given, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Radiographs, or what stands for them."""
    (tmp_path / "images/sub").mkdir(parents=True)
    for name in FILES[:-1]:
        (tmp_path / "images" / name).write_bytes(Path(name).stem.encode())
    return tmp_path / "images"


@pytest.fixture
def stored(folder: Path) -> Iterator[str]:
    """The same in object storage, and something outside of the prefix."""
    memory = fsspec.filesystem("memory")
    for name in FILES[:-1]:
        memory.pipe(f"/archive/hands/{name}", (folder / name).read_bytes())
    memory.pipe("/archive/secret.png", b"secret")
    memory.pipe("/archive/hands2/secret.png", b"secret")
    yield PREFIX
    for key in [key for key in memory.store if key.startswith("/archive/")]:
        del memory.store[key]


@pytest.fixture
def batch(tmp_path: Path, folder: Path) -> Batch:
    table = pa.table(
        {
            "rsna_id": [1, 2, 3, 4, None],
            "file": FILES,
            "sex": ["female", "male", None, "F", "M"],
            "chronological_age_months": [121.5, None, 10.0, float("nan"), 7.0],
            "note": ["=1+1", "-x", "", "a,b", "two\nlines"],
        }
    )
    pq.write_table(table, tmp_path / "table.parquet")
    return Batch(tmp_path / "table.parquet", folder, tmp_path / "results.parquet", "fake", part_rows=2)


def run(batch: Batch, assessor: Any = None) -> tuple[int, int]:
    tally = run_batch(batch, lambda: assessor or StandIn(), show_progress=False)
    return tally.assessed, tally.refused


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(read_table(path).rows)


def unmarked(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value.removeprefix("'") for name, value in row.items()} for row in rows]


# Tables and results


def test_rows_by_parquet_are_those_by_csv(batch: Batch, tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = read_table(batch.table).rows
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert [row["rsna_id"] for row in rows] == ["1", "2", "3", "4", ""]
    assert [row["chronological_age_months"] for row in rows] == ["121.5", "", "10.0", "", "7.0"]
    by_csv = replace(batch, table=tmp_path / "table.csv", results=tmp_path / "results.csv")
    assert run(batch) == run(by_csv) == (3, 2)
    assert unmarked(rows_of(by_csv.results)) == rows_of(batch.results)


def test_pandas_reads_the_parts_as_one_table_of_numbers(batch: Batch) -> None:
    run(batch)
    frame = pd.read_parquet(batch.results)
    assert sorted(path.name for path in batch.results.iterdir()) == [f"part-0000000{n}.parquet" for n in range(3)]
    assert frame["file"].tolist() == FILES
    assert frame["bone_age_months"].dtype == np.float64
    assert frame["bone_age_months"].isna().tolist() == [False, True, False, False, True]
    assert frame["status"].tolist() == ["ok", "refused", "ok", "ok", "refused"]
    assert frame["error_type"][1] == "InvalidTable" and frame["error_message"][4].startswith("There is no file")
    assert frame["note"][0] == "=1+1"


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_parquet_results_go_on_where_they_were_interrupted(batch: Batch, after: int) -> None:
    run(whole := replace(batch, results=batch.results.with_name("whole.parquet")))
    with pytest.raises(KeyboardInterrupt):
        run(batch, Stops(after))
    kept = {path: path.stat().st_mtime_ns for path in batch.results.glob("part-*")}
    assert run(batch) == (3, 2)
    assert rows_of(batch.results) == rows_of(whole.results)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_killed_batch_loses_what_is_in_no_whole_part(batch: Batch) -> None:
    run(batch)
    whole = rows_of(batch.results)
    (batch.results / "part-00000002.parquet").rename(batch.results / ".part-2")
    os.truncate(batch.results / ".part-2", 20)
    assert rows_of(batch.results) == whole[:4]  # nothing torn is read
    assessor = StandIn()
    assert run(batch, assessor) == (3, 2)
    assert assessor.asked == []  # the last row alone, whose file is missing
    assert rows_of(batch.results) == whole
    assert not list(batch.results.glob(".part-*"))


def test_nothing_is_loaded_when_nothing_is_left(batch: Batch) -> None:
    first = run(batch)

    def refuse_to_load() -> StandIn:
        raise AssertionError("loaded for nothing")

    again = run_batch(batch, refuse_to_load, show_progress=False)
    assert (again.assessed, again.refused) == first


def other_recipe(batch: Batch) -> Batch:
    return replace(batch, recipe="another")


def other_calibration(batch: Batch) -> Batch:
    return replace(batch, local_calibration="abc")


def other_order(batch: Batch) -> Batch:
    pq.write_table(pq.read_table(batch.table).take([1, 0, 2, 3, 4]), batch.table)
    return batch


def fewer_rows(batch: Batch) -> Batch:
    pq.write_table(pq.read_table(batch.table).slice(0, 1), batch.table)
    return batch


def a_part_missing(batch: Batch) -> Batch:
    (batch.results / "part-00000000.parquet").unlink()
    return batch


def another_file(batch: Batch) -> Batch:
    (batch.results / "notes.txt").write_text("mine")
    return batch


@pytest.mark.parametrize(
    "change", [other_recipe, other_calibration, other_order, fewer_rows, a_part_missing, another_file]
)
def test_parquet_results_of_something_else_are_left_as_they_are(batch: Batch, change: Callable[[Batch], Batch]) -> None:
    run(batch)
    changed = change(batch)
    content = {path.name: path.read_bytes() for path in batch.results.iterdir()}
    with pytest.raises(InvalidTable, match="another file as --out"):
        run(changed)
    assert {path.name: path.read_bytes() for path in batch.results.iterdir()} == content


def test_parquet_results_of_other_weights_are_not_gone_on_with(batch: Batch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(batch, Stops(2))
    other = StandIn()
    other.versions = {"weights": "2"}
    with pytest.raises(InvalidTable, match="other weights"):
        run(batch, other)


def test_a_damaged_part_is_refused_in_a_sentence(batch: Batch) -> None:
    run(batch)
    os.truncate(batch.results / "part-00000001.parquet", 100)
    with pytest.raises(InvalidTable, match=r"part-00000001\.parquet cannot be read as Parquet"):
        run(batch)


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX alone")
def test_two_batches_cannot_write_one_folder(batch: Batch) -> None:
    batch.results.mkdir()
    other = os.open(batch.results, os.O_RDONLY)
    assert lock(other)
    with pytest.raises(InvalidTable, match="another batch"):
        run(batch)
    os.close(other)
    assert run(batch) == (3, 2)


def test_a_batch_that_begins_nothing_leaves_no_folder(batch: Batch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(batch, Stops(0))
    assert not batch.results.exists()


def test_a_file_is_no_folder_of_results(batch: Batch) -> None:
    batch.results.write_text("mine")
    with pytest.raises(InvalidTable, match="is a file"):
        run(batch)
    assert batch.results.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"name": ["a"]}, "lacks the columns file, sex"),
        ({"file": ["a"], "sex": [["male"]]}, "Column sex of t.parquet holds list values"),
        ({"file": [b"a"], "sex": ["male"]}, "Column file of t.parquet holds bytes values"),
        ({"file": pa.array([], pa.string()), "sex": pa.array([], pa.string())}, "no rows"),
        (None, "cannot be read as Parquet"),
    ],
)
def test_a_parquet_table_that_is_none_is_refused_whole(
    tmp_path: Path, batch: Batch, content: dict[str, Any] | None, says: str
) -> None:
    table = tmp_path / "t.parquet"
    if content is None:
        table.write_text("file,sex\na,m\n")
    else:
        pq.write_table(pa.table(content), table)
    with pytest.raises(InvalidTable, match=says):
        run(replace(batch, table=table))
    assert not batch.results.exists()


def test_a_table_of_several_parquet_files_is_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "t.parquet"
    folder.mkdir()
    for name in ("b", "a", "c"):
        pq.write_table(
            pa.table({"File": [f"{name}.png"], "Sex": pa.array(["male"]).dictionary_encode()}), folder / name
        )
    (folder / "_SUCCESS").touch()
    read = read_table(folder, ("file", "sex"))
    assert read.columns == ("file", "sex")
    assert [row["file"] for row in read.rows] == ["a.png", "b.png", "c.png"]


def test_parquet_without_its_package_is_said_in_a_sentence(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(PackageMissing, match='pip install "pyarrow'):
        run(batch)


def test_evaluate_and_changes_take_parquet_results(batch: Batch, tmp_path: Path) -> None:
    run(batch)
    by_csv = replace(batch, results=tmp_path / "results.csv")
    run(by_csv)
    labels = tmp_path / "labels.csv"
    labels.write_text("rsna_id,bone_age_months,sex\n1,10,female\n3,20,male\n4,30,female\n")
    cases, by_text = (read_cases(results, labels) for results in (batch.results, by_csv.results))
    assert cases.predicted_months.tolist() == by_text.predicted_months.tolist() == [1.5, 3.5, 4.5]
    changes = compare_results(batch.results, by_csv.results)
    assert changes.n == 3 and changes.months is not None and changes.months.largest == 0
    assert (changes.only_before, changes.only_after) == ((), ())


# Object storage


def test_rows_from_object_storage_are_those_from_the_folder(batch: Batch, stored: str, tmp_path: Path) -> None:
    run(batch)
    away = replace(batch, images=stored, results=tmp_path / "away.parquet")
    assert run(away) == (3, 2)
    assert rows_of(away.results) == rows_of(batch.results)


def test_a_file_url_is_the_folder(batch: Batch, tmp_path: Path) -> None:
    run(batch)
    away = replace(batch, images=f"file://{batch.images}", results=tmp_path / "away.parquet")
    assert run(away) == (3, 2)
    assert rows_of(away.results) == rows_of(batch.results)


@pytest.mark.parametrize(
    "file",
    [
        "../secret.png", "..", "sub/../../secret.png", "/archive/secret.png", "..\\secret.png", "\\secret.png",
        "memory://archive/secret.png", "s3://bucket/secret.png", "file:///etc/passwd", "simplecache::memory://a",
        "%2e%2e/secret.png", "%252e%252e/secret.png", "a/%2e./%2E%2e/../secret.png", "C:\\secret.png", ".", "./", "",
        "\0", "../hands2/secret.png",
    ],
)  # fmt: skip
def test_nothing_outside_the_prefix_is_opened(stored: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    images = open_images(stored)
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path, **_: opened.append(path))
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda self, path, *_, **__: opened.append(path))
    with pytest.raises(InvalidTable, match=r"outside the images folder|names no file"):
        images.find(file)
    assert opened == []


def test_a_name_is_the_key_below_the_prefix_as_it_stands(stored: str) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("100%.png", "a b.png", "[x]*?.png", "a..b.png", "é.png"):
        memory.pipe(f"/archive/hands/{name}", name.encode())
        assert open_images(stored).find(f" ./{name} ") == name.encode()


def test_an_object_over_the_limit_is_refused_before_it_is_read(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "MOST_BYTES", 3)
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UnsupportedImage, match=r"dddd.png is too large"):
        open_images(stored).find("dddd.png")


def test_an_object_that_is_larger_than_it_says_is_not_read_to_its_end(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "MOST_BYTES", 3)
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: {"size": None})
    images = open_images(stored)
    with pytest.raises(UnsupportedImage, match="too large"):
        images.find("dddd.png")


@pytest.mark.parametrize("file", ["missing.png", "sub"])
def test_a_missing_object_is_one_refused_row(stored: str, file: str) -> None:
    with pytest.raises(UnreadableImage, match=f"There is no file called {file}"):
        open_images(stored).find(file)


@pytest.mark.parametrize(("url", "says"), [("memory://none/here", "holds nothing"), ("nonsense://a", "no storage")])
def test_storage_that_is_none_is_refused_before_any_work(batch: Batch, url: str, says: str) -> None:
    with pytest.raises(InvalidTable, match=says):
        run(replace(batch, images=url))
    assert not batch.results.exists()


def test_one_object_is_no_storage(stored: str) -> None:
    with pytest.raises(InvalidTable, match="one object"):
        open_images(f"{stored}/a.png")


def test_a_missing_driver_is_named(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PackageMissing, match=r"s3:// needs .* pip install s3fs"):
        run(replace(batch, images="s3://bucket/prefix"))


class Failing(MemoryFileSystem):
    """Storage that fails as told; its errors quote a key."""

    protocol = "failing"
    cachable = False
    on_object: type[Exception] | None = None
    on_prefix: type[Exception] | None = None

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        fault = type(self).on_object if path.endswith(".png") else type(self).on_prefix
        if fault is not None:
            raise fault("secret key 123")
        return super().info(path.replace("failing://", "/"), **more)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("failing://", "memory://"))


@pytest.fixture
def failing(stored: str, monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    fsspec.register_implementation("failing", Failing, clobber=True)
    monkeypatch.setattr(Failing, "on_object", None)
    monkeypatch.setattr(Failing, "on_prefix", None)
    return Failing


def test_storage_that_does_not_answer_is_said_in_a_sentence(batch: Batch, failing: type[Failing]) -> None:
    failing.on_prefix = ConnectionError
    with pytest.raises(StorageUnreachable, match="does not answer") as told:
        run(replace(batch, images="failing://archive/hands"))
    assert "123" not in str(told.value)
    assert not batch.results.exists()


@pytest.mark.parametrize("fault", [ConnectionError, PermissionError])
def test_storage_that_is_lost_stops_the_batch_and_the_rest_is_done_later(
    batch: Batch, failing: type[Failing], fault: type[Exception]
) -> None:
    away = replace(batch, images="failing://archive/hands")

    class Losing(StandIn):
        def assess(self, *given: Any, **more: Any) -> Answer:
            failing.on_object = failing.on_prefix = fault
            return super().assess(*given, **more)

    with pytest.raises(StorageUnreachable, match="goes on where it stopped"):
        run(away, Losing())
    failing.on_object = failing.on_prefix = None
    assert len(rows_of(batch.results)) == 1
    assert run(away) == (3, 2)


@pytest.mark.parametrize("fault", [PermissionError, RuntimeError])
def test_an_object_that_alone_cannot_be_read_is_one_refused_row(
    batch: Batch, failing: type[Failing], fault: type[Exception]
) -> None:
    failing.on_object = fault
    assert run(replace(batch, images="failing://archive/hands")) == (0, 5)
    assert {row["error_type"] for row in rows_of(batch.results)} == {"UnreadableImage"}
    assert "123" not in str(rows_of(batch.results))


# Heatmaps, on the tiny assessor


@pytest.fixture(scope="session")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn hands and a text with a picture's name."""
    folder = tmp_path_factory.mktemp("hands")
    for number in range(2):
        drawn = draw_phantom(60.0 * (number + 1), "female", seed=number, height_px=200)
        (folder / f"{number}.png").write_bytes(to_png(drawn.radiograph))
    (folder / "text.png").write_text("not a picture")
    (folder / "table.csv").write_text("file,sex\n0.png,F\ntext.png,F\n1.png,M\n")
    return folder


def test_each_assessed_row_gets_its_heatmap_and_the_rows_stay_the_same(
    hands: Path, tmp_path: Path, tiny_assessor: Assessor
) -> None:
    plain = Batch(hands / "table.csv", hands, tmp_path / "plain.csv", "tiny")
    drawn = replace(plain, results=tmp_path / "r.csv", heatmaps=Heatmaps(tmp_path / "heat", heatmap_png))
    for batch in (plain, drawn):
        run_batch(batch, lambda: tiny_assessor, show_progress=False)
    without = [{**row, "seconds": ""} for row in rows_of(plain.results)]
    assert [{**row, "seconds": ""} for row in rows_of(drawn.results)] == without
    pictures = sorted((tmp_path / "heat").iterdir())
    assert [path.name for path in pictures] == ["00000001_0.png", "00000003_1.png"]
    shown = cv2.imread(str(pictures[0]))
    assert shown.shape[:2] == cv2.imread(str(hands / "0.png")).shape[:2]
    assert (shown[..., 0] != shown[..., 2]).any()  # heat has colour, a radiograph has none


def test_a_zarr_group_holds_an_array_for_each_assessed_row(
    hands: Path, tmp_path: Path, tiny_assessor: Assessor
) -> None:
    batch = Batch(
        hands / "table.csv", hands, tmp_path / "r.csv", "tiny", heatmaps=Heatmaps(tmp_path / "h.zarr", heatmap_png)
    )
    run_batch(batch, lambda: tiny_assessor, show_progress=False)
    group = zarr.open_group(str(tmp_path / "h.zarr"), mode="r")
    assert sorted(group.array_keys()) == ["00000001_0", "00000003_1"]
    heat = tiny_assessor.assess(hands / "1.png", Patient("male"), explain=True).explanation.heat
    assert np.array_equal(group["00000003_1"][:], heat.astype(np.float16))
    assert group["00000003_1"].attrs["file"] == "1.png"


@pytest.mark.parametrize("name", ["heat", "heat.zarr"])
def test_heatmaps_that_rows_lack_are_not_passed_over(
    hands: Path, tmp_path: Path, tiny_assessor: Assessor, name: str
) -> None:
    batch = Batch(hands / "table.csv", hands, tmp_path / "r.csv", "tiny")
    run_batch(batch, lambda: tiny_assessor, show_progress=False)
    with pytest.raises(InvalidTable, match="without the heatmaps"):
        run(replace(batch, heatmaps=Heatmaps(tmp_path / name, heatmap_png)))


def test_a_heatmap_that_cannot_be_written_stops_the_batch(
    hands: Path, tmp_path: Path, tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    heatmaps = Heatmaps(tmp_path / "heat", heatmap_png)
    batch = Batch(hands / "table.csv", hands, tmp_path / "r.csv", "tiny", heatmaps=heatmaps)

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageUnreachable, match="No space left"):
        run_batch(batch, lambda: tiny_assessor, show_progress=False)
    assert len(batch.results.read_text().splitlines()) == 1  # no row without its heatmap


def test_zarr_without_its_package_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(PackageMissing, match='pip install "zarr'):
        Heatmaps(tmp_path / "h.zarr", heatmap_png).prepare()


# By the command line


def test_the_command_takes_parquet_storage_and_heatmaps(
    batch: Batch, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("baa_core.__main__.load_assessor", lambda *_, **__: StandIn())
    monkeypatch.setattr("baa_core.__main__.find_recipe", lambda name: name)
    words = ["batch", str(batch.table), "--images", stored, "--out", str(batch.results), "--recipe", "fake"]
    assert main([*words, "--part-rows", "4"]) == 2
    assert "3 assessed, 2 refused" in capsys.readouterr().out
    assert len(list(batch.results.iterdir())) == 2
    assert main([*words, "--part-rows", "0"]) == 1
    assert main([*words, "--heatmaps", str(tmp_path / "heat")]) == 1
    assert "without the heatmaps" in capsys.readouterr().err
    assert main(["changes", str(batch.results), str(batch.results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 3
