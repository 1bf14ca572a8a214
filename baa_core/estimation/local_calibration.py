"""Estimates against the references of one clinic -> a linear correction for each sex, kept in a small file.

Readers of different places differ, and so do children and equipment. Deeplasia-GE (Sci Rep 2025;15:32673) corrected
Deeplasia with one line for each sex, fitted on 121 local radiographs: the mean absolute error on 260 others fell from
6.57 to 5.69 months. This does the same, and measures by cross-validation what it gains:

    LocalCases ─► fit_local_calibration ─► LocalCalibration ─► to_json ─► read_local_calibration ─► apply
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidCalibration, InvalidTable
from ..types import DISCLAIMER, SEXES, Caution, LocalCorrection, Prediction, Sex
from ..version import __version__
from .calibration import LinearBias, fit_bias
from .conformal import COVERAGE

FORMAT = "bone age local calibration"
FORMAT_VERSION = 1
LEAST_CASES = 30  # of each sex; Deeplasia-GE used 121 in all
LEAST_SPAN_MONTHS = 24.0  # of the estimates of one sex; a slope cannot be told from fewer
SCALE_LIMITS = (0.5, 2.0)  # of one month of estimate after correction; beyond them the references are no months
FOLDS = 10
RESAMPLES = 2000
SEED = 0  # of folds and bootstrap: the same cases give the same file
SHA_DIGITS = 12  # of the file's sha256 in `Report.versions`
LARGEST_BYTES = 100_000  # of a calibration file; a written one has about 3 000

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LocalCases:
    """Estimates of one recipe beside local references, one entry a radiograph; all arrays are (n,), ages in months.

    Attributes:
        sex: "female" or "male", for which the estimate was made.
        predicted_months: the estimate.
        half_width_months: from the estimate to the upper end of its 90 % interval.
        reference_months: as read locally.
        recipe: that made the estimates.
        weights: name of each weights file to the beginning of its sha256.
        left_out: rows of the table that could not be used, by the reason.
    """

    sex: NDArray[np.str_]
    predicted_months: Numbers
    half_width_months: Numbers
    reference_months: Numbers
    recipe: str
    weights: Mapping[str, str]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class LocalLine:
    """The correction for one sex.

    Attributes:
        slope, intercept_months: of the line: corrected = months - (months * slope + intercept_months).
        range_months: (youngest, oldest) estimate among the local cases. Beyond it the correction stays what it is at
            its end: no case says more.
        interval_factor: by how much the interval is widened, at least 1, so that it held `COVERAGE` of the local
            references (cross-validated).
        cases: local radiographs of this sex.

    Raises:
        ValueError: a number is not finite, the range does not rise, the line turns ages around, or the factor is
            below 1.
    """

    slope: float
    intercept_months: float
    range_months: tuple[float, float]
    interval_factor: float
    cases: int

    def __post_init__(self) -> None:
        numbers = (self.slope, self.intercept_months, *self.range_months, self.interval_factor)
        if not all(map(isfinite, numbers)) or self.range_months[0] >= self.range_months[1]:
            raise ValueError("a local line needs finite numbers and a range that rises")
        if not SCALE_LIMITS[0] <= 1 - self.slope <= SCALE_LIMITS[1]:
            raise ValueError(f"one month must become {SCALE_LIMITS[0]} to {SCALE_LIMITS[1]} months")
        if self.interval_factor < 1:
            raise ValueError("an interval factor is at least 1")

    def correct(self, months: float) -> float:
        """Months after the correction; never below birth."""
        nearest = min(max(months, self.range_months[0]), self.range_months[1])
        change = LinearBias(self.slope, self.intercept_months).correct(nearest) - nearest
        return max(0.0, months + change)


@dataclass(frozen=True)
class Gain:
    """What a correction does to the error, by cross-validation. Brackets are 95 % bootstrap intervals; all months.

    Attributes:
        cases: radiographs.
        mae_before_months, mae_after_months: mean absolute error without and with correction.
        mae_before_interval_months, mae_after_interval_months, change_interval_months: (low, high) of both and of
            after minus before.
        mean_difference_before_months, mean_difference_after_months: of estimate minus reference.
        coverage_before, coverage_after: share of references inside the interval, 0 to 1.
    """

    cases: int
    mae_before_months: float
    mae_before_interval_months: tuple[float, float]
    mae_after_months: float
    mae_after_interval_months: tuple[float, float]
    change_interval_months: tuple[float, float]
    mean_difference_before_months: float
    mean_difference_after_months: float
    coverage_before: float
    coverage_after: float

    @property
    def sentence(self) -> str:
        """Before and after, and whether the difference is more than chance."""
        low, high = self.change_interval_months
        before, after = self.mae_before_interval_months, self.mae_after_interval_months
        verdict = "lowers the error" if high < 0 else "raises the error: do not use it" if low > 0 else (
            "may change nothing: the interval of the difference includes zero"
        )  # fmt: skip
        return (
            f"Mean absolute error of {self.cases} local cases by cross-validation: "
            f"{self.mae_before_months:.2f} [{before[0]:.2f}, {before[1]:.2f}] months before, "
            f"{self.mae_after_months:.2f} [{after[0]:.2f}, {after[1]:.2f}] after; difference "
            f"{self.mae_after_months - self.mae_before_months:+.2f} [{low:+.2f}, {high:+.2f}]. "
            f"The correction {verdict}."
        )


@dataclass(frozen=True, eq=False)
class LocalCalibration:
    """A clinic's correction and what it belongs to.

    Attributes:
        recipe: the only one it may correct.
        weights: name of each weights file to the beginning of its sha256; it may correct no other.
        by_sex: the lines.
        gain: "all", "female" and "male" to what the correction gains.
        sha256: of the file; "" before it is written.
    """

    recipe: str
    weights: Mapping[str, str]
    by_sex: Mapping[Sex, LocalLine]
    gain: Mapping[str, Gain]
    sha256: str = ""

    @property
    def version(self) -> str:
        """The beginning of the file's sha256, for `Report.versions`."""
        return self.sha256[:SHA_DIGITS]

    def check(self, recipe: str, weights: Mapping[str, str]) -> None:
        """See that this calibration belongs to a recipe and its weights.

        Args:
            recipe: name of the recipe.
            weights: name of each weights file to the beginning of its sha256.

        Raises:
            InvalidCalibration: it was made with another recipe or with other weights.
        """
        if self.recipe != recipe:
            raise InvalidCalibration(
                f"The local calibration was made with the recipe '{self.recipe[:40]}', but '{recipe}' is in use. "
                f"Choose that recipe, or make a calibration of '{recipe}' by calibrate-local."
            )
        if other := sorted(name for name in {*weights, *self.weights} if weights.get(name) != self.weights.get(name)):
            raise InvalidCalibration(
                f"The local calibration was made with other weights ({', '.join(other)[:80]}). "
                "Make it again with the weights in use, by batch and calibrate-local."
            )

    def apply(self, prediction: Prediction) -> Prediction:
        """A prediction corrected for its sex, its interval moved along and widened by the line's factor.

        `members` stay as the networks gave them.

        Args:
            prediction: without local correction; its interval is symmetric but where birth cuts it off.
        """
        line = self.by_sex[prediction.sex_used]
        months = line.correct(prediction.bone_age_months)
        half = line.interval_factor * (prediction.interval_months[1] - prediction.bone_age_months)
        interval = max(0.0, months - half), months + half
        return replace(prediction, bone_age_months=months, interval_months=interval)

    def widen(self, prediction: Prediction) -> Prediction:
        """A corrected prediction whose interval covers both sexes, widened by the larger of both factors."""
        return prediction.widened(max(line.interval_factor for line in self.by_sex.values()))

    def correct(self, months: float, sex: Sex) -> float:
        """Months after the correction for one sex."""
        return self.by_sex[sex].correct(months)

    def note(self, before: Prediction, sex: Sex) -> tuple[LocalCorrection, tuple[Caution, ...]]:
        """What a report says of its local calibration.

        Args:
            before: the prediction without it.
            sex: it was made for.
        """
        line, gain = self.by_sex[sex], self.gain["all"]
        change = line.correct(before.bone_age_months) - before.bone_age_months
        used = LocalCorrection(
            self.version, before.bone_age_months, change, line.interval_factor, line.cases, line.range_months
        )
        widened = f", the interval widened {line.interval_factor:.2f} times" if line.interval_factor > 1.005 else ""
        said = [
            Caution(
                "local_calibration",
                f"Corrected by a local calibration of {self.recipe} ({self.version}): {change:+.1f} months, from "
                f"{before.bone_age_months:.1f}{widened}. It was fitted on {line.cases} local {sex} cases; "
                f"mean absolute error by cross-validation {gain.mae_before_months:.1f} months before, "
                f"{gain.mae_after_months:.1f} after, both sexes.",
            )
        ]
        youngest, oldest = line.range_months
        if not youngest <= before.bone_age_months <= oldest:
            said.append(
                Caution(
                    "local_calibration_range",
                    f"The local calibration has no {sex} case like this one: its estimates reach from "
                    f"{youngest:.0f} to {oldest:.0f} months.",
                )
            )
        return used, tuple(said)

    def to_json(self) -> bytes:
        """The file: indented JSON; `read_local_calibration` reads it."""
        values = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "recipe": self.recipe,
            "weights_sha256": dict(self.weights),
            "corrected_months": "months - (months * slope + intercept_months); beyond range_months as at its end",
            "by_sex": {sex: asdict(line) for sex, line in self.by_sex.items()},
            "cross_validation": {"folds": FOLDS, "bootstrap_resamples": RESAMPLES, "seed": SEED},
            "gain": {name: asdict(gain) for name, gain in self.gain.items()},
            "made_by": {"baa_core": __version__},
            "disclaimer": DISCLAIMER,
        }
        return (json.dumps(_rounded(values), indent=1, allow_nan=False) + "\n").encode()


