"""Files and a table, as a visitor brings them, -> the rows of a batch; its results as the CSV that `batch` writes.

Nothing is done twice: a result belongs to a file's content and to the sex and age of its row, and stays while those do.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ..errors import BoneAgeError, InvalidTable, WeightsCorrupt, WeightsMissing
from ..types import Patient, parse_sex, refusal
from .batch import AGE_COLUMN, NEEDED_COLUMNS, patient_of
from .results import RESULT_COLUMNS, carried_name, csv_text
from .tables import Table

MOST_FILES = 500  # in one batch of the page


@dataclass(frozen=True)
class Source:
    """A radiograph to assess.

    Attributes:
        name: as the table may call it: its path in a zip, or its file's name.
        sha256: of its content.
        read: gives its bytes.
    """

    name: str
    sha256: str
    read: Callable[[], bytes] = field(repr=False)


Key = tuple[str, str, str, str]  # name and sha256 of the file ("" without one), sex and age as in the row


@dataclass(frozen=True)
class Row:
    """One row of a batch.

    Attributes:
        fields: the table's own columns.
        source: its radiograph; None where there is none.
        problem: why it cannot be assessed, in a sentence; "" if it can.
    """

    fields: Mapping[str, str]
    source: Source | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Of its file, as the table calls it."""
        return self.fields["file"]

    @property
    def key(self) -> Key:
        """What its result belongs to."""
        sha256 = "" if self.source is None else self.source.sha256
        return self.name, sha256, self.fields["sex"].strip().lower(), self.fields.get(AGE_COLUMN, "").strip()

    def patient(self) -> Patient:
        """Sex and age of the row.

        Raises:
            InvalidTable: it cannot be assessed.
            InvalidPatient: its sex or age make no sense.
        """
        if self.problem:
            raise InvalidTable(self.problem)
        return patient_of(self.fields)


@dataclass(frozen=True)
class Worklist:
    """The rows of a batch and what was noticed while they were brought together.

    Attributes:
        columns: of the table, or file and sex without one.
        rows: in the table's order, then files that it does not name.
        notes: one sentence for each kind of trouble; the rest goes on.
        read_back: what the table said, counted; "" without one.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    read_back: str

    def to_csv(self, results: Mapping[Key, Mapping[str, str]]) -> str:
        """The rows that have a result, as `batch` writes them.

        Args:
            results: fields of `results.RESULT_COLUMNS` by the row's key.
        """
        columns = [*map(carried_name, self.columns), *RESULT_COLUMNS]
        return csv_text(columns, [dict(row) for row in self.results(results)])

    def results(self, results: Mapping[Key, Mapping[str, str]]) -> list[dict[str, str]]:
        """The same as dicts, in the order of the rows."""
        return [
            {carried_name(name): row.fields.get(name, "") for name in self.columns} | dict(results[row.key])
            for row in self.rows
            if row.key in results
        ]


def plan(sources: Mapping[str, Source], table: Table | None, table_name: str, sex_of_all: str) -> Worklist:
    """Bring files and table together.

    Args:
        sources: radiographs by their name.
        table: with the columns file and sex; None to give every file the same sex.
        table_name: what to call it.
        sex_of_all: "female", "male" or "unknown", of all files if there is no table.
    """
    if table is None:
        rows = tuple(Row({"file": name, "sex": sex_of_all}, source) for name, source in sources.items())
        return Worklist(NEEDED_COLUMNS, rows, (), "")
    notes: list[str] = []
    by_base: dict[str, list[str]] = {}
    for name in sources:
        by_base.setdefault(PurePosixPath(name).name, []).append(name)
    first: dict[str, dict[str, str]] = {}
    rows_made: list[Row] = []
    used: set[str] = set()
    absent: list[str] = []
    repeated: list[str] = []
    ambiguous: list[str] = []
    contradicting: list[str] = []
    for fields in table.rows:
        file = fields["file"].strip()
        if file and file in first:
            same = Row(fields, None).key[2:] == Row(first[file], None).key[2:]
            (repeated if same else contradicting).append(file)
            continue
        first[file] = fields
    for file, fields in first.items():
        plain = file.replace("\\", "/").removeprefix("./")
        matches = [plain] if plain in sources else by_base.get(plain, [])
        if not file:
            rows_made.append(
                Row(fields, None, "The row names no file. Write the radiograph's name in the column file.")
            )
        elif file in contradicting:
            used.update(matches)
            problem = f"{file[:60]} stands in {table_name} twice with a different sex or age. Correct the table."
            rows_made.append(Row(fields, None, problem))
        elif len(matches) > 1:
            ambiguous.append(file)
            used.update(matches)
            problem = f"{len(matches)} files are called {file[:60]}. Write the path in the zip in the column file."
            rows_made.append(Row(fields, None, problem))
        elif not matches:
            absent.append(file)
            problem = (
                f"There is no file called {file[:60]} among those given. Add it, or correct its name in the table."
            )
            rows_made.append(Row(fields, None, problem))
        else:
            used.add(matches[0])
            rows_made.append(Row(fields, sources[matches[0]]))
    extra = [name for name in sources if name not in used]
    rows_made += [Row({"file": name, "sex": ""}, sources[name]) for name in extra]
    for files, one, several in (
        (absent, "row names a file that is not there", "rows name files that are not there"),
        (repeated, "row is repeated and counts once", "rows are repeated and count once"),
        (contradicting, "row contradicts another of the same file; neither is assessed",
         "rows contradict others of the same file; none of those is assessed"),
        (ambiguous, "row names a file that is there several times", "rows name files that are there several times"),
        (extra, "file has no row and is assessed with unknown sex",
         "files have no row and are assessed with unknown sex"),
    ):  # fmt: skip
        if files:
            notes.append(f"{len(files)} {one if len(files) == 1 else several}: {_listed(files)}.")
    return Worklist(table.columns, tuple(rows_made), tuple(notes), _read_back(table, table_name))


def run_row(row: Row, recipe: str, assess: Callable[[bytes, Patient, str], Any]) -> dict[str, Any]:
    """One row's report or refusal, as a dict.

    Args:
        row: of a worklist.
        recipe: name of the recipe, for a refusal.
        assess: bytes, patient and name to a `types.Report`.

    Raises:
        WeightsMissing, WeightsCorrupt: about no row in particular.
        Exception: whatever `assess` raises that is no `BoneAgeError`.
    """
    try:
        patient = row.patient()
        if row.source is None:
            raise InvalidTable("The row has no file.")
        report: dict[str, Any] = assess(row.source.read(), patient, PurePosixPath(row.source.name).name).to_dict()
        return report
    except (WeightsMissing, WeightsCorrupt):
        raise
    except BoneAgeError as error:
        return refusal(row.name, recipe, error)


def sha256_of(content: bytes) -> str:
    """Of a file's content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _read_back(table: Table, name: str) -> str:
    """What a table said, for whoever made it to compare."""
    sexes: Counter[str] = Counter()
    for row in table.rows:
        try:
            sexes[parse_sex(row["sex"]) or "unknown"] += 1
        except BoneAgeError:
            sexes["not understood"] += 1
    said = ", ".join(f"{sexes[word]} {word}" for word in ("female", "male", "unknown", "not understood") if sexes[word])
    rows = f"{len(table.rows)} row{'s' * (len(table.rows) != 1)}"
    ages = sum(bool(row.get(AGE_COLUMN, "").strip()) for row in table.rows)
    return f"Read from {name}: {rows}: {said}" + (f"; {ages} with an age." if ages else "; no ages.")


def _listed(names: list[str], most: int = 3) -> str:
    shown = ", ".join(name[:60] for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
