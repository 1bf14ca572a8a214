"""Two results tables of `batch` -> what changed between them: the months, the sex probability, who is refused.

For a change of the software that should leave the answers as they were: run `batch` before and after it on the same
table, then `python -m baa_core changes BEFORE.csv AFTER.csv`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ..errors import InvalidTable
from .tables import read_number, read_table

MONTHS, PROBABILITY = "bone_age_months", "sex_probability_male"
NEEDED = ("file", "status", MONTHS, PROBABILITY)
ASSESSED = "ok"


@dataclass(frozen=True)
class Difference:
    """How far numbers of the same radiographs lie apart in two tables.

    Attributes:
        mean: of the absolute differences.
        largest: of them.
        file: of the radiograph with the largest one.
    """

    mean: float
    largest: float
    file: str


@dataclass(frozen=True)
class Changes:
    """What changed from one results table to another.

    Attributes:
        n: radiographs assessed in both.
        months: of the bone age; None if none was assessed in both.
        sex_probability: of the probability of male, 0 to 1; None likewise.
        newly_refused: files that were assessed before and are refused now.
        newly_assessed: files that were refused before and are assessed now.
        only_before: files that the second table lacks.
        only_after: files that the first table lacks.
    """

    n: int
    months: Difference | None
    sex_probability: Difference | None
    newly_refused: tuple[str, ...]
    newly_assessed: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)

    def to_text(self) -> str:
        """The same for people, a line each."""
        lines = [f"{self.n} radiographs assessed in both tables"]
        for what, unit, found in (
            ("Bone age", " months", self.months),
            ("Probability of male", "", self.sex_probability),
        ):
            if found is not None:
                largest = f"largest {found.largest:.3f}{unit} ({found.file})"
                lines.append(f"{what}: mean difference {found.mean:.3f}{unit}, {largest}")
        for what, files in (
            ("Refused now, assessed before", self.newly_refused),
            ("Assessed now, refused before", self.newly_assessed),
            ("Only in the first table", self.only_before),
            ("Only in the second table", self.only_after),
        ):
            lines.append(f"{what}: {len(files)}" + (f" ({', '.join(files)})" if files else ""))
        return "\n".join(lines)


def compare_results(before: Path, after: Path) -> Changes:
    """Compare two results tables of `batch`, radiograph by radiograph.

    Args:
        before: the first table; rows are found by their column file.
        after: the second one.

    Raises:
        InvalidTable: a table is no results of `batch`, or names a file twice.
    """
    one, other = _rows(before), _rows(after)
    shared = [file for file in one if file in other]
    both = [file for file in shared if one[file] and other[file]]
    return Changes(
        n=len(both),
        months=_difference(both, one, other, 0),
        sex_probability=_difference(both, one, other, 1),
        newly_refused=tuple(file for file in shared if one[file] and not other[file]),
        newly_assessed=tuple(file for file in shared if other[file] and not one[file]),
        only_before=tuple(file for file in one if file not in other),
        only_after=tuple(file for file in other if file not in one),
    )


Rows = dict[str, tuple[float, float] | None]  # file to months and probability of male; None for a refusal


def _rows(path: Path) -> Rows:
    found: Rows = {}
    for number, row in enumerate(read_table(path, NEEDED).rows, start=1):
        file, place = row["file"], f"row {number} of {path.name}"
        if file in found:
            raise InvalidTable(
                f"{path.name} names {file[:80]} twice, in {place} for the second time. Give each row once."
            )
        assessed = row["status"] == ASSESSED
        found[file] = (
            (read_number(row[MONTHS], MONTHS, place), read_number(row[PROBABILITY], PROBABILITY, place))
            if assessed
            else None
        )
    return found


def _difference(files: list[str], one: Rows, other: Rows, number: int) -> Difference | None:
    """Of the first or second number of files that were assessed in both."""
    apart = {
        file: abs(now[number] - was[number])
        for file in files
        if (was := one[file]) is not None and (now := other[file]) is not None
    }
    if not apart:
        return None
    farthest = max(apart, key=lambda file: apart[file])
    return Difference(round(fmean(apart.values()), 4), round(apart[farthest], 4), farthest)
