"""A table of radiographs in, a table of estimates out: row by row, refusals kept, restartable.

The results hold every column of the table as it was given, then `RESULT_COLUMNS`. Each row is
written as soon as it is known, so an interrupted run loses one row at most, and running the same
command again continues behind the last whole row.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TextIO

from tqdm import tqdm

from ..errors import BoneAgeError, InvalidPatient, InvalidTable, SeveralHands, WeightsCorrupt, WeightsMissing
from ..faults import log_fault
from ..types import HandChoice, Patient, Report, parse_sex, refusal
from .pool import assess_rows
from .ray_engine import assess_rows_on_ray
from .tables import Table, parse_number, read_table

NEEDED_COLUMNS = ("file", "sex")
AGE_COLUMN = "chronological_age_months"  # optional in the table
ONE_OF_SEVERAL = "one_of_several_hands"  # caution of an estimate for which a hand was chosen (`choose_hand`)
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


class CanAssess(Protocol):
    """What a batch needs of `assess.Assessor`."""

    def assess(self, source: Path, patient: Patient, *, hand: HandChoice | None = None) -> Report:
        """One radiograph, what is known of the child and which of several hands to a report."""


@dataclass(frozen=True)
class Batch:
    """One batch, as asked for.

    Attributes:
        table_csv: with the columns file and sex; chronological_age_months is used if there.
        images: the folder that `file` is relative to; nothing outside it is opened.
        results_csv: where the results go; continued if it is a beginning of them.
        recipe: name of the recipe.
        local_calibration: the beginning of the sha256 of a clinic's own calibration; "" for none.
        hand: which of several hands; None refuses such a picture.
    """

    table_csv: Path
    images: Path
    results_csv: Path
    recipe: str
    local_calibration: str = ""
    hand: HandChoice | None = None


@dataclass(frozen=True)
class Tally:
    """How many rows of the results were assessed and how many refused, earlier runs included."""

    assessed: int
    refused: int


def run_batch(
    batch: Batch,
    load_assessor: Callable[[], CanAssess],
    show_progress: bool = True,
    processes: int = 1,
    engine: Literal["pool", "ray"] = "pool",
) -> Tally:
    """Assess every row of a table that its results do not hold yet.

    Args:
        batch: what to assess, and where the results go.
        load_assessor: called once, and only if there is a row left to assess.
        show_progress: draw a progress bar on standard error.
        processes: on which rows are assessed; the results are the same, but for their seconds. See `pool`.
        engine: what shares the rows out: processes of this machine, or Ray (`ray_engine`).

    Raises:
        InvalidTable: the table lacks columns, or the results file belongs to something else.
        WeightsMissing, WeightsCorrupt: about no row in particular, so the batch stops there.
    """
    table = read_table(batch.table_csv, NEEDED_COLUMNS, (AGE_COLUMN,))
    if not batch.images.is_dir():
        raise InvalidTable(f"{batch.images.name} is not a folder. Give the folder with the radiographs as --images.")
    if batch.results_csv.resolve() == batch.table_csv.resolve():
        raise InvalidTable("The results would overwrite the table. Give another file as --out.")
    columns = [carried_name(name) for name in table.columns] + list(RESULT_COLUMNS)
    with _alone(batch.results_csv) as handle:
        done = _read_done(batch, table, columns)
        left = table.rows[len(done) :]
        if left:
            assessor = load_assessor()
            _check_versions(batch, done, assessor)
            if engine == "ray":
                results = assess_rows_on_ray(RowAssessor(batch, load_assessor), left, processes)
            elif processes > 1 and len(left) > 1:
                results = assess_rows(RowAssessor(batch, load_assessor), left, processes)
            else:
                results = map(RowAssessor(batch, load_assessor, assessor), left)
            writer = csv.DictWriter(handle, columns, lineterminator="\n")
            if handle.seek(0, os.SEEK_END) == 0:
                writer.writeheader()
            bar = tqdm(left, "radiographs", len(table.rows), initial=len(done), unit="", disable=not show_progress)
            for row, result in zip(bar, results, strict=True):
                fields = flatten(result)
                writer.writerow(written_row(row, fields))
                handle.flush()
                done.append(Done(fields["status"], ""))
    refused = sum(row.status == "refused" for row in done)
    return Tally(assessed=len(done) - refused, refused=refused)


@dataclass
class RowAssessor:
    """Assesses rows of one batch; its assessor is loaded for the first of them, in whichever process that is.

    Attributes:
        batch: as asked for.
        load_assessor: must be picklable where there are several processes (a function of a module, or a partial).
        assessor: where it is loaded already; then this is not to be sent to another process.
    """

    batch: Batch
    load_assessor: Callable[[], CanAssess]
    assessor: CanAssess | None = None

    def __call__(self, row: Mapping[str, str]) -> dict[str, Any]:
        """A row's report or refusal.

        Raises:
            BoneAgeError: about no row in particular.
        """
        if self.assessor is None:
            self.assessor = self.load_assessor()
        return assess_row(self.batch, row, self.assessor)

    def refuse(self, row: Mapping[str, str], error: Exception) -> dict[str, Any]:
        """The refusal of a row for an error outside of the assessor."""
        return refusal(row["file"], self.batch.recipe, error)


class Done(NamedTuple):
    """A row that an earlier run finished."""

    status: str
    versions: str


def written_row(row: Mapping[str, str], fields: Mapping[str, str]) -> dict[str, str]:
    """A row of the results: the table's own columns, then the result."""
    whole = {carried_name(name): value for name, value in row.items()} | dict(fields)
    return {name: mark_formula(value) for name, value in whole.items()}


