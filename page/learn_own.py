"""A teacher's own radiographs for the reading lesson, with their labels: kept in memory only, for one visit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from baa_core.errors import InvalidTable
from baa_core.evaluation.tables import parse_table, read_number
from baa_core.io import read_radiograph
from baa_core.reporting.overlays import downsample_for_display
from baa_core.types import OLDEST_MONTHS, Radiograph, Sex, parse_sex

MOST_OWN = 30
LONGEST_PX = 900  # of a picture that is shown
MONTHS = "bone_age_months"


class OwnHand(NamedTuple):
    """One radiograph with its label."""

    name: str
    content: bytes
    months: float
    sex: Sex

    def read(self) -> Radiograph:
        """The radiograph of the file."""
        return read_radiograph(self.content, self.name)


def own_hands(files: Sequence[tuple[str, bytes]]) -> tuple[OwnHand, ...]:
    """Bring radiographs and their table together, in the order of the table.

    Args:
        files: name and bytes of each radiograph, and of one CSV with the columns file, sex and bone_age_months.

    Raises:
        InvalidTable: there is not one table, it lacks something, or a row has no radiograph.
    """
    tables = [(name, content) for name, content in files if name.lower().endswith(".csv")]
    if len(tables) != 1:
        raise InvalidTable(
            f"{len(tables)} CSV tables were chosen. Choose the radiographs together with one table that has the "
            f"columns file, sex and {MONTHS}."
        )
    pictures = {name: content for name, content in files if (name, content) not in tables}
    table_name, content = tables[0]
    rows = parse_table(content, table_name, ("file", "sex", MONTHS)).rows
    if len(rows) > MOST_OWN:
        raise InvalidTable(f"{table_name} has {len(rows)} rows; at most {MOST_OWN} are taken. Divide it.")
    return tuple(_own(row, pictures, f"row {number} of {table_name}") for number, row in enumerate(rows, start=1))


def _own(row: dict[str, str], pictures: dict[str, bytes], place: str) -> OwnHand:
    name = PurePosixPath(row["file"].strip().replace("\\", "/")).name
    if name not in pictures:
        raise InvalidTable(
            f"There is no file called {name[:60]} among those given. Add it, or correct its name in the table."
        )
    sex = parse_sex(row["sex"])
    if sex is None:
        raise InvalidTable("A label lacks its sex. Write female or male in the column sex.")
    months = read_number(row[MONTHS], MONTHS, place)
    if not 0 <= months <= OLDEST_MONTHS:
        raise InvalidTable(f"A bone age of {months:g} months in {place} is not possible. Give months from 0 to 300.")
    return OwnHand(name, pictures[name], months, sex)


def small(radiograph: Radiograph, inverted: bool = False) -> Radiograph:
    """The radiograph at the size in which it is shown."""
    pixels: Any = downsample_for_display(radiograph.pixels, LONGEST_PX)
    return Radiograph((1.0 - pixels if inverted else pixels).astype("float32"), radiograph.name)
