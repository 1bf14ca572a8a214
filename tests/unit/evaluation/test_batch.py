import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from baa_core.errors import HandNotFound, InvalidTable, WeightsMissing
from baa_core.evaluation.batch import Batch, flatten, run_batch
from baa_core.evaluation.results import RESULT_COLUMNS, lock
from baa_core.networks.store import NetworkStore
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import HandChoice, Patient, Report, refusal
from baa_core.workflows.assess import Assessor

MADE_ANEW = {"seconds"}  # differs from run to run


class Counting:
    """The tiny assessor, counting what it is asked."""

    def __init__(self, assessor: Assessor) -> None:
        self.assessor = assessor
        self.asked: list[tuple[str, Patient]] = []

    def assess(self, source: Path, patient: Patient, *, hand: HandChoice | None = None) -> Report:
        self.asked.append((Path(source).name, patient))
        return self.assessor.assess(source, patient, hand=hand)


@pytest.fixture
def counting(tiny_assessor: Assessor) -> Counting:
    return Counting(tiny_assessor)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn hands and a text with a picture's name."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        drawn = draw_phantom(60.0 * (number + 1), "female", seed=number, height_px=200)
        (folder / f"{number}.png").write_bytes(to_png(drawn.radiograph))
    (folder / "text.png").write_text("not a picture")
    return folder


def write_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in MADE_ANEW} for row in rows]


@pytest.fixture
def batch(tmp_path: Path, images: Path) -> Batch:
    table = write_table(
        tmp_path / "table.csv",
        "rsna_id,file,sex,bone_age_months,chronological_age_months,note",
        '7,0.png,female,100,,"two, with a comma"',
        "8,text.png,male,90,,",
        '9,1.png,unknown,80,121.5,"a ""quote"" and',
        'a second line"',
        "10,2.png,M,70,,",
    )
    return Batch(table, images, tmp_path / "results.csv", "tiny")


def run(batch: Batch, counting: Counting) -> list[dict[str, str]]:
    run_batch(batch, lambda: counting, show_progress=False)
    return read(batch.results)


def test_every_row_gets_a_row_with_its_own_columns(batch: Batch, counting: Counting) -> None:
    tally = run_batch(batch, lambda: counting, show_progress=False)
    rows = read(batch.results)
    assert (tally.assessed, tally.refused) == (3, 1)
    assert [row["file"] for row in rows] == ["0.png", "text.png", "1.png", "2.png"]
    assert [row["status"] for row in rows] == ["ok", "refused", "ok", "ok"]
    assert [row["rsna_id"] for row in rows] == ["7", "8", "9", "10"]
    assert rows[2]["note"] == 'a "quote" and\na second line'
    assert [row["sex_entered"] for row in rows] == ["female", "", "unknown", "male"]
    assert counting.asked[2] == ("1.png", Patient(None, 121.5))


def test_a_column_named_like_a_result_is_carried_under_another_name(batch: Batch, counting: Counting) -> None:
    row = run(batch, counting)[0]
    assert row["input_bone_age_months"] == "100"
    assert float(row["interval_low_months"]) <= float(row["bone_age_months"]) <= float(row["interval_high_months"])


def test_a_refusal_keeps_its_reason_and_no_estimate(batch: Batch, counting: Counting) -> None:
    row = run(batch, counting)[1]
    assert row["error_type"] == "UnreadableImage"
    assert row["error_message"].endswith(".")
    assert row["bone_age_months"] == row["interval_low_months"] == row["members"] == ""


@pytest.mark.parametrize("file", ["../secret.png", "..", "", ".", "/etc/hostname", "sub/../../secret.png"])
def test_no_file_outside_the_folder_is_opened(batch: Batch, counting: Counting, file: str) -> None:
    (batch.images.parent / "secret.png").write_bytes((batch.images / "0.png").read_bytes())
    write_table(batch.table, "file,sex", f"{file},female", "0.png,female")
    rows = run(batch, counting)
    assert [row["status"] for row in rows] == ["refused", "ok"]
    assert rows[0]["error_type"] == "InvalidTable"
    assert [name for name, _ in counting.asked] == ["0.png"]


