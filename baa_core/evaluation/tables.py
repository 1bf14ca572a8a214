"""CSV or Parquet -> Table: rows of text under named columns, refused with a clear sentence if it is anything else.

A name that ends in .parquet is a Parquet file, or a folder of such files in the order of their names. Its values become
the text that they would be in CSV; null and NaN become "".

Spreadsheets write CSV in many ways. Read are: comma, semicolon and tab as separator (also named by a first line
`sep=;`), UTF-8 and UTF-16 with or without a byte order mark, any line ends, column names in capitals or with spaces,
empty columns at the right, and a decimal comma in numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..errors import InvalidTable, PackageMissing

PARQUET = ".parquet"

MOST_FIELD_CHARACTERS = 2**24  # Python's own limit, 128 KiB, is less than a long note
csv.field_size_limit(MOST_FIELD_CHARACTERS)
SEPARATORS = ",;\t"  # the first one where several fit equally well
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?[ ,;]*\n', re.IGNORECASE)  # what Excel takes for the separator
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")  # three digits after it may as well be thousands


END = "\n\x01end of the table\n"  # a record of its own, unless a quote is open


class _Unclosed(Exception):
    """A quote is open at the end of a table."""


@dataclass(frozen=True)
class Table:
    """Text as it stands in a CSV file, or would.

    Attributes:
        columns: header names, in order, all different.
        rows: one dict a row, every column present; a field the row lacks is "".
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def read_table(path: Path, needed: Sequence[str] = (), optional: Sequence[str] = ()) -> Table:
    """Read a table with a header line; see the module's docstring for what counts as one.

    Args:
        path: the file.
        needed: columns that must be there, in lower case with underscores. A name in the file that differs only in
            capitals, spaces or hyphens counts as the column and is named so in the result; all others stay as they are.
        optional: columns that are looked for likewise.

    Raises:
        InvalidTable: it cannot be read, is no table, has no rows, or lacks a needed column.
        PackageMissing: it is Parquet, and pyarrow is not installed.
    """
    if path.suffix.lower() == PARQUET:
        header, rows = text_rows(path)
        return _table(list(header), [list(row.values()) for row in rows], path.name, needed, optional)
    try:
        content = path.read_bytes()
    except OSError:
        raise InvalidTable(f"{path.name} cannot be read. Check that the file is there and may be opened.") from None
    return parse_table(content, path.name, needed, optional)


def parse_table(content: bytes, name: str, needed: Sequence[str] = (), optional: Sequence[str] = ()) -> Table:
    """`read_table` of bytes; `name` is what to call them.

    Raises:
        InvalidTable: as `read_table`.
    """
    records = _records(content, name, needed)
    if not records:
        raise InvalidTable(f"{name} is empty. Give a table with a header line and one line for each radiograph.")
    table = _table(records[0], records[1:], name, needed, optional)
    for number, fields in enumerate(table.rows, start=1):
        broken = [column for column in (*needed, *optional) if "\n" in fields.get(column, "").strip()]
        if broken:
            raise InvalidTable(
                f"Row {number} of {name} has a line break in column {broken[0]}: a double quote before it is not "
                "closed, so that rows run together. Close it or take it out."
            )
    return table


def text_rows(path: Path) -> tuple[tuple[str, ...], Iterator[dict[str, str]]]:
    """The columns of a Parquet file, or of a folder of such files, and its rows as text.

    Raises:
        InvalidTable: it cannot be read, or a column holds something else than text, numbers, dates and truth values.
        PackageMissing: pyarrow is not installed.
    """
    reader = parquet()
    try:
        table = reader.read_table(path, partitioning="hive" if path.is_dir() else None)
    except (OSError, ValueError, NotImplementedError):  # pyarrow's own errors are kinds of these
        raise InvalidTable(
            f"{path.name} cannot be read as Parquet: it is not there, damaged, or something else. Write it anew."
        ) from None
    if len(set(table.column_names)) != table.num_columns:
        raise InvalidTable(f"{path.name} names a column twice. Give every column a name of its own.")
    columns = tuple(table.column_names)
    return columns, _as_text(table, path.name)


def _as_text(table: Any, name: str) -> Iterator[dict[str, str]]:
    for batch in table.to_batches(max_chunksize=10_000):
        values = [
            [_text(value, column, name) for value in held.to_pylist()]
            for column, held in zip(table.column_names, batch.columns, strict=True)
        ]
        for fields in zip(*values, strict=True):
            yield dict(zip(table.column_names, fields, strict=True))


