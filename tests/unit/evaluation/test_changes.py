"""What changed between two results tables of `batch`, and what the command says of it."""

import json
from pathlib import Path

import pytest

from baa_core.__main__ import main
from baa_core.errors import InvalidTable
from baa_core.evaluation.changes import Difference, compare_results

HEADER = "file,status,bone_age_months,sex_probability_male\n"
BEFORE = "a.png,ok,100,0.9\nb.png,ok,50.5,0.1\nc.png,refused,,\nd.png,ok,10,0.5\ne.png,ok,20,0.5\n"
AFTER = "b.png,ok,50.0,0.3\na.png,ok,101.5,0.9\nc.png,ok,30,0.2\nd.png,refused,,\nf.png,ok,20,0.5\n"


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("before.csv", "after.csv")]
    for path, rows in zip(paths, (BEFORE, AFTER), strict=True):
        path.write_text(HEADER + rows)
    return [str(path) for path in paths]


def test_rows_are_compared_by_file_and_refusals_are_told_apart(tables: list[str]) -> None:
    changes = compare_results(*map(Path, tables))
    assert changes.n == 2
    assert changes.months == Difference(1.0, 1.5, "a.png")
    assert changes.sex_probability == Difference(0.1, 0.2, "b.png")
    assert (changes.newly_refused, changes.newly_assessed) == (("d.png",), ("c.png",))
    assert (changes.only_before, changes.only_after) == (("e.png",), ("f.png",))


def test_the_command_says_it_in_words_and_in_json(tables: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["changes", *tables]) == 0
    said = capsys.readouterr().out
    assert "Bone age: mean difference 1.000 months, largest 1.500 months (a.png)" in said
    assert "Refused now, assessed before: 1 (d.png)" in said
    assert main(["changes", *tables, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["months"] == {"mean": 1.0, "largest": 1.5, "file": "a.png"}


def test_nothing_in_common_is_no_difference(tables: list[str]) -> None:
    Path(tables[1]).write_text(HEADER + "z.png,ok,1,0.5\n")
    assert compare_results(*map(Path, tables)).months is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [("a.png,ok,1,0.5\na.png,ok,2,0.5\n", "twice"), ("a.png,ok,young,0.5\n", "not a number"), ("", "no rows")],
)
def test_a_table_that_cannot_be_compared_is_refused_in_a_sentence(tables: list[str], rows: str, said: str) -> None:
    Path(tables[1]).write_text(HEADER + rows)
    with pytest.raises(InvalidTable, match=said):
        compare_results(*map(Path, tables))