@pytest.mark.parametrize(
    ("sex", "age"), [("girl", ""), ("female", "-3"), ("female", "ten"), ("female", "nan"), ("female", "9999")]
)
def test_a_wrong_entry_is_refused_in_its_row(batch: Batch, counting: Counting, sex: str, age: str) -> None:
    write_table(batch.table, "file,sex,chronological_age_months", f"0.png,{sex},{age}")
    (row,) = run(batch, counting)
    assert (row["status"], row["error_type"]) == ("refused", "InvalidPatient")


@pytest.mark.parametrize("cut_bytes", [1, 2, 20, 300, 900])
def test_an_interrupted_batch_continues_where_it_stopped(batch: Batch, counting: Counting, cut_bytes: int) -> None:
    whole = run(batch, counting)
    asked = len(counting.asked)
    os.truncate(batch.results, batch.results.stat().st_size - cut_bytes)
    left = len(whole) - batch.results.read_text().count(",tiny,")
    assert without_times(run(batch, counting)) == without_times(whole)
    assert 1 <= len(counting.asked) - asked <= left + 1 < len(whole) + 1


@pytest.mark.parametrize("kept_bytes", [0, 1, 30])
def test_a_torn_header_starts_anew(batch: Batch, counting: Counting, kept_bytes: int) -> None:
    whole = run(batch, counting)
    os.truncate(batch.results, kept_bytes)
    assert without_times(run(batch, counting)) == without_times(whole)


def test_nothing_is_loaded_when_nothing_is_left(batch: Batch, counting: Counting) -> None:
    first = run_batch(batch, lambda: counting, show_progress=False)
    content = batch.results.read_bytes()

    def refuse_to_load() -> Counting:
        raise AssertionError("loaded for nothing")

    assert run_batch(batch, refuse_to_load, show_progress=False) == first
    assert batch.results.read_bytes() == content


def other_recipe(batch: Batch) -> Batch:
    return Batch(batch.table, batch.images, batch.results, "another")


def other_order(batch: Batch) -> Batch:
    write_table(batch.table, batch.table.read_text().replace("0.png", "2.png"))
    return batch


def other_file(batch: Batch) -> Batch:
    batch.results.write_text("name,score\nann,3\n")
    return batch


def fewer_rows(batch: Batch) -> Batch:
    write_table(batch.table, *batch.table.read_text().splitlines()[:2])
    return batch


def damaged_middle(batch: Batch) -> Batch:
    lines = batch.results.read_text().split("\n")
    batch.results.write_text("\n".join([lines[0], "7,0.png", *lines[2:]]))
    return batch


@pytest.mark.parametrize("change", [other_recipe, other_order, other_file, fewer_rows, damaged_middle])
def test_results_of_something_else_are_left_as_they_are(
    batch: Batch, counting: Counting, change: Callable[[Batch], Batch]
) -> None:
    run(batch, counting)
    changed = change(batch)
    content = batch.results.read_bytes()
    with pytest.raises(InvalidTable, match="another file as --out"):
        run(changed, counting)
    assert batch.results.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"file,sex\n", "no rows"),
        (b"file\n0.png\n", "lacks the column sex"),
        (b"name;sex\n0.png;female\n", "lacks the column file"),
        (b"file;sex\n0.png;female;more\n", "Row 1"),
        (b"file,sex,file\n0.png,female,1.png\n", "twice"),
        (b"file,sex\n0.png,female,more\n", "Row 1"),
        (b"\xff\xfe\x00binary", "not a CSV"),
    ],
)
def test_a_table_that_is_none_is_refused_whole(batch: Batch, counting: Counting, content: bytes, says: str) -> None:
    batch.table.write_bytes(content)
    with pytest.raises(InvalidTable, match=says):
        run(batch, counting)
    assert not batch.results.exists()


