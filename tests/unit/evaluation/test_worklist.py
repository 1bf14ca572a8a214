"""Files and a table brought together: every trouble is one sentence, nothing is lost, nothing is done twice."""

import csv
from pathlib import Path

import pytest

from baa_core.errors import HandNotFound, InvalidTable
from baa_core.evaluation.batch import AGE_COLUMN, NEEDED_COLUMNS, Batch, flatten, run_batch
from baa_core.evaluation.tables import Table, parse_table
from baa_core.evaluation.worklist import Row, Source, Worklist, plan, run_row, sha256_of
from baa_core.phantom import draw_phantom, to_png
from baa_core.types import Patient, Report
from baa_core.workflows.assess import Assessor


def source(name: str, content: bytes | None = None) -> Source:
    data = name.encode() if content is None else content
    return Source(name, sha256_of(data), lambda: data)


def sources(*names: str) -> dict[str, Source]:
    return {name: source(name) for name in names}


def table(text: str) -> Table:
    return parse_table(text.encode(), "t.csv", NEEDED_COLUMNS, (AGE_COLUMN,))


def untrained_members(files: dict[str, Source], text: str) -> Worklist:
    return plan(files, table(text), "t.csv", "unknown")


def test_without_a_table_every_file_has_the_chosen_sex() -> None:
    made = plan(sources("a.png", "b.png"), None, "", "female")
    assert [row.patient().sex for row in made.rows] == ["female", "female"]
    assert made.columns == ("file", "sex")
    assert made.read_back == ""


@pytest.mark.parametrize(
    "text",
    [
        "file,sex,chronological_age_months\na.png,F,121.5\nb.png,male,\n",
        "\ufefffile;Sex;Chronological age months\r\na.png;f;121,5\r\nb.png;M;\r\n",
        "sep=\t\nsex\tfile\tchronological_age_months\nFemale\ta.png\t121,5\nMALE\tb.png\t\n",
    ],
)
def test_tables_of_any_spreadsheet_are_read_and_counted_back(text: str) -> None:
    made = untrained_members(sources("a.png", "b.png"), text)
    assert [row.patient() for row in made.rows] == [Patient("female", 121.5), Patient("male")]
    assert made.read_back == "Read from t.csv: 2 rows: 1 female, 1 male; 1 with an age."
    assert made.notes == ()


def test_files_in_folders_are_found_by_path_or_by_name() -> None:
    files = sources("x/a.png", "x/b.png", "y/b.png")
    made = untrained_members(files, "file,sex\na.png,F\nx/b.png,M\ny\\b.png,M\n")
    assert [row.source.name for row in made.rows if row.source] == ["x/a.png", "x/b.png", "y/b.png"]
    twice = untrained_members(files, "file,sex\nb.png,F\n")
    assert "2 files are called b.png" in twice.rows[0].problem
    assert "1 row names a file that is there several times: b.png." in twice.notes


def test_unknown_files_and_files_without_a_row_are_told_and_kept() -> None:
    made = untrained_members(sources("a.png", "extra.png"), "file,sex\na.png,F\nnone.png,M\n,F\n")
    assert made.notes == (
        "1 row names a file that is not there: none.png.",
        "1 file has no row and is assessed with unknown sex: extra.png.",
    )
    assert [row.name for row in made.rows] == ["a.png", "none.png", "", "extra.png"]
    with pytest.raises(InvalidTable, match=r"no file called none\.png"):
        made.rows[1].patient()
    assert made.rows[3].patient().sex is None


def test_repeated_rows_count_once_and_contradicting_ones_not_at_all() -> None:
    made = untrained_members(sources("a.png", "b.png"), "file,sex\na.png,F\na.png,f\nb.png,F\nb.png,M\n")
    assert [row.name for row in made.rows] == ["a.png", "b.png"]
    assert made.rows[0].problem == ""
    assert "twice with a different sex or age" in made.rows[1].problem
    assert made.notes[0] == "1 row is repeated and counts once: a.png."
    assert made.notes[1].startswith("1 row contradicts another of the same file")


def test_a_word_that_is_no_sex_refuses_its_row_only() -> None:
    made = untrained_members(sources("a.png", "b.png"), "file,sex\na.png,girl\nb.png,M\n")
    assert made.read_back == "Read from t.csv: 2 rows: 1 male, 1 not understood; no ages."
    result = run_row(made.rows[0], "tiny", lambda *_: None)
    assert result["error"]["type"] == "InvalidPatient"


def test_a_result_belongs_to_file_sex_and_age() -> None:
    files = sources("a.png")
    first = untrained_members(files, "file,sex\na.png,F\n").rows[0].key
    assert untrained_members(files, "file,sex\na.png,f \n").rows[0].key == first
    assert untrained_members(files, "file,sex\na.png,M\n").rows[0].key != first
    assert untrained_members({"a.png": source("a.png", b"other")}, "file,sex\na.png,F\n").rows[0].key != first


def test_a_refused_radiograph_is_a_row() -> None:
    def refuse(content: bytes, patient: Patient, name: str) -> Report:
        raise HandNotFound(f"No hand in {name}.")

    result = run_row(Row({"file": "x/a.png", "sex": "F"}, source("x/a.png")), "tiny", refuse)
    assert flatten(result)["error_message"] == "No hand in a.png."


def test_the_csv_is_that_of_the_command_line(tiny_assessor: Assessor, tmp_path: Path) -> None:
    pictures = {}
    for number in range(2):
        drawn = draw_phantom(90.0 * (number + 1), "female", seed=number, height_px=200)
        pictures[f"{number}.png"] = to_png(drawn.radiograph)
        (tmp_path / f"{number}.png").write_bytes(pictures[f"{number}.png"])
    (tmp_path / "text.png").write_bytes(b"not a picture")
    pictures["text.png"] = b"not a picture"
    text = "id;file;sex;bone_age_months\n7;1.png;F;100,5\n8;text.png;M;90\n9;0.png;;80\n"
    (tmp_path / "t.csv").write_text(text)
    run_batch(Batch(tmp_path / "t.csv", tmp_path, tmp_path / "r.csv", "tiny"), lambda: tiny_assessor, False)
    made = untrained_members({name: source(name, content) for name, content in pictures.items()}, text)
    results = {
        row.key: flatten(run_row(row, "tiny", lambda c, p, n: tiny_assessor.assess(c, p, name=n))) for row in made.rows
    }

    def plain(content: str) -> list[dict[str, str]]:
        return [row | {"seconds": ""} for row in csv.DictReader(content.splitlines())]

    assert plain(made.to_csv(results)) == plain((tmp_path / "r.csv").read_text())
    kept = dict(list(results.items())[:1])
    assert len(plain(made.to_csv(kept))) == 1
