"""Months per member -> Prediction with an interval that keeps its promise.

Three things are fitted on pictures no network was trained on, or on its own training set where
said, and stand in `weights/manifest.json` under the recipe's name:

    {"bias": {"<member>": {"slope": 0.04, "intercept_months": -3.9}},          fitted on train
     "interval": {"knots_months": [...], "half_widths_months": [...],          fitted on val
                  "coverage": 0.9, "count": 100},
     "sex_mismatch": {"probability": 0.98, "youngest_months": 48},             chosen on val
     "trained_range_months": {"female": [1, 216], "male": [1, 228]}}           seen in training
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import WeightsCorrupt
from .types import SEXES, Prediction, Sex

COVERAGE = 0.9


@dataclass(frozen=True)
class LinearBias:
    """What a network trained by regression gets wrong on average, as a line over its answer.

    corrected = months - (months * slope + intercept_months): Deeplasia's convention
    (`data/parameters.yml`; FIELD.md section 1).
    """

    slope: float = 0.0
    intercept_months: float = 0.0

    def correct(self, months: float) -> float:
        """Months without the average error at this answer."""
        return months - (months * self.slope + self.intercept_months)


def fit_bias(predicted_months: ArrayLike, true_months: ArrayLike) -> LinearBias:
    """The least-squares line of (predicted - true) over predicted."""
    predicted, true = _pairs(predicted_months, true_months)
    slope, intercept = np.polyfit(predicted, predicted - true, 1)
    return LinearBias(float(slope), float(intercept))


@dataclass(frozen=True)
class IntervalModel:
    """Half widths of the interval, by predicted age.

    Attributes:
        knots_months: predicted ages, rising; between them the width is interpolated, outside it is
            the nearest one's. One knot means one width for all.
        half_widths_months: at each knot.
        coverage: the share of children whose reference lies inside.
        count: how many pictures it was fitted on.

    Raises:
        ValueError: lengths differ, knots do not rise, or a width is not positive.
    """

    knots_months: tuple[float, ...]
    half_widths_months: tuple[float, ...]
    coverage: float = COVERAGE
    count: int = 0

    def __post_init__(self) -> None:
        if not self.knots_months or len(self.knots_months) != len(self.half_widths_months):
            raise ValueError("an interval needs as many half widths as knots, and at least one")
        if any(np.diff(self.knots_months) <= 0) or min(self.half_widths_months) <= 0 or not 0 < self.coverage < 1:
            raise ValueError("knots must rise, half widths be positive and the coverage lie between 0 and 1")

    def half_width(self, months: ArrayLike) -> NDArray[np.float64]:
        """Half the interval's width at predicted ages, same shape."""
        ages = np.asarray(months, dtype=np.float64)
        return np.asarray(np.interp(ages, self.knots_months, self.half_widths_months), dtype=np.float64)


def fit_scale(
    predicted_months: ArrayLike, true_months: ArrayLike, knots_months: Sequence[float], reach_months: float = 24.0
) -> IntervalModel:
    """How the typical error changes with the predicted age: a Gaussian-weighted mean absolute error at each knot.

    Only its shape matters to `fit_interval`, so it may come from pictures seen in training.
    """
    predicted, true = _pairs(predicted_months, true_months)
    weights = np.exp(-0.5 * ((predicted - np.asarray(knots_months)[:, None]) / reach_months) ** 2)
    errors = (weights * np.abs(predicted - true)).sum(axis=1) / weights.sum(axis=1)
    return IntervalModel(tuple(map(float, knots_months)), tuple(map(float, errors)))


def fit_interval(
    predicted_months: ArrayLike,
    true_months: ArrayLike,
    scale: IntervalModel | None = None,
    coverage: float = COVERAGE,
) -> IntervalModel:
    """Split conformal prediction: widths that cover with the promised share on pictures like these.

    The absolute errors, divided by `scale` if it is given, are ranked and the
    ceil((n + 1) * coverage)-th smallest is taken: the finite-sample quantile (Lei et al.,
    JASA 2018;113:1094-1111), exact if bias and scale were fitted on other pictures.

    Args:
        predicted_months: ensemble means after bias correction, (n,), of pictures not trained on.
        true_months: their references, (n,).
        scale: from `fit_scale`; None for one width at every age.
        coverage: 0.9 everywhere in this project.

    Raises:
        ValueError: too few pictures for the coverage.
    """
    predicted, true = _pairs(predicted_months, true_months)
    shape = scale or IntervalModel((0.0,), (1.0,))
    rank = ceil((len(predicted) + 1) * coverage)
    if rank > len(predicted):
        raise ValueError(f"{len(predicted)} pictures are too few for an interval of {coverage:.0%}")
    factor = float(np.sort(np.abs(predicted - true) / shape.half_width(predicted))[rank - 1])
    widths = tuple(factor * width for width in shape.half_widths_months)
    return IntervalModel(shape.knots_months, widths, coverage, len(predicted))