def fit_local_calibration(cases: LocalCases) -> LocalCalibration:
    """One line for each sex by least squares, gross errors left out (`calibration.fit_bias`), and what it gains.

    Args:
        cases: at least `LEAST_CASES` of each sex.

    Raises:
        InvalidTable: too few cases, too narrow a range of estimates, or references that are not bone ages in months.
    """
    chosen = {sex: np.flatnonzero(cases.sex == sex) for sex in SEXES}
    if few := [f"{len(rows)} {sex}" for sex, rows in chosen.items() if len(rows) < LEAST_CASES]:
        raise InvalidTable(
            f"A local calibration needs at least {LEAST_CASES} cases of each sex, but there are only "
            f"{' and '.join(few)} with an estimate and a reference. Add local cases and try again."
        )
    lines: dict[Sex, LocalLine] = {}
    after, widths = np.empty_like(cases.predicted_months), np.empty_like(cases.predicted_months)
    for sex, rows in chosen.items():
        predicted, reference = cases.predicted_months[rows], cases.reference_months[rows]
        half = cases.half_width_months[rows]
        span = (float(predicted.min()), float(predicted.max()))
        if span[1] - span[0] < LEAST_SPAN_MONTHS:
            raise InvalidTable(
                f"The estimates of the {sex} cases reach from {span[0]:.0f} to {span[1]:.0f} months only. "
                f"Add cases of other ages, so that they cover at least {LEAST_SPAN_MONTHS:.0f} months."
            )
        held_out = _cross_validated(predicted, reference, sex)
        factor = _interval_factor(np.abs(held_out - reference), half)
        lines[sex] = _fit_line(predicted, reference, sex, factor)
        after[rows], widths[rows] = held_out, half * _cross_validated_factors(np.abs(held_out - reference), half)
    gain = {"all": _gain(cases, after, widths, np.arange(len(cases.sex)))}
    gain |= {sex: _gain(cases, after, widths, rows) for sex, rows in chosen.items()}
    made = LocalCalibration(cases.recipe, dict(cases.weights), lines, gain)
    return replace(made, sha256=hashlib.sha256(made.to_json()).hexdigest())


