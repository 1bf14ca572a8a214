"""Answers per member -> Prediction with an interval that keeps its promise.

What is fitted stands in `weights/manifest.json` under the recipe's name; nothing of it was fitted on pictures that a
network learned from, but for the bias line:

    {"bias": {"<member>": {"slope": 0.04, "intercept_months": -3.9}},    fitted on val; not there if none is applied
     "interval": {"scale": {"knots_months": [...], "base_months": [...], "per_deviation": 0.3,
                            "per_member_spread": 0.5, "floor_months": 5},                  val, thumbnails
                  "factors": {"0.5": 0.4, "0.9": 1.0}, "count": 100},                      val, sharp radiographs
     "sex_mismatch": {"probability": 0.98, "agreement_probability": 0.9, "youngest_months": 48},   chosen on val
     "trained_range_months": {"female": [24, 168], "male": [24, 204]},                  seen often in training
     "range_error_months": {"female": {"young": {"mae_months": 11.2, "n": 7}, "old": {"n": 0}}, "male": {...}},  val
     "interval_low_resolution": {...},                     val, thumbnails; where a network needs a longer hand
     "cut_factors": {"wrist": 1.2, "fingertips": 1.1, "thumb": 1.0}}              cut val radiographs; may be left out
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import floor, inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import WeightsCorrupt
from ..types import CUT_PARTS, ENDS, SEXES, CutPart, End, MeasuredError, NetworkOutput, Prediction, Sex, SexCheck
from .conformal import IntervalModel, UncertaintyFeatures, combine, interval, mixture_interval, pairs

LOW_RESOLUTION = "interval_low_resolution"
GROSS_ERROR = 6.0  # median absolute deviations: four standard deviations of a normal distribution


@dataclass(frozen=True)
class LinearBias:
    """What a network trained by regression gets wrong on average, as a line over its answer.

    corrected = months - (months * slope + intercept_months): Deeplasia's convention
    (`data/parameters.yml`; FIELD.md section 1).

    Raises:
        ValueError: a number is not finite.
    """

    slope: float = 0.0
    intercept_months: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.slope) and isfinite(self.intercept_months)):
            raise ValueError("a bias line needs finite numbers")

    def correct(self, months: float) -> float:
        """Months without the average error at this answer."""
        return months - (months * self.slope + self.intercept_months)


def fit_bias(predicted_months: ArrayLike, true_months: ArrayLike) -> LinearBias:
    """The least-squares line of (predicted - true) over predicted; without gross errors, as of a hand badly cut out."""
    predicted, true = pairs(predicted_months, true_months)
    error = predicted - true
    off = np.abs(error - np.median(error))
    kept = off <= GROSS_ERROR * np.median(off)
    slope, intercept = np.polyfit(predicted[kept], error[kept], 1)
    return LinearBias(float(slope), float(intercept))


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
        bias: member name to its line; empty if months are not corrected.
        interval: widths around the corrected ensemble mean.
        mismatch_probability: the other sex must be at least this probable before the entry is questioned.
        agreement_probability: the entered sex must be at least this probable before the radiograph is said to agree.
        mismatch_youngest_months: below this estimate the entry is not checked.
        trained_range_months: by sex, (youngest, oldest) reference age seen often in training.
        range_error_months: by sex, the error on held-out pictures beyond either end of that range.
        cut_factors: by what the picture's edge cuts off, by how much the interval is widened; a part that is not there
            was not measured, and a hand without it is refused.
        interval_low_resolution: as `interval`, where a network was left out (`Member.least_hand_px`); None for a recipe
            without such a network.

    Raises:
        ValueError: a probability is not between 0 and 1, an age is not finite, or a factor is below 1, not finite or
            of an unknown part.
    """

    bias: Mapping[str, LinearBias]
    interval: IntervalModel
    mismatch_probability: float
    agreement_probability: float
    mismatch_youngest_months: float
    trained_range_months: Mapping[Sex, tuple[float, float]]
    range_error_months: Mapping[Sex, Mapping[End, MeasuredError]]
    cut_factors: Mapping[CutPart, float] = field(default_factory=dict)
    interval_low_resolution: IntervalModel | None = None

    def __post_init__(self) -> None:
        probabilities = self.mismatch_probability, self.agreement_probability
        if not all(0.0 <= probability <= 1.0 for probability in probabilities):
            raise ValueError("probabilities lie between 0 and 1")
        spans = self.trained_range_months.values()
        if not all(isfinite(n) for n in (self.mismatch_youngest_months, *(n for span in spans for n in span))):
            raise ValueError("ages must be finite numbers")
        if set(self.cut_factors) - set(CUT_PARTS) or not all(1 <= f < inf for f in self.cut_factors.values()):
            raise ValueError(f"cut factors are finite, at least 1, and of {', '.join(CUT_PARTS)}")

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
                {member: LinearBias(**line) for member, line in values.get("bias", {}).items()},
                IntervalModel.from_dict(values["interval"]),
                float(mismatch["probability"]),
                float(mismatch["agreement_probability"]),
                float(mismatch["youngest_months"]),
                {sex: (span[0], span[1]) for sex, span in ranges.items()},
                {sex: {end: MeasuredError(**errors[sex][end]) for end in ENDS} for sex in SEXES},
                {part: float(factor) for part, factor in values.get("cut_factors", {}).items()},
                IntervalModel.from_dict(values[LOW_RESOLUTION]) if LOW_RESOLUTION in values else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise WeightsCorrupt(
                f"The calibration in weights/manifest.json cannot be used ({type(wrong).__name__}: {wrong}). "
                "Get the weights folder again as weights/README.md says."
            ) from wrong

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        mismatch = {
            "probability": self.mismatch_probability,
            "agreement_probability": self.agreement_probability,
            "youngest_months": self.mismatch_youngest_months,
        }
        bias = {"bias": {member: asdict(line) for member, line in self.bias.items()}} if self.bias else {}
        return {
            **bias,
            "interval": self.interval.to_dict(),
            "sex_mismatch": mismatch,
            "trained_range_months": {sex: list(span) for sex, span in self.trained_range_months.items()},
            "range_error_months": {
                sex: {end: asdict(measured) for end, measured in ends.items()}
                for sex, ends in self.range_error_months.items()
            },
            **({"cut_factors": dict(self.cut_factors)} if self.cut_factors else {}),
            **({LOW_RESOLUTION: low.to_dict()} if (low := self.interval_low_resolution) else {}),
        }

    def at_low_resolution(self) -> Calibration:
        """The calibration where a network was left out (`Member.least_hand_px`).

        Raises:
            WeightsCorrupt: the manifest holds none.
        """
        if self.interval_low_resolution is None:
            raise WeightsCorrupt(
                "weights/manifest.json has no interval for pictures of low resolution. "
                "Get the weights folder again as weights/README.md says."
            )
        return replace(self, interval=self.interval_low_resolution)


