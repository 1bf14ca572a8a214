"""The results of a batch on disk: one CSV file, or a folder of Parquet parts; each is gone on with where it stopped.

    RESULTS.csv              a line as soon as its row is known; the last one may be torn and is then done again
    RESULTS.parquet/         `part_rows` rows a part, each written under another name and then renamed, so that a part
        part-00000000.parquet     is whole or not there; what an interruption leaves is written as a shorter part
        part-00000001.parquet

Both hold the columns of the table as text, then `RESULT_COLUMNS`. In Parquet the numbers among these are float64,
`sex_mismatch` is bool and what is empty is null; nothing is marked there, as no spreadsheet runs it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from ..errors import InvalidTable
from .tables import PARQUET, parquet, text_rows

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
RESULT_COLUMNS = (
    "status",
    "bone_age_months",
    "interval_low_months",
    "interval_high_months",
    "sex_entered",
    "sex_used",
    "sex_predicted",
    "sex_probability_male",
    "sex_mismatch",
    "sex_check",
    "bone_age_if_female_months",
    "bone_age_if_male_months",
    "cautions",
    "recipe",
    "members",
    "versions",
    "seconds",
    "error_type",
    "error_message",
)
NUMBERS = {name for name in RESULT_COLUMNS if name.endswith("_months")} | {"sex_probability_male", "seconds"}
TRUTHS = {"sex_mismatch"}
PART_ROWS = 1000  # ten minutes of one core, which a killed machine loses at most; 10,000 parts for ten million rows
PART, UNFINISHED = "part-{:08d}.parquet", ".part-"
HIDDEN = (".", "_")  # begins what readers of Parquet folders pass over


class Results(Protocol):
    """Where the rows of a batch go, open while no other batch has it.

    Attributes:
        columns: of the table, as they are called in the results, then `RESULT_COLUMNS`.
    """

    columns: tuple[str, ...]

    def written(self, text: str) -> str:
        """A field of the table as it stands in the results."""

    def done(self) -> Iterator[dict[str, str]]:
        """The rows of earlier runs as text. Nothing on disk is changed.

        Raises:
            InvalidTable: these are other results, or none.
        """

    def go_on(self) -> None:
        """Take away what an interruption left unfinished; called once, before the first row is written."""

    def write(self, row: Mapping[str, str]) -> None:
        """Add a row, given as text."""


@contextmanager
def open_results(path: Path, columns: Sequence[str], part_rows: int = PART_ROWS) -> Iterator[Results]:
    """The results of a batch, locked; what was made for them and stays empty goes again.

    Args:
        path: a CSV file; a folder for Parquet if it ends in .parquet.
        columns: of the table.
        part_rows: rows of a Parquet part.

    Raises:
        PackageMissing: Parquet is asked for, and pyarrow is not installed.
        InvalidTable: another batch writes to it, or it cannot be written.
    """
    open_one = _open_parquet(path, columns, part_rows) if path.suffix.lower() == PARQUET else _open_csv(path, columns)
    with open_one as results:
        yield results


def carried_name(column: str) -> str:
    """What a table's own column is called in CSV results: its name, unless a result has it already."""
    return mark_formula(_own_name(column))