def test_the_table_is_never_overwritten(batch: Batch, counting: Counting) -> None:
    with pytest.raises(InvalidTable, match="overwrite"):
        run(Batch(batch.table, batch.images, batch.table, "tiny"), counting)


def test_a_byte_order_mark_and_blank_lines_do_no_harm(batch: Batch, counting: Counting) -> None:
    batch.table.write_bytes("\ufefffile,sex\r\n0.png,female\r\n\r\n1.png,male\r\n".encode())
    assert [row["status"] for row in run(batch, counting)] == ["ok", "ok"]


@pytest.mark.parametrize(
    "content",
    [
        b"file;sex;chronological_age_months;note\n0.png;female;121,5;a, b\n1.png;male;;\n",
        b"file\tsex\tchronological_age_months\tnote\n0.png\tfemale\t121,5\ta, b\n1.png\tmale\t\t\n",
        b'File,SEX,Chronological age months,note\n0.png,female,"121,5","a, b"\n1.png,male,,\n',
        b"\xef\xbb\xbfFILE;Sex;Chronological-Age-Months;note\r\n0.png;Female;121.5;a, b\r\n1.png;MALE;;\r\n",
        b'sep=;\r\nfile;sex;chronological_age_months;note\r\n0.png;female;121,5;"a, b"\r\n1.png;male;;\r\n',
        b"file;sex;chronological_age_months;note;;\n0.png;female;121,50;a, b;;\n1.png;male;;;;\n;;;;;\n",
        "File\tSex\tChronological_age_months\tnote\r\n0.png\tf\t121,5\ta, b\r\n1.png\tm\t\t\r\n".encode("utf-16"),
    ],
    ids=["semicolons", "tabs", "capitals", "mark and capitals", "separator line", "empty columns", "UTF-16"],
)
def test_a_table_is_read_as_spreadsheets_write_it(batch: Batch, counting: Counting, content: bytes) -> None:
    batch.table.write_bytes(content)
    rows = run(batch, counting)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert counting.asked == [("0.png", Patient("female", 121.5)), ("1.png", Patient("male"))]
    assert [row["file"] for row in rows] == ["0.png", "1.png"]
    assert rows[0]["note"] == "a, b"
    assert run(batch, counting) == rows  # and continued


def test_a_comma_that_may_part_thousands_is_asked_about(batch: Batch, counting: Counting) -> None:
    write_table(batch.table, "file;sex;chronological_age_months", "0.png;male;1,234")
    (row,) = run(batch, counting)
    assert (row["status"], row["error_type"]) == ("refused", "InvalidPatient")


def test_missing_weights_stop_the_batch_before_a_row_is_spent(batch: Batch) -> None:
    class WithoutWeights:
        def assess(self, source: Path, patient: Patient, *, hand: HandChoice | None = None) -> Report:
            raise WeightsMissing("not there")

    with pytest.raises(WeightsMissing):
        run_batch(batch, WithoutWeights, show_progress=False)
    assert read(batch.results) == []


def test_a_fault_of_the_software_tells_its_type_alone() -> None:
    result = refusal("a.png", "tiny", ValueError("Jane Doe, /srv/private"))
    assert result["error"]["type"] == "InternalError"
    assert "Jane" not in str(result)
    assert "ValueError" in result["error"]["message"]


def test_flatten_fills_every_column() -> None:
    flat = flatten(refusal("a.png", "tiny", HandNotFound("No hand\nthere.")))
    assert tuple(flat) == RESULT_COLUMNS
    assert (flat["status"], flat["recipe"]) == ("refused", "tiny")
    assert (flat["error_type"], flat["error_message"]) == ("HandNotFound", "No hand there.")


class Versioned(Counting):
    """One that says what made its numbers, as the shipped assessor does."""

    def __init__(self, assessor: Assessor, **changed: str) -> None:
        super().__init__(assessor)
        self.versions = {**assessor.versions, **changed}

    def assess(self, source: Path, patient: Patient, *, hand: HandChoice | None = None) -> Report:
        return replace(super().assess(source, patient, hand=hand), versions=self.versions)