def _text(value: Any, column: str, name: str) -> str:
    """A value of a Parquet file as it would stand in CSV.

    Raises:
        InvalidTable: it is a list, bytes or the like.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case float() | Decimal():
            return "" if value != value else str(value)
        case int() | date() | datetime() | time():
            return str(value)
    raise InvalidTable(
        f"Column {column[:60]} of {name} holds {type(value).__name__} values. "
        "Only text, numbers, dates and truth values are read: leave the column out."
    )


def parquet() -> Any:
    """The module that reads and writes Parquet.

    Raises:
        PackageMissing: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise PackageMissing(
            'Parquet needs the package pyarrow, which is not installed. Install it by: pip install "pyarrow>=20,<27"'
        ) from None
    return pyarrow.parquet


def _table(
    header: Sequence[str], records: Sequence[Sequence[str]], name: str, needed: Sequence[str], optional: Sequence[str]
) -> Table:
    """A table of records, with its known columns named.

    Raises:
        InvalidTable: as `read_table`.
    """
    columns = _named(header, (*needed, *optional))
    missing = [column for column in needed if column not in columns]
    if missing:
        shown = "".join(letter for letter in ", ".join(columns)[:120] if letter.isprintable())
        raise InvalidTable(
            f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{shown}. Give a table of comma-separated values whose first line names its columns."
        )
    if len(set(columns)) != len(columns):
        raise InvalidTable(f"{name} names a column twice. Give every column a name of its own.")
    rows = []
    for number, record in enumerate(records, start=1):
        if any(field.strip() for field in record[len(columns) :]):
            raise InvalidTable(
                f"Row {number} of {name} has {len(record)} fields where the header has {len(columns)}. "
                "Put fields that hold the separator in double quotes."
            )
        fields = dict(zip(columns, [*record, *[""] * len(columns)][: len(columns)], strict=True))
        rows.append(fields)
    if not rows:
        raise InvalidTable(f"{name} has a header but no rows. Add one line for each radiograph.")
    return Table(columns, tuple(rows))


def read_number(text: str, column: str, place: str) -> float:
    """A finite number from one field, with a decimal point or comma.

    Raises:
        InvalidTable: it is none; the message names the column and the place.
    """
    try:
        number = parse_number(text)
    except ValueError:
        number = float("nan")
    if number - number != 0:  # nan or infinite
        raise InvalidTable(f"'{text[:20]}' in column {column} of {place} is not a number. Correct it and try again.")
    return number


def parse_number(text: str) -> float:
    """The number that a text holds, with a decimal point or comma.

    Raises:
        ValueError: it holds none, or "1,234", which may be meant either way.
    """
    plain = text.strip()
    return float(plain.replace(",", ".") if DECIMAL_COMMA.fullmatch(plain) else plain)


def _records(content: bytes, name: str, needed: Sequence[str]) -> list[list[str]]:
    """All records with any text in them, the header first, split where most needed columns come out."""
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        stated = SEPARATOR_LINE.match(text)
        if stated:
            return _split(text[stated.end() :], stated.group(1))

        def fit(separator: str) -> tuple[int, int]:
            header = next(csv.reader(io.StringIO(text.lstrip("\n"), newline=""), delimiter=separator), [])
            return len(set(needed) & set(_named(header, needed))), len(header)

        return _split(text, max(SEPARATORS, key=fit))
    except _Unclosed:
        raise InvalidTable(
            f"{name} has a double quote that is not closed, so that rows run together. Close it or take it out."
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise InvalidTable(
            f"{name} is not a CSV text file. Save the table as comma-separated values (CSV) in UTF-8."
        ) from None


def _split(text: str, separator: str) -> list[list[str]]:
    """Records with any text in them.

    Raises:
        _Unclosed: a quote is open at the end, and has swallowed what follows it.
    """
    records = csv.reader(io.StringIO(text + END, newline=""), delimiter=separator)
    kept = [record for record in records if any(field.strip() for field in record)]
    if not kept or kept[-1] != [END.strip()]:
        raise _Unclosed
    return kept[:-1]


def _named(header: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Column names: known ones as they are known, others as they stand, without empty ones at the right."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    plain = [re.sub(r"[\s-]+", "_", name).lower() for name in names]
    return tuple(low if low in known and low not in names else name for name, low in zip(names, plain, strict=True))
