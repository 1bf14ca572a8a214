"""CSV file -> Table: rows of text under named columns, refused with a clear sentence if it is anything else."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import InvalidTable


@dataclass(frozen=True)
class Table:
    """Text as it stands in a CSV file.

    Attributes:
        columns: header names, in order, all different.
        rows: one dict a row, every column present; a field the row lacks is "".
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def read_table(path: Path, needed: Sequence[str] = ()) -> Table:
    """Read a comma-separated table with a header line.

    Args:
        path: a UTF-8 file, with or without a byte order mark.
        needed: columns that must be there.

    Raises:
        InvalidTable: it cannot be read, is no CSV, has no rows, or lacks a needed column.
    """
    records = _records(path)
    if not records:
        raise InvalidTable(f"{path.name} is empty. Give a table with a header line and one line for each radiograph.")
    columns = tuple(name.strip() for name in records[0])
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InvalidTable(
            f"{path.name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(columns)[:120]}. Give a comma-separated table whose first line names its columns."
        )
    if len(set(columns)) != len(columns):
        raise InvalidTable(f"{path.name} names a column twice. Give every column a name of its own.")
    rows = []
    for number, record in enumerate(records[1:], start=1):
        if len(record) > len(columns):
            raise InvalidTable(
                f"Row {number} of {path.name} has {len(record)} fields where the header has {len(columns)}. "
                "Put fields that hold a comma in double quotes."
            )
        rows.append(dict(zip(columns, record + [""] * (len(columns) - len(record)), strict=True)))
    if not rows:
        raise InvalidTable(f"{path.name} has a header but no rows. Add one line for each radiograph.")
    return Table(columns, tuple(rows))


def read_number(text: str, column: str, place: str) -> float:
    """A finite number from one field.

    Raises:
        InvalidTable: it is none; the message names the column and the place.
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0:  # nan or infinite
        raise InvalidTable(f"'{text[:20]}' in column {column} of {place} is not a number. Correct it and try again.")
    return number


def _records(path: Path) -> list[list[str]]:
    """All records with any text in them, the header first."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        return [r for r in csv.reader(io.StringIO(text, newline="")) if any(field.strip() for field in r)]
    except OSError:
        raise InvalidTable(f"{path.name} cannot be read. Check that the file is there and may be opened.") from None
    except (UnicodeDecodeError, csv.Error):
        raise InvalidTable(
            f"{path.name} is not a CSV text file. Save the table as comma-separated values (CSV) in UTF-8."
        ) from None