def interval(months: float, model: IntervalModel) -> tuple[float, float]:
    """(low, high) in months around a bias-corrected estimate; no child is younger than 0."""
    half = float(model.half_width(months))
    return max(0.0, months - half), months + half


def choose_mismatch_probability(probability_of_entered_sex: ArrayLike, max_false_alarm: float = 0.01) -> float:
    """How sure the network must be of the other sex before "check the entry" is said.

    Args:
        probability_of_entered_sex: (n,), for pictures whose entry is right.
        max_false_alarm: share of them that may raise the caution.

    Returns:
        the lowest probability of the other sex, at least 0.5, that at most this share exceeds.
    """
    other = np.sort(1.0 - np.asarray(probability_of_entered_sex, dtype=np.float64))[::-1]
    allowed = floor(max_false_alarm * other.size)
    return float(max(0.5, other[allowed])) if allowed < other.size else 0.5


@dataclass(frozen=True)
class Calibration:
    """Everything measured about one recipe's answers; see the module's docstring.

    Attributes:
        bias: member name to its line.
        interval: widths around the corrected ensemble mean.
        mismatch_probability: the other sex must be at least this probable before the entry is questioned.
        mismatch_youngest_months: below this estimate it is not questioned at all.
        trained_range_months: by sex, (youngest, oldest) reference age seen in training.
    """

    bias: Mapping[str, LinearBias]
    interval: IntervalModel
    mismatch_probability: float
    mismatch_youngest_months: float
    trained_range_months: Mapping[Sex, tuple[float, float]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Validate the manifest's plain values.

        Raises:
            WeightsCorrupt: something is missing or of the wrong kind.
        """
        try:
            mismatch, width = values["sex_mismatch"], dict(values["interval"])
            knots, halves = (tuple(map(float, width.pop(k))) for k in ("knots_months", "half_widths_months"))
            ranges = {sex: tuple(map(float, values["trained_range_months"][sex])) for sex in SEXES}
            if any(len(span) != 2 for span in ranges.values()):
                raise ValueError("a trained range is a pair: youngest, oldest")
            return cls(
                {member: LinearBias(**line) for member, line in values["bias"].items()},
                IntervalModel(knots, halves, **width),
                float(mismatch["probability"]),
                float(mismatch["youngest_months"]),
                {sex: (span[0], span[1]) for sex, span in ranges.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise WeightsCorrupt(
                f"The calibration in weights/manifest.json cannot be used ({type(wrong).__name__}: {wrong}). "
                "Get the weights folder again as weights/README.md says."
            ) from wrong

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        return {
            "bias": {member: asdict(line) for member, line in self.bias.items()},
            "interval": asdict(self.interval),
            "sex_mismatch": {
                "probability": self.mismatch_probability,
                "youngest_months": self.mismatch_youngest_months,
            },
            "trained_range_months": {sex: list(span) for sex, span in self.trained_range_months.items()},
        }


def calibrate(months: Mapping[str, float], sex: Sex, calibration: Calibration) -> Prediction:
    """Correct each member, average, and give the width.

    Args:
        months: member name to its raw answer.
        sex: the one the answers were made for.
        calibration: of the same recipe.

    Raises:
        WeightsCorrupt: a member has no bias line.
    """
    missing = sorted(set(months) - set(calibration.bias))
    if missing:
        raise WeightsCorrupt(
            f"weights/manifest.json has no bias correction for {', '.join(missing)}. "
            "Get the weights folder again as weights/README.md says."
        )
    members = {name: max(0.0, calibration.bias[name].correct(raw)) for name, raw in months.items()}
    mean = float(np.mean(list(members.values())))
    return Prediction(mean, interval(mean, calibration.interval), members, sex)


def _pairs(predicted: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 (n,)."""
    return np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
