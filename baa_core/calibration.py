"""Answers per member -> Prediction with an interval that keeps its promise.

What is fitted stands in `weights/manifest.json` under the recipe's name; nothing of it was fitted on pictures that a
network learned from, but for the bias line:

    {"bias": {"<member>": {"slope": 0.04, "intercept_months": -3.9}},                      fitted on train
     "interval": {"scale": {"knots_months": [...], "base_months": [...], "per_deviation": 0.3,
                            "per_member_spread": 0.5, "floor_months": 5},                  val, thumbnails
                  "factors": {"0.5": 0.4, "0.9": 1.0}, "count": 100},                      val, sharp films
     "sex_mismatch": {"probability": 0.98, "youngest_months": 48},                         chosen on val
     "trained_range_months": {"female": [24, 168], "male": [24, 204]},                     seen often in training
     "range_error_months": {"female": {"young": {"mae_months": 11.2, "n": 7}, "old": {"n": 0}}, "male": {...}}}  val
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import WeightsCorrupt
from .types import ENDS, SEXES, Answer, End, MeasuredError, Prediction, Sex

COVERAGE = 0.9  # the share of children whose reference lies inside the interval that is served
LEVELS = (0.5, 0.6, 0.7, 0.8, COVERAGE, 0.95)  # at which the promise is checked

GROSS_ERROR = 6.0  # median absolute deviations: four standard deviations of a normal distribution

Numbers = NDArray[np.float64]


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
    """The least-squares line of (predicted - true) over predicted; without gross errors, as of a hand badly cut out."""
    predicted, true = _pairs(predicted_months, true_months)
    error = predicted - true
    off = np.abs(error - np.median(error))
    kept = off <= GROSS_ERROR * np.median(off)
    slope, intercept = np.polyfit(predicted[kept], error[kept], 1)
    return LinearBias(float(slope), float(intercept))


@dataclass(frozen=True, eq=False)
class Signals:
    """All that the width of an interval follows, of one picture () or of several (n,); months throughout.

    Attributes:
        months: the estimate: mean of the members after bias correction.
        deviation_months: mean over the members of how widely each spreads its belief.
        member_spread_months: standard deviation of the members' corrected months; 0 for one member.
    """

    months: Numbers
    deviation_months: Numbers
    member_spread_months: Numbers


def combine(corrected_months: ArrayLike, deviations_months: ArrayLike) -> Signals:
    """Members to the ensemble.

    Args:
        corrected_months: of each member, (members,) or (members, n).
        deviations_months: likewise.
    """
    members, deviations = _pairs(corrected_months, deviations_months)
    return Signals(*(np.asarray(part) for part in (members.mean(axis=0), deviations.mean(axis=0), members.std(axis=0))))


@dataclass(frozen=True)
class Scale:
    """How the width changes from picture to picture.

    It is max(floor, base(estimate) + per_deviation * deviation + per_member_spread * member spread).

    Attributes:
        knots_months: estimates, rising; between them the base is interpolated, outside it is the nearest one's.
        base_months: at each knot, 0 or more.
        per_deviation: months for each month of deviation, 0 or more.
        per_member_spread: months for each month between the members, 0 or more.
        floor_months: no scale is below this.

    Raises:
        ValueError: lengths differ, knots do not rise, or a number is not finite or below 0, or the floor is 0.
    """

    knots_months: tuple[float, ...]
    base_months: tuple[float, ...]
    per_deviation: float
    per_member_spread: float
    floor_months: float

    def __post_init__(self) -> None:
        parts = (*self.base_months, self.per_deviation, self.per_member_spread)
        if not self.knots_months or len(self.knots_months) != len(self.base_months):
            raise ValueError("a scale needs as many base widths as knots, and at least one")
        if not all(isfinite(number) for number in (*self.knots_months, *parts, self.floor_months)):
            raise ValueError("a scale needs finite numbers")
        if any(np.diff(self.knots_months) <= 0) or min(parts) < 0 or self.floor_months <= 0:
            raise ValueError("knots must rise, the parts of a scale be 0 or more, and its floor above 0")

    def measure(self, signals: Signals) -> Numbers:
        """The scale of pictures in months, of the signals' shape."""
        base = np.interp(signals.months, self.knots_months, self.base_months)
        doubt = self.per_deviation * signals.deviation_months + self.per_member_spread * signals.member_spread_months
        return np.maximum(self.floor_months, base + doubt)


