"""A batch results table with reference ages -> the cases that a local calibration is fitted on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import InvalidTable
from ..estimation.local_calibration import LocalCases
from ..types import Sex
from .pairs import pair_with_labels, read_results
from .tables import read_number

WEIGHTS = "weights/"  # how the versions of a result name the sha256 of a weights file


def read_local_cases(results_csv: Path, labels_csv: Path | None = None) -> LocalCases:
    """The assessed rows of a results table beside their reference ages.

    Args:
        results_csv: as `batch` writes it.
        labels_csv: the references, as for `evaluate`; if left out, the results carry a column of `REFERENCE_COLUMNS`.

    Raises:
        InvalidTable: a column is missing, a value makes no sense, a radiograph stands there twice, or the rows were
            made by several recipes, with several weights, or with a local calibration already.
    """
    left_out: Counter[str] = Counter()
    kept: list[tuple[Sex, float, float, float]] = []
    made: set[tuple[str, str]] = set()
    seen: set[str] = set()
    pairs, without = pair_with_labels(read_results(results_csv), labels_csv)
    left_out["without a reference"] += without
    for row, sex, reference_months in pairs:
        if row["status"] == "refused":
            left_out["refused"] += 1
            continue
        if row["file"] in seen:
            raise InvalidTable(
                f"{results_csv.name} holds {row['file'][:60]} twice. Give each radiograph one row, so that none "
                "counts more than others."
            )
        seen.add(row["file"])
        if row.get("sex_used", "") != sex:
            left_out["assessed for the other sex"] += 1
            continue
        months = read_number(row.get("bone_age_months", ""), "bone_age_months", "the results")
        high = read_number(row.get("interval_high_months", ""), "interval_high_months", "the results")
        if high <= months:
            raise InvalidTable(
                f"The interval of {row['file'][:60]} ends below its estimate. Make the results by batch."
            )
        made.add((row.get("recipe", ""), row.get("versions", "")))
        kept.append((sex, months, high - months, reference_months))
    recipe, weights = _made_by(results_csv.name, made)
    return LocalCases(
        sex=np.array([sex for sex, _, _, _ in kept], dtype=np.str_),
        predicted_months=np.array([months for _, months, _, _ in kept], dtype=np.float64),
        half_width_months=np.array([half for _, _, half, _ in kept], dtype=np.float64),
        reference_months=np.array([reference for _, _, _, reference in kept], dtype=np.float64),
        recipe=recipe,
        weights=weights,
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _made_by(name: str, made: set[tuple[str, str]]) -> tuple[str, Mapping[str, str]]:
    """Recipe and weights of the results.

    Raises:
        InvalidTable: there are several, or none, or a local calibration has corrected them.
    """
    found: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for recipe, versions in made:
        try:
            known = {str(key): str(value) for key, value in json.loads(versions).items()}
        except (ValueError, AttributeError):
            raise InvalidTable(
                f"{name} does not say in the column versions which weights made it. Make the results by batch."
            ) from None
        if "local_calibration" in known:
            raise InvalidTable(
                f"The results in {name} are corrected by a local calibration already. Make them again without one."
            )
        weights = {key.removeprefix(WEIGHTS): value for key, value in known.items() if key.startswith(WEIGHTS)}
        found.add((recipe, tuple(sorted(weights.items()))))
    if len(found) > 1:
        raise InvalidTable(
            f"The results in {name} were made by {len(found)} recipes or sets of weights. Make all of them by one."
        )
    for recipe, weights_found in found:
        return recipe, dict(weights_found)
    return "", {}