def test_results_of_another_calibration_are_not_gone_on_with(batch: Batch, tiny_assessor: Assessor) -> None:
    assert len(tiny_assessor.versions["calibration"]) == 12
    run(batch, Versioned(tiny_assessor))
    lines = batch.results.read_text().splitlines(keepends=True)
    batch.results.write_text("".join(lines[:2]))
    content = batch.results.read_bytes()
    with pytest.raises(InvalidTable, match="another calibration"):
        run(batch, Versioned(tiny_assessor, calibration="0" * 12))
    assert batch.results.read_bytes() == content
    assert len(run(batch, Versioned(tiny_assessor))) == 4


def test_the_version_of_the_calibration_is_that_of_its_values(tiny_assessor: Assessor) -> None:
    store = tiny_assessor.store
    name = tiny_assessor.recipe.name
    known = {**store.manifest.calibration[name], "note": 1}
    other = replace(store.manifest, calibration={**store.manifest.calibration, name: known})
    changed = NetworkStore(other, store.folder)
    moved = replace(tiny_assessor, store=changed)
    assert moved.versions["calibration"] != tiny_assessor.versions["calibration"]


def test_two_batches_cannot_write_one_file(batch: Batch, counting: Counting) -> None:
    run(batch, counting)
    whole = batch.results.read_bytes()
    batch.results.write_bytes(whole[: len(whole) // 2])
    half = batch.results.read_bytes()
    with batch.results.open("a", encoding="utf-8") as other:
        assert lock(other)
        with pytest.raises(InvalidTable, match="another batch"):
            run(batch, counting)
        assert batch.results.read_bytes() == half
    assert without_times(run(batch, counting)) != []
    assert len(read(batch.results)) == 4


def test_a_long_field_is_carried_through_and_read_again(batch: Batch, counting: Counting) -> None:
    note = "long " * 60_000
    write_table(batch.table, "file,sex,note", f"0.png,female,{note}", "1.png,male,")
    assert run(batch, counting)[0]["note"] == note
    assert len(run(batch, counting)) == 2


@pytest.mark.parametrize(
    "lines",
    [
        ('0.png,female,"open', "1.png,male,a", "2.png,male,b"),
        ('"0.png,female,a', '1.png,male,"b', "2.png,male,c"),
        ('0.png,"female', '1.png,"male'),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_row(batch: Batch, counting: Counting, lines: tuple[str, ...]) -> None:
    write_table(batch.table, "file,sex,note", *lines)
    with pytest.raises(InvalidTable, match=r"quote|fields where"):
        run(batch, counting)
    assert not batch.results.exists()


def test_a_column_that_a_spreadsheet_would_run_is_marked(batch: Batch, counting: Counting) -> None:
    write_table(batch.table, "file,sex,=1+1", "0.png,male,x")
    (row,) = run(batch, counting)
    assert row["'=1+1"] == "x"
    assert run(batch, counting) == [row]  # gone on with


def test_a_field_that_a_spreadsheet_would_run_is_marked(batch: Batch, counting: Counting) -> None:
    cells = ["=1+1", "+cmd", "@SUM(A1)", "-2.5", "+7", "plain", '=HYPERLINK("http://a.b")']
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    write_table(batch.table, "file,sex,note", *(f"0.png,male,{cell}" for cell in quoted), '"=1.png",male,x')
    rows = run(batch, counting)
    assert [row["note"] for row in rows[:-1]] == [
        "'=1+1", "'+cmd", "'@SUM(A1)", "-2.5", "+7", "plain", "'=HYPERLINK(\"http://a.b\")"
    ]  # fmt: skip
    assert rows[-1]["file"] == "'=1.png"
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "@"))]
    asked = len(counting.asked)
    assert run(batch, counting) == rows  # gone on with, as it is
    assert len(counting.asked) == asked
