"""A table of radiographs in, a table of estimates out: row by row, refusals kept, restartable.

    tables ─► batch ─► pool or ray_engine ─► RowAssessor ─► results
                                     images ─────┴─► heatmaps

The results hold every column of the table as it was given, then `RESULT_COLUMNS`. Running the same command again goes
on behind the last whole row of a CSV file, or behind the last part of a Parquet folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from tqdm import tqdm

from ..errors import (
    BoneAgeError,
    InvalidPatient,
    InvalidTable,
    SeveralHands,
    StorageUnreachable,
    WeightsCorrupt,
    WeightsMissing,
)
from ..faults import log_fault
from ..types import HandChoice, Patient, Report, parse_sex, refusal
from .heatmaps import Heatmaps
from .images import Images, open_images
from .pool import NumberedRow, assess_rows
from .ray_engine import assess_rows_on_ray
from .results import PART_ROWS, RESULT_COLUMNS, Results, foreign, open_results
from .tables import Table, parse_number, read_table

NEEDED_COLUMNS = ("file", "sex")
AGE_COLUMN = "chronological_age_months"  # optional in the table
ONE_OF_SEVERAL = "one_of_several_hands"  # caution of an estimate for which a hand was chosen (`choose_hand`)


class CanAssess(Protocol):
    """What a batch needs of `assess.Assessor`."""

    def assess(
        self,
        source: Path | bytes,
        patient: Patient,
        *,
        name: str | None = None,
        explain: bool = False,
        hand: HandChoice | None = None,
    ) -> Report:
        """One radiograph, what is known of the child and which of several hands to a report.

        `name` is given with bytes alone, and `explain` where heatmaps are asked for.
        """


@dataclass(frozen=True)
class Batch:
    """One batch, as asked for.

    Attributes:
        table: CSV or Parquet with the columns file and sex; chronological_age_months is used if there.
        images: the folder, or the URL of object storage, that `file` is relative to; nothing outside it is opened.
        results: where the results go: CSV, or a folder of Parquet parts if it ends in .parquet; continued if it is a
            beginning of them.
        recipe: name of the recipe.
        local_calibration: the beginning of the sha256 of a clinic's own calibration; "" for none.
        hand: which of several hands; None refuses such a picture.
        heatmaps: where a heatmap of each assessed row goes; None for none.
        part_rows: rows of a Parquet part.
    """

    table: Path
    images: Path | str
    results: Path
    recipe: str
    local_calibration: str = ""
    hand: HandChoice | None = None
    heatmaps: Heatmaps | None = None
    part_rows: int = PART_ROWS


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
        InvalidTable: the table lacks columns, or the results belong to something else.
        PackageMissing: for Parquet, object storage or Zarr.
        WeightsMissing, WeightsCorrupt, StorageUnreachable: about no row in particular, so the batch stops there.
    """
    table = read_table(batch.table, NEEDED_COLUMNS, (AGE_COLUMN,))
    open_images(batch.images)
    if batch.results.resolve() == batch.table.resolve():
        raise InvalidTable("The results would overwrite the table. Give another file as --out.")
    with open_results(batch.results, table.columns, batch.part_rows) as results:
        done = _read_done(batch, table, results)
        assessed, refused = done.assessed, done.refused
        left = list(enumerate(table.rows, start=1))[assessed + refused :]
        if left:
            assessor = load_assessor()
            _check_versions(batch, done, assessor)
            if batch.heatmaps is not None:
                batch.heatmaps.prepare()
            results.go_on()
            if engine == "ray":
                answers = assess_rows_on_ray(RowAssessor(batch, load_assessor), left, processes)
            elif processes > 1 and len(left) > 1:
                answers = assess_rows(RowAssessor(batch, load_assessor), left, processes)
            else:
                answers = map(RowAssessor(batch, load_assessor, assessor), left)
            begun, shown = assessed + refused, show_progress
            bar = tqdm(left, "radiographs", len(table.rows), initial=begun, unit="", disable=not shown)
            for (_, row), answer in zip(bar, answers, strict=True):
                fields = flatten(answer)
                results.write(dict(zip(results.columns, (*row.values(), *fields.values()), strict=True)))
                assessed += fields["status"] != "refused"
                refused += fields["status"] == "refused"
    return Tally(assessed, refused)


