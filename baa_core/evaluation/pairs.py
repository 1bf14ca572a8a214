"""Results beside their labels: one row of each, matched by the radiograph's name, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidTable
from ..types import Sex, parse_sex
from .tables import Table, read_number, read_table

Numbers = NDArray[np.float64]
Words = NDArray[np.str_]
Rows = list[dict[str, str]]

LABEL_COLUMNS = ("sex", "bone_age_months")
# The reference age among a result's carried columns: a table's own bone_age_months is renamed by `batch`.
REFERENCE_COLUMNS = ("reference_months", "input_bone_age_months")
LABEL_OPTIONS = ("rsna_id", "file", "split")


@dataclass(frozen=True, eq=False)
class Cases:
    """Results beside their labels, one entry a radiograph; all arrays have the same length.

    Attributes:
        reference_months, label_sex, split: from the labels ("" for no split).
        refused: True where there is no estimate; the estimates are nan there and the words "".
        predicted_months, low_months, high_months: the estimate and its interval.
        probability_male: of the picture.
        sex_entered, sex_predicted: "female", "male" or, entered, "unknown".
        mismatch: the report said "check the entry".
        error_type: of a refusal, else "".
        recipe: that made the result.
        n_without_label: results left out, because nothing is known of them.
    """

    reference_months: Numbers
    label_sex: Words
    split: Words
    refused: NDArray[np.bool_]
    predicted_months: Numbers
    low_months: Numbers
    high_months: Numbers
    probability_male: Numbers
    sex_entered: Words
    sex_predicted: Words
    mismatch: NDArray[np.bool_]
    error_type: Words
    recipe: Words
    n_without_label: int = 0

    def where(self, chosen: NDArray[np.bool_]) -> Cases:
        """The cases marked True."""
        arrays = [field.name for field in fields(self) if isinstance(getattr(self, field.name), np.ndarray)]
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


def read_cases(results_csv: Path, labels_csv: Path | None) -> Cases:
    """Match the results of a batch with labels.

    Args:
        results_csv: as `batch` writes it. A row finds its label by the column rsna_id if carried
            through, else by its file's stem as a number, else by the column file of the labels.
        labels_csv: bone_age_months, sex, and rsna_id or file; split if known. None: the results carry
            their references in a column of `REFERENCE_COLUMNS`.

    Raises:
        InvalidTable: a column is missing, a value makes no sense, or no result has a label.
    """
    results = read_results(results_csv)
    return match_cases(results, None if labels_csv is None else _read_labels(labels_csv), _name(labels_csv))


def match_cases(results: Table, labels: Table | None, labels_name: str = "the labels") -> Cases:
    """`read_cases` of tables that are read already."""
    pairs = _pair(results, labels) if labels is not None else _carried(results)
    if not pairs:
        raise InvalidTable(
            f"None of the {len(results.rows)} results has a label in {labels_name}. Carry rsna_id through the "
            "batch, name the files by rsna_id, or give the labels a column file."
        )
    cases = _to_arrays([result for result, _ in pairs], [label for _, label in pairs])
    return replace(cases, n_without_label=len(results.rows) - len(pairs))


def read_results(results_csv: Path) -> Table:
    """The results of a batch.

    Raises:
        InvalidTable: a column is missing, or a status is unknown.
    """
    results = read_table(results_csv, ("file", "status"), ("rsna_id",))
    if strange := {row["status"] for row in results.rows} - {"ok", "refused"}:
        raise InvalidTable(f"A status is '{min(strange)[:20]}'; it must be ok or refused. Make the results by batch.")
    return results


def pair_with_labels(results: Table, labels_csv: Path | None) -> tuple[list[tuple[dict[str, str], Sex, float]], int]:
    """Each result with its label's sex and reference age in months, and how many results have none.

    Args:
        results: as `read_results` gives them.
        labels_csv: as for `read_cases`.

    Raises:
        InvalidTable: a column is missing, or a value makes no sense.
    """
    pairs = _carried(results) if labels_csv is None else _pair(results, _read_labels(labels_csv))
    known = [(result, _label_sex(label["sex"]), _label_age(label)) for result, label in pairs]
    return known, len(results.rows) - len(known)


def _name(labels_csv: Path | None) -> str:
    return "the results" if labels_csv is None else labels_csv.name


def _read_labels(labels_csv: Path) -> Table:
    labels = read_table(labels_csv, LABEL_COLUMNS, LABEL_OPTIONS)
    if not {"rsna_id", "file"} & set(labels.columns):
        raise InvalidTable(f"{labels_csv.name} lacks a column that names the radiograph. Add rsna_id or file.")
    return labels


def _carried(results: Table) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Each result that carries its own reference, with it; its sex is the one entered.

    Raises:
        InvalidTable: there is no column for it.
    """
    column = next((name for name in REFERENCE_COLUMNS if name in results.columns), None)
    if column is None:
        raise InvalidTable(
            f"The results carry no reference ages. Add a column {REFERENCE_COLUMNS[0]}, or a table of labels."
        )
    return [
        (row, {"sex": row.get("sex", ""), "bone_age_months": row[column], "split": row.get("split", "")})
        for row in results.rows
        if row[column].strip()
    ]