def read_local_calibration(path: Path) -> LocalCalibration:
    """The calibration in a file written by `to_json`.

    Raises:
        InvalidCalibration: it cannot be read, is no such file, or holds numbers that cannot be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError:
        raise InvalidCalibration(
            f"{path.name} cannot be read. Check that the calibration file is there and may be opened."
        ) from None
    try:
        if len(content) > LARGEST_BYTES:
            raise ValueError("too large")
        values = json.loads(content)
        if values["format"] != FORMAT or values["format_version"] != FORMAT_VERSION:
            raise ValueError("another format")
        if any(values["by_sex"][sex]["cases"] < LEAST_CASES for sex in SEXES):
            raise ValueError("too few cases")
        weights = {str(name): str(sha) for name, sha in values["weights_sha256"].items()}
        lines = {sex: LocalLine(**_pairs(values["by_sex"][sex])) for sex in SEXES}
        gain = {name: Gain(**_pairs(values["gain"][name])) for name in ("all", *SEXES)}
        return LocalCalibration(str(values["recipe"]), weights, lines, gain, hashlib.sha256(content).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidCalibration(
            f"{path.name} is no local calibration file of this version. Give a file that calibrate-local has written."
        ) from None


def _fit_line(predicted: Numbers, reference: Numbers, sex: str, factor: float = 1.0) -> LocalLine:
    """Raises InvalidTable where the line cannot be of months."""
    line = fit_bias(predicted, reference)
    span = (float(predicted.min()), float(predicted.max()))
    if not SCALE_LIMITS[0] <= 1 - line.slope <= SCALE_LIMITS[1]:
        raise InvalidTable(
            f"One month of the {sex} estimates stands against {1 - line.slope:.2f} months of the references, which "
            "readers of one atlas cannot differ by. Check that the references are bone ages in months, each beside "
            "its own radiograph."
        )
    return LocalLine(line.slope, line.intercept_months, span, factor, len(predicted))


def _folds(count: int) -> NDArray[np.int64]:
    """Which of `FOLDS` each case belongs to, (n,), as even as can be."""
    return np.asarray(np.random.default_rng(SEED).permutation(count) % FOLDS, dtype=np.int64)


def _cross_validated(predicted: Numbers, reference: Numbers, sex: str) -> Numbers:
    """Each estimate corrected by the line of the other folds, (n,)."""
    folds, corrected = _folds(len(predicted)), np.empty_like(predicted)
    for fold in range(FOLDS):
        held_out = folds == fold
        line = _fit_line(predicted[~held_out], reference[~held_out], sex)
        corrected[held_out] = [line.correct(months) for months in predicted[held_out]]
    return corrected


def _interval_factor(errors: Numbers, half_widths: Numbers) -> float:
    """By how much to widen intervals, at least 1, so that they hold `COVERAGE` of new cases (split conformal rank)."""
    ratios = np.sort(errors / half_widths)
    rank = min(ceil((len(ratios) + 1) * COVERAGE), len(ratios))
    return max(1.0, float(ratios[rank - 1]))


def _cross_validated_factors(errors: Numbers, half_widths: Numbers) -> Numbers:
    """The factor for each case by the other folds, (n,)."""
    folds, factors = _folds(len(errors)), np.empty_like(errors)
    for fold in range(FOLDS):
        held_out = folds == fold
        factors[held_out] = _interval_factor(errors[~held_out], half_widths[~held_out])
    return factors


def _gain(cases: LocalCases, after: Numbers, widths: Numbers, rows: NDArray[np.int64]) -> Gain:
    reference = cases.reference_months[rows]
    difference_before, difference_after = cases.predicted_months[rows] - reference, after[rows] - reference
    before, then = np.abs(difference_before), np.abs(difference_after)
    drawn = np.random.default_rng(SEED).integers(0, len(rows), (RESAMPLES, len(rows)))
    means_before, means_after = before[drawn].mean(axis=1), then[drawn].mean(axis=1)
    return Gain(
        len(rows),
        float(before.mean()),
        _middle_95(means_before),
        float(then.mean()),
        _middle_95(means_after),
        _middle_95(means_after - means_before),
        float(difference_before.mean()),
        float(difference_after.mean()),
        float((before <= cases.half_width_months[rows]).mean()),
        float((then <= widths[rows]).mean()),
    )


def _middle_95(values: Numbers) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def _pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as tuples of two numbers."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list):
            low, high = map(float, value)
            made[name] = (low, high)
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise ValueError("a calibration holds numbers")
        else:
            made[name] = value
    return made