@dataclass
class RowAssessor:
    """Assesses rows of one batch; what it needs is opened for the first of them, in whichever process that is.

    Attributes:
        batch: as asked for.
        load_assessor: must be picklable where there are several processes (a function of a module, or a partial).
        assessor: where it is loaded already; then this is not to be sent to another process.
        images: where the radiographs are, once opened; likewise.
    """

    batch: Batch
    load_assessor: Callable[[], CanAssess]
    assessor: CanAssess | None = None
    images: Images | None = field(default=None, init=False)

    def __call__(self, numbered: NumberedRow) -> dict[str, Any]:
        """A row's report or refusal; its heatmap is written.

        Raises:
            BoneAgeError: about no row in particular.
        """
        if self.assessor is None:
            self.assessor = self.load_assessor()
        if self.images is None:
            self.images = open_images(self.batch.images)
        try:
            return self._assess(numbered, self.assessor, self.images).to_dict()
        except (WeightsMissing, WeightsCorrupt, StorageUnreachable):
            raise
        except Exception as error:  # noqa: BLE001, one row must not end the others
            if not isinstance(error, BoneAgeError):
                log_fault(error)
            return self.refuse(numbered, error)

    def _assess(self, numbered: NumberedRow, assessor: CanAssess, images: Images) -> Report:
        (number, row), heatmaps = numbered, self.batch.heatmaps
        patient, source = patient_of(row), images.find(row["file"])
        more: dict[str, Any] = {"name": row["file"]} if isinstance(source, bytes) else {}
        more |= {} if heatmaps is None else {"explain": True}
        report = assessor.assess(source, patient, hand=self.batch.hand, **more)
        if heatmaps is not None:
            heatmaps.write(number, row["file"], report)
        return report

    def refuse(self, numbered: NumberedRow, error: Exception) -> dict[str, Any]:
        """The refusal of a row for an error."""
        return refusal(numbered[1]["file"], self.batch.recipe, error)


class Done(NamedTuple):
    """What earlier runs finished: rows assessed, rows refused, and the versions that the assessed ones name."""

    assessed: int
    refused: int
    versions: frozenset[str]


def _read_done(batch: Batch, table: Table, results: Results) -> Done:
    """Look through what earlier runs finished.

    Raises:
        InvalidTable: the results are not a beginning of this batch's. They are left as they are.
    """
    count = {"ok": 0, "refused": 0}
    versions: set[str] = set()
    for number, fields in enumerate(results.done(), start=1):
        given = table.rows[number - 1] if number <= len(table.rows) else {}
        carried = [fields[name] for name in results.columns[: len(table.columns)]]
        if (
            carried != [results.written(value) for value in given.values()]
            or fields["recipe"] != batch.recipe
            or fields["status"] not in count
            or (batch.hand is None and ONE_OF_SEVERAL in fields["cautions"])
            or (batch.hand is not None and fields["error_type"] == SeveralHands.__name__)
        ):
            raise foreign(batch.results)
        count[fields["status"]] += 1
        if fields["status"] == "refused":
            continue
        versions.add(fields["versions"])
        if batch.heatmaps is not None and batch.heatmaps.lacks(number, given["file"]):
            raise InvalidTable(
                f"{batch.results.name} was begun without the heatmaps that are asked for now. It was left as it is: "
                "give another file as --out, or the same --heatmaps as before."
            )
    if any(_calibration_of(text) != batch.local_calibration for text in versions):
        raise foreign(batch.results)
    return Done(count["ok"], count["refused"], frozenset(versions))


def _calibration_of(versions: str) -> str:
    """The local calibration that a row was made with, "" for none."""
    try:
        return str(json.loads(versions).get("local_calibration", ""))
    except (ValueError, AttributeError):
        return ""


def _check_versions(batch: Batch, done: Done, assessor: CanAssess) -> None:
    """Refuse to go on with results that other weights or another calibration made.

    Raises:
        InvalidTable: they did.
    """
    versions = getattr(assessor, "versions", None)
    if versions is not None and done.versions - {json.dumps(dict(versions))}:
        raise InvalidTable(
            f"{batch.results.name} was begun with other weights or another calibration than are there now. It "
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


def patient_of(row: Mapping[str, str]) -> Patient:
    """Sex and age of a table's row.

    Raises:
        InvalidPatient: one of them makes no sense.
    """
    return Patient(parse_sex(row["sex"]), _parse_age(row.get(AGE_COLUMN, "")))


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