def mean_train_age(labels_csv: Path) -> dict[str, float]:
    """The mean bone age in months of the `train` labels by sex; empty if there are none of one sex."""
    ages: dict[str, list[float]] = {"female": [], "male": []}
    for row in read_table(labels_csv, LABEL_COLUMNS, LABEL_OPTIONS).rows:
        if row.get("split") == "train":
            ages[_label_sex(row["sex"])].append(_label_age(row))
    return {sex: float(np.mean(known)) for sex, known in ages.items()} if all(ages.values()) else {}


def _pair(results: Table, labels: Table) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Each result that has a label, with it.

    Raises:
        InvalidTable: the labels name a radiograph twice.
    """
    by_id = {key: row for row in labels.rows if (key := _number(row.get("rsna_id", ""))) is not None}
    by_file = {row["file"]: row for row in labels.rows} if "file" in labels.columns else {}
    names: dict[str, Sized] = {"rsna_id": by_id, "file": by_file}
    if any(column in labels.columns and len(by) != len(labels.rows) for column, by in names.items()):
        raise InvalidTable("The labels name a radiograph twice or not at all. Give each one row with its own name.")
    pairs = []
    for row in results.rows:
        label = None
        for key in (_number(row.get("rsna_id", "")), _number(Path(row["file"]).stem)):
            label = label or (by_id.get(key) if key is not None else None)
        label = label or by_file.get(row["file"])
        if label:
            pairs.append((row, label))
    return pairs


def _number(text: str) -> int | None:
    """A whole number, also written 1377.0 or 1377,0 as spreadsheets do; None for any other text."""
    digits = text.strip().removesuffix(".0").removesuffix(",0")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _to_arrays(results: Rows, labels: Rows) -> Cases:
    """Text to arrays.

    Raises:
        InvalidTable: a field holds something else than its column says.
    """
    refused = np.array([row["status"] == "refused" for row in results])
    return Cases(
        reference_months=np.array([_label_age(row) for row in labels]),
        label_sex=np.array([_label_sex(row["sex"]) for row in labels], dtype=np.str_),
        split=_words(labels, "split"),
        refused=refused,
        predicted_months=_numbers(results, "bone_age_months"),
        low_months=_numbers(results, "interval_low_months"),
        high_months=_numbers(results, "interval_high_months"),
        probability_male=_numbers(results, "sex_probability_male"),
        sex_entered=_words(results, "sex_entered"),
        sex_predicted=_words(results, "sex_predicted"),
        mismatch=np.char.lower(_words(results, "sex_mismatch")) == "true",  # spreadsheets write TRUE
        error_type=_words(results, "error_type"),
        recipe=_words(results, "recipe"),
    )


def _numbers(results: Rows, column: str) -> Numbers:
    return np.array(
        [
            math.nan if row["status"] == "refused" else read_number(row.get(column, ""), column, "the results")
            for row in results
        ]
    )


def _words(rows: Rows, column: str) -> Words:
    return np.array([row.get(column, "") for row in rows], dtype=np.str_)


def _label_age(row: dict[str, str]) -> float:
    return read_number(row["bone_age_months"], "bone_age_months", "the labels")


def _label_sex(word: str) -> Sex:
    sex = parse_sex(word)
    if sex is None:
        raise InvalidTable("A label lacks its sex. Write female or male in the column sex.")
    return sex