def mark_formula(text: str) -> str:
    """A field that a spreadsheet would run as a formula, with an apostrophe before it; any other as it is."""
    if not text.startswith(FORMULA_STARTS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """A whole results table, as a batch writes it row by row."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: mark_formula(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def lock(handle: TextIO | int) -> bool:
    """Lock an open file or folder until it is closed; False if another process has."""
    try:
        import fcntl
    except ImportError:  # Windows: two batches on one file are not noticed there
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def foreign(path: Path) -> InvalidTable:
    """The error for results that are no beginning of these."""
    return InvalidTable(
        f"{path.name} already holds something else than the beginning of these results (another table, recipe, "
        "local calibration, choice of hand or order of rows). It was left as it is: give another file as --out, or "
        "remove it first."
    )


def _own_name(column: str) -> str:
    return f"input_{column}" if column in RESULT_COLUMNS else column


def _unwritable(path: Path) -> InvalidTable:
    return InvalidTable(f"{path.name} cannot be written. Check that its folder is there and may be used.")


def _taken(path: Path) -> InvalidTable:
    return InvalidTable(
        f"{path.name} is being written by another batch. Wait for its end, or give another file as --out."
    )


@contextmanager
def _open_csv(path: Path, columns: Sequence[str]) -> Iterator[Results]:
    new = not path.exists()
    try:
        handle = path.open("a", encoding="utf-8", newline="")
    except OSError:
        raise _unwritable(path) from None
    with handle:
        if not lock(handle):
            raise _taken(path)
        try:
            yield _Csv(path, handle, columns)
        finally:
            if new and handle.tell() == 0:
                path.unlink(missing_ok=True)


class _Csv:
    """`Results` as one CSV file."""

    def __init__(self, path: Path, handle: TextIO, columns: Sequence[str]) -> None:
        self.path, self.handle = path, handle
        self.columns = (*map(carried_name, columns), *RESULT_COLUMNS)
        self.writer = csv.DictWriter(handle, self.columns, lineterminator="\n")
        self.whole_bytes = 0

    def written(self, text: str) -> str:
        return mark_formula(text)

    def done(self) -> Iterator[dict[str, str]]:
        try:
            text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            raise InvalidTable(f"{self.path.name} cannot be read. Give another file as --out.") from None
        try:
            records, whole_text = _whole_records(text, len(self.columns))
        except csv.Error:  # a field of more characters than anything this writes
            raise foreign(self.path) from None
        torn = text[len(whole_text) :]
        header = list(self.columns)
        header_agrees = records[0] == header if records else _line(header).startswith(torn)
        if not header_agrees or len(list(csv.reader(_lines(torn)))) > 1:
            raise foreign(self.path)
        self.whole_bytes = len(whole_text.encode("utf-8", "surrogateescape"))
        for record in records[1:]:
            yield dict(zip(self.columns, record, strict=True))

    def go_on(self) -> None:
        if self.whole_bytes < self.handle.seek(0, os.SEEK_END):
            self.handle.truncate(self.whole_bytes)
        if self.whole_bytes == 0:
            self.writer.writeheader()
            self.handle.flush()

    def write(self, row: Mapping[str, str]) -> None:
        self.writer.writerow({name: mark_formula(value) for name, value in row.items()})
        self.handle.flush()


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))


def _line(fields: list[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(fields)
    return buffer.getvalue()


def _whole_records(text: str, fields: int) -> tuple[list[list[str]], str]:
    """The records before a torn end, and the text they take up."""
    lines = _lines(text)
    reader = csv.reader(lines)
    records: list[list[str]] = []
    whole_lines = 0
    for record in reader:
        if len(record) != fields or not lines[reader.line_num - 1].endswith("\n"):
            break
        records.append(record)
        whole_lines = reader.line_num
    return records, "".join(lines[:whole_lines])


@contextmanager
def _open_parquet(path: Path, columns: Sequence[str], part_rows: int) -> Iterator[Results]:
    parquet()  # or say, before any work, that it is missing
    new = not path.exists()
    if not new and not path.is_dir():
        raise InvalidTable(f"{path.name} is a file, but Parquet results are a folder. Give another name as --out.")
    try:
        path.mkdir(exist_ok=True)
        handle = os.open(path, os.O_RDONLY) if os.name == "posix" else None
    except OSError:
        raise _unwritable(path) from None
    results = _Parquet(path, columns, part_rows)
    try:
        if handle is not None and not lock(handle):
            raise _taken(path)
        try:
            yield results
        finally:
            results.write_part()
            if new and not any(path.iterdir()):
                path.rmdir()
    finally:
        if handle is not None:
            os.close(handle)


class _Parquet:
    """`Results` as a folder of Parquet parts."""

    def __init__(self, path: Path, columns: Sequence[str], part_rows: int) -> None:
        self.path, self.part_rows = path, part_rows
        self.columns = (*map(_own_name, columns), *RESULT_COLUMNS)
        self.parts = 0
        self.waiting: list[Mapping[str, str]] = []

    def written(self, text: str) -> str:
        return text

    def done(self) -> Iterator[dict[str, str]]:
        names = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith(HIDDEN))
        if names != [PART.format(number) for number in range(len(names))]:
            raise foreign(self.path)
        self.parts = len(names)
        for name in names:
            columns, rows = text_rows(self.path / name)
            if columns != self.columns:
                raise foreign(self.path)
            yield from rows

    def go_on(self) -> None:
        for unfinished in self.path.glob(f"{UNFINISHED}*"):
            unfinished.unlink()

    def write(self, row: Mapping[str, str]) -> None:
        self.waiting.append(row)
        if len(self.waiting) >= self.part_rows:
            self.write_part()

    def write_part(self) -> None:
        """Write the rows that wait as one part."""
        if not self.waiting:
            return
        import pyarrow as pa

        table = pa.table({name: _column([row[name] for row in self.waiting], name) for name in self.columns})
        part = self.path / PART.format(self.parts)
        unfinished = self.path / f"{UNFINISHED}{self.parts}"
        with unfinished.open("wb") as file:
            parquet().write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(part)
        self.parts += 1
        self.waiting = []


def _column(texts: Sequence[str], name: str) -> Any:
    """One column of a part, of the type that its name stands for; "" is null."""
    import pyarrow as pa

    if name in NUMBERS:
        return pa.array([float(text) if text else None for text in texts], pa.float64())
    if name in TRUTHS:
        return pa.array([text == "true" if text else None for text in texts], pa.bool_())
    return pa.array([text or None for text in texts], pa.string())