def mark_formula(text: str) -> str:
    """A field that a spreadsheet would run as a formula, with an apostrophe before it; any other as it is."""
    if not text.startswith(FORMULA_STARTS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _check_versions(batch: Batch, done: Sequence[Done], assessor: CanAssess) -> None:
    """Refuse to go on with results that other weights or another calibration made.

    Raises:
        InvalidTable: they did.
    """
    versions = getattr(assessor, "versions", None)
    if versions is None:
        return
    for row in done:
        if row.status == "ok" and row.versions != json.dumps(dict(versions)):
            raise InvalidTable(
                f"{batch.results_csv.name} was begun with other weights or another calibration than are there now. It "
                "was left as it is: give another file as --out, or bring back the weights folder."
            )


def flatten(result: dict[str, Any]) -> dict[str, str]:
    """A report's or refusal's dict as the text of `RESULT_COLUMNS`; what it does not hold is ""."""
    low, high = result.get("interval_months", ("", ""))
    error = result.get("error", {"type": "", "message": ""})
    values: dict[str, Any] = result | {
        "interval_low_months": low,
        "interval_high_months": high,
        "sex_mismatch": str(result["sex_mismatch"]).lower() if "sex_mismatch" in result else "",
        "cautions": "; ".join(caution["code"] for caution in result.get("cautions", ())),
        "members": json.dumps(result["members"]) if "members" in result else "",
        "versions": json.dumps(result["versions"]) if "versions" in result else "",
        "error_type": error["type"],
        "error_message": error["message"],
    }
    return {name: str(values.get(name, "")) for name in RESULT_COLUMNS}


def carried_name(column: str) -> str:
    """What a table's own column is called in the results: its name, unless a result has it already."""
    return mark_formula(f"input_{column}" if column in RESULT_COLUMNS else column)


def assess_row(batch: Batch, row: Mapping[str, str], assessor: CanAssess) -> dict[str, Any]:
    """One row's report or refusal."""
    try:
        path = _inside(batch.images, row["file"])
        return assessor.assess(path, patient_of(row), hand=batch.hand).to_dict()
    except (WeightsMissing, WeightsCorrupt):
        raise
    except Exception as error:  # noqa: BLE001, one row must not end the others
        if not isinstance(error, BoneAgeError):
            log_fault(error)
        return refusal(row["file"], batch.recipe, error)


def patient_of(row: Mapping[str, str]) -> Patient:
    """Sex and age of a table's row.

    Raises:
        InvalidPatient: one of them makes no sense.
    """
    return Patient(parse_sex(row["sex"]), _parse_age(row.get(AGE_COLUMN, "")))


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """A whole results table, as `run_batch` writes it row by row."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: mark_formula(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _inside(images: Path, file: str) -> Path:
    """The path of a row's file, if it lies in the folder by its name (links in the folder are the owner's choice).

    Raises:
        InvalidTable: it names nothing, or leads outside.
    """
    if not file.strip() or "\0" in file:
        raise InvalidTable("The row names no file. Write the radiograph's name in the column file.")
    folder = os.path.abspath(images)
    path = os.path.abspath(os.path.join(folder, file.strip()))
    if path == folder or os.path.commonpath([folder, path]) != folder:
        raise InvalidTable("The file leads outside the images folder. Name it relative to that folder, without '..'.")
    return Path(path)


def _parse_age(text: str) -> float | None:
    """Months from a field; an empty one means not known."""
    if not text.strip():
        return None
    try:
        return parse_number(text)
    except ValueError:
        raise InvalidPatient(
            f"'{text[:20]}' is not an age in months. Give a number such as 121, or leave it empty."
        ) from None


@contextmanager
def _alone(path: Path) -> Iterator[TextIO]:
    """The results file, open for appending, while no other batch has it; one that was made and stays empty goes again.

    Raises:
        InvalidTable: another batch writes to it, or it cannot be written.
    """
    new = not path.exists()
    try:
        handle = path.open("a", encoding="utf-8", newline="")
    except OSError:
        raise InvalidTable(f"{path.name} cannot be written. Check that its folder is there and may be used.") from None
    with handle:
        if not lock(handle):
            raise InvalidTable(
                f"{path.name} is being written by another batch. Wait for its end, or give another file as --out."
            )
        try:
            yield handle
        finally:
            if new and handle.tell() == 0:
                path.unlink(missing_ok=True)


def lock(handle: TextIO) -> bool:
    """Lock an open file until it is closed; False if another process has."""
    try:
        import fcntl
    except ImportError:  # Windows: two batches on one file are not noticed there
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_done(batch: Batch, table: Table, columns: list[str]) -> list[Done]:
    """Every row that an earlier run finished; cuts a torn last line off the file.

    Raises:
        InvalidTable: the file is not a beginning of this batch's results. It is left as it is.
    """
    path = batch.results_csv
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
    except OSError:
        raise InvalidTable(f"{path.name} cannot be read. Give another file as --out.") from None
    try:
        records, whole_text = _whole_records(text, len(columns))
    except csv.Error:  # a field of more characters than anything this writes
        raise _foreign(path) from None
    torn = text[len(whole_text) :]
    header_agrees = records[0] == columns if records else _line(columns).startswith(torn)
    torn_records = len(list(csv.reader(_lines(torn))))
    if not header_agrees or len(records) - 1 > len(table.rows) or torn_records > 1:
        raise _foreign(path)
    done: list[Done] = []
    for record, row in zip(records[1:], table.rows, strict=False):
        fields = dict(zip(columns, record, strict=True))
        if record[: len(row)] != [mark_formula(value) for value in row.values()] or fields["recipe"] != batch.recipe:
            raise _foreign(path)
        if fields["status"] == "ok" and _calibration_of(fields["versions"]) != batch.local_calibration:
            raise _foreign(path)
        if (batch.hand is None and ONE_OF_SEVERAL in fields["cautions"]) or (
            batch.hand is not None and fields["error_type"] == SeveralHands.__name__
        ):
            raise _foreign(path)
        done.append(Done(fields["status"], fields["versions"]))
    if torn:
        os.truncate(path, len(whole_text.encode("utf-8", "surrogateescape")))
    return done


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


def _calibration_of(versions: str) -> str:
    """The local calibration that a row was made with, "" for none."""
    try:
        return str(json.loads(versions).get("local_calibration", ""))
    except (ValueError, AttributeError):
        return ""


def _foreign(path: Path) -> InvalidTable:
    return InvalidTable(
        f"{path.name} already holds something else than the beginning of these results (another table, recipe, "
        "local calibration, choice of hand or order of rows). It was left as it is: give another file as --out, or "
        "remove it first."
    )