def check_sex(
    entered: Sex | None, probability_male: float, bone_age_months: float, calibration: Calibration
) -> SexCheck:
    """What the sex networks say about the entered sex.

    Args:
        entered: None if it was not.
        probability_male: of the sex networks.
        bone_age_months: the estimate for the entered sex.
        calibration: holds both limits and the youngest bone age that is checked.
    """
    if entered is None or bone_age_months < calibration.mismatch_youngest_months:
        return "not_checked"
    probability = probability_male if entered == "male" else 1.0 - probability_male
    if 1.0 - probability > calibration.mismatch_probability:
        return "differs"
    return "agrees" if probability >= calibration.agreement_probability else "inconclusive"


def calibrate(
    answers: Mapping[str, NetworkOutput], sex: Sex, calibration: Calibration, weights: Mapping[str, float]
) -> Prediction:
    """Correct each member, average by weight, and give the width.

    Args:
        answers: of each member by name.
        sex: the one the answers were made for.
        calibration: of the same recipe.
        weights: how much each member counts (`Recipe.weights`).

    Raises:
        WeightsCorrupt: the calibration corrects some members and this one not, or its numbers lead to none.
    """
    members, signals = _ensemble(answers, calibration, weights)
    return Prediction(float(signals.months), interval(signals, calibration.interval), members, sex)


def interval_for_unknown_sex(
    answers: Mapping[Sex, Mapping[str, NetworkOutput]],
    probability_male: float,
    calibration: Calibration,
    weights: Mapping[str, float],
    correct: Callable[[float, Sex], float] | None = None,
) -> tuple[float, float]:
    """(low, high) in months over the mixture of both sexes by their probability (`conformal.mixture_interval`).

    On 596 `val` pictures with the sex left out it held 90.4 % of the references (cross-validated; sharp radiographs
    92.0 % of 100), the interval of the likelier sex alone 87.1 %; of 121 with a sex probability under 0.75, 90.1 and
    81.0 % (recipe `lite`, `train calibrate`).

    Args:
        answers: by sex, of each member by name.
        probability_male: of the sex networks.
        calibration: of the same recipe.
        weights: how much each member counts.
        correct: a further correction of the ensemble's months for each sex (`local_calibration`).

    Raises:
        WeightsCorrupt: as `calibrate`.
    """
    parts = {sex: _ensemble(answers[sex], calibration, weights)[1] for sex in SEXES}
    if correct is not None:
        parts = {sex: replace(p, months=np.asarray(correct(float(p.months), sex))) for sex, p in parts.items()}
    weight = {"female": 1.0 - probability_male, "male": probability_male}
    return mixture_interval(list(parts.values()), [weight[sex] for sex in parts], calibration.interval)


def _ensemble(
    answers: Mapping[str, NetworkOutput], calibration: Calibration, weights: Mapping[str, float]
) -> tuple[dict[str, float], UncertaintyFeatures]:
    """Each member's months, corrected and not below birth, and the ensemble's signals; all finite."""
    lines = calibration.bias
    if lines and (missing := sorted(set(answers) - set(lines))):
        raise WeightsCorrupt(
            f"weights/manifest.json has no bias correction for {', '.join(missing)}. "
            "Get the weights folder again as weights/README.md says."
        )
    corrected = {name: lines[name].correct(a.months) if lines else a.months for name, a in answers.items()}
    deviations = [answer.deviation_months for answer in answers.values()]
    if not all(map(isfinite, (*corrected.values(), *deviations))):
        raise WeightsCorrupt(
            "The months of the networks and the calibration in weights/manifest.json lead to no finite number. "
            "Get the weights folder again as weights/README.md says."
        )
    members = {name: max(0.0, months) for name, months in corrected.items()}
    signals = combine(list(members.values()), deviations, [weights[name] for name in members])
    return members, signals