@dataclass(frozen=True)
class IntervalModel:
    """Half widths of the interval: a factor times the picture's scale.

    Attributes:
        scale: what is wide and what is narrow.
        factors: nominal coverage to the factor that reaches it; `COVERAGE` is the one served.
        count: how many pictures the factors were fitted on.

    Raises:
        ValueError: `COVERAGE` is missing, a nominal coverage is not between 0 and 1, or factors are not positive
            and rising with it.
    """

    scale: Scale
    factors: Mapping[float, float]
    count: int = 0

    def __post_init__(self) -> None:
        levels = sorted(self.factors)
        ranked = [self.factors[level] for level in levels]
        if COVERAGE not in self.factors or not 0 < levels[0] <= levels[-1] < 1:
            raise ValueError(f"an interval needs nominal coverages between 0 and 1, {COVERAGE} among them")
        if not all(factor > 0 and isfinite(factor) for factor in ranked) or any(np.diff(ranked) < 0):
            raise ValueError("the factors of an interval must be positive and rise with the coverage")

    def half_width(self, signals: Signals, level: float = COVERAGE) -> Numbers:
        """Half the interval's width in months, of the signals' shape."""
        return self.factors[level] * self.scale.measure(signals)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IntervalModel:
        """From plain values, as `to_dict` gives them."""
        interval, scale = dict(values), dict(values["scale"])
        knots, base = (tuple(map(float, scale.pop(name))) for name in ("knots_months", "base_months"))
        factors = {float(level): float(factor) for level, factor in values["factors"].items()}
        return cls(**interval | {"scale": Scale(knots, base, **scale), "factors": factors})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with words for keys."""
        factors = {f"{level:g}": factor for level, factor in self.factors.items()}
        return {"scale": asdict(self.scale), "factors": factors, "count": self.count}


def fit_interval(signals: Signals, true_months: ArrayLike, scale: Scale) -> IntervalModel:
    """Split conformal prediction: widths that cover with the promised share on pictures like these.

    The absolute errors divided by the scale are ranked, and at each of `LEVELS` the ceil((n + 1) * level)-th
    smallest is taken, if there are so many: the finite-sample quantile (Lei et al., JASA 2018;113:1094-1111), exact
    if bias and scale were fitted on other pictures.

    Args:
        signals: of pictures not trained on, (n,).
        true_months: their references, (n,).
        scale: fitted on other pictures.

    Raises:
        ValueError: too few pictures for `COVERAGE`.
    """
    predicted, true = _pairs(signals.months, true_months)
    ratios = np.sort(np.abs(predicted - true) / scale.measure(signals))
    ranks = {level: ceil((len(ratios) + 1) * level) for level in LEVELS}
    if ranks[COVERAGE] > len(ratios):
        raise ValueError(f"{len(ratios)} pictures are too few for an interval of {COVERAGE:.0%}")
    factors = {level: float(ratios[rank - 1]) for level, rank in ranks.items() if rank <= len(ratios)}
    return IntervalModel(scale, factors, len(ratios))


def interval(signals: Signals, model: IntervalModel) -> tuple[float, float]:
    """(low, high) in months around the estimate of one picture; no child is younger than 0."""
    months, half = float(signals.months), float(model.half_width(signals))
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
        mismatch_youngest_months: below this estimate it is not questioned.
        trained_range_months: by sex, (youngest, oldest) reference age seen often in training.
        range_error_months: by sex, the error on held-out pictures beyond either end of that range.
    """

    bias: Mapping[str, LinearBias]
    interval: IntervalModel
    mismatch_probability: float
    mismatch_youngest_months: float
    trained_range_months: Mapping[Sex, tuple[float, float]]
    range_error_months: Mapping[Sex, Mapping[End, MeasuredError]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Validate the manifest's plain values.

        Raises:
            WeightsCorrupt: something is missing or of the wrong kind.
        """
        try:
            mismatch, errors = values["sex_mismatch"], values["range_error_months"]
            ranges = {sex: tuple(map(float, values["trained_range_months"][sex])) for sex in SEXES}
            if any(len(span) != 2 for span in ranges.values()):
                raise ValueError("a trained range is a pair: youngest, oldest")
            return cls(
                {member: LinearBias(**line) for member, line in values["bias"].items()},
                IntervalModel.from_dict(values["interval"]),
                float(mismatch["probability"]),
                float(mismatch["youngest_months"]),
                {sex: (span[0], span[1]) for sex, span in ranges.items()},
                {sex: {end: MeasuredError(**errors[sex][end]) for end in ENDS} for sex in SEXES},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise WeightsCorrupt(
                f"The calibration in weights/manifest.json cannot be used ({type(wrong).__name__}: {wrong}). "
                "Get the weights folder again as weights/README.md says."
            ) from wrong

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        mismatch = {"probability": self.mismatch_probability, "youngest_months": self.mismatch_youngest_months}
        return {
            "bias": {member: asdict(line) for member, line in self.bias.items()},
            "interval": self.interval.to_dict(),
            "sex_mismatch": mismatch,
            "trained_range_months": {sex: list(span) for sex, span in self.trained_range_months.items()},
            "range_error_months": {
                sex: {end: asdict(measured) for end, measured in ends.items()}
                for sex, ends in self.range_error_months.items()
            },
        }


def calibrate(answers: Mapping[str, Answer], sex: Sex, calibration: Calibration) -> Prediction:
    """Correct each member, average, and give the width.

    Args:
        answers: of each member by name.
        sex: the one the answers were made for.
        calibration: of the same recipe.

    Raises:
        WeightsCorrupt: a member has no bias line.
    """
    if missing := sorted(set(answers) - set(calibration.bias)):
        raise WeightsCorrupt(
            f"weights/manifest.json has no bias correction for {', '.join(missing)}. "
            "Get the weights folder again as weights/README.md says."
        )
    members = {name: max(0.0, calibration.bias[name].correct(answer.months)) for name, answer in answers.items()}
    signals = combine(list(members.values()), [answer.deviation_months for answer in answers.values()])
    return Prediction(float(signals.months), interval(signals, calibration.interval), members, sex)


def _pairs(predicted: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 (n,)."""
    return np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
