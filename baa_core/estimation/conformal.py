"""The interval: what its width follows, and the factor by which it keeps its promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import copysign, exp, isfinite, lgamma, log, log1p
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COVERAGE = 0.9  # the share of children whose reference lies inside the interval that is served
CONFIDENCE = 0.75  # with which it is kept, over the chance of which pictures it was fitted on
LEVELS = (0.5, 0.6, 0.7, 0.8, COVERAGE, 0.95)  # at which the promise is checked

RESOLUTION_MONTHS = 1e-4  # of the ends of an interval; JSON holds 0.01

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UncertaintyFeatures:
    """All that the width of an interval follows, of one picture () or of several (n,); months throughout.

    Attributes:
        months: the estimate: mean of the members, by weight, after bias correction.
        deviation_months: mean over the members, by weight, of the standard deviation of each one's softmax over months.
        member_spread_months: standard deviation of the members' corrected months, by weight; 0 for one member.
    """

    months: Numbers
    deviation_months: Numbers
    member_spread_months: Numbers


def combine(corrected_months: ArrayLike, deviations_months: ArrayLike, weights: Sequence[float]) -> UncertaintyFeatures:
    """Members to the ensemble.

    Args:
        corrected_months: of each member, (members,) or (members, n).
        deviations_months: likewise.
        weights: of each member, (members,).
    """
    members, deviations = pairs(corrected_months, deviations_months)
    mean, deviation = (np.average(part, axis=0, weights=weights) for part in (members, deviations))
    spread = np.sqrt(np.average((members - mean) ** 2, axis=0, weights=weights))
    return UncertaintyFeatures(*(np.asarray(part) for part in (mean, deviation, spread)))


@dataclass(frozen=True)
class Difficulty:
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

    def measure(self, signals: UncertaintyFeatures) -> Numbers:
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

    scale: Difficulty
    factors: Mapping[float, float]
    count: int = 0

    def __post_init__(self) -> None:
        levels = sorted(self.factors)
        ranked = [self.factors[level] for level in levels]
        if COVERAGE not in self.factors or not 0 < levels[0] <= levels[-1] < 1:
            raise ValueError(f"an interval needs nominal coverages between 0 and 1, {COVERAGE} among them")
        if not all(factor > 0 and isfinite(factor) for factor in ranked) or any(np.diff(ranked) < 0):
            raise ValueError("the factors of an interval must be positive and rise with the coverage")

    def half_width(self, signals: UncertaintyFeatures, level: float = COVERAGE) -> Numbers:
        """Half the interval's width in months, of the signals' shape."""
        return self.factors[level] * self.scale.measure(signals)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IntervalModel:
        """From plain values, as `to_dict` gives them."""
        interval, scale = dict(values), dict(values["scale"])
        knots, base = (tuple(map(float, scale.pop(name))) for name in ("knots_months", "base_months"))
        factors = {float(level): float(factor) for level, factor in values["factors"].items()}
        return cls(**interval | {"scale": Difficulty(knots, base, **scale), "factors": factors})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with words for keys."""
        factors = {f"{level:g}": factor for level, factor in self.factors.items()}
        return {"scale": asdict(self.scale), "factors": factors, "count": self.count}


def fit_interval(signals: UncertaintyFeatures, true_months: ArrayLike, scale: Difficulty) -> IntervalModel:
    """Split conformal prediction: widths of the nominal coverage on pictures like these.

    The absolute errors divided by the scale are ranked, and at each of `LEVELS` the one of `tolerance_rank` is taken,
    if there are so many. What it promises is exact if bias and scale were fitted on other pictures.

    Args:
        signals: of pictures not trained on, (n,).
        true_months: their references, (n,).
        scale: fitted on other pictures.

    Raises:
        ValueError: too few pictures for `COVERAGE`.
    """
    predicted, true = pairs(signals.months, true_months)
    ratios = np.sort(np.abs(predicted - true) / scale.measure(signals))
    ranks = {level: tolerance_rank(len(ratios), level) for level in LEVELS}
    if ranks[COVERAGE] > len(ratios):
        raise ValueError(f"{len(ratios)} pictures are too few for an interval of {COVERAGE:.0%}")
    factors = {level: float(ratios[rank - 1]) for level, rank in ranks.items() if rank <= len(ratios)}
    return IntervalModel(scale, factors, len(ratios))


def tolerance_rank(count: int, level: float) -> int:
    """The rank of the error, counted from 1, whose width has the nominal coverage of a new picture; it may exceed all.

    The (n + 1) * level-th smallest (Lei et al., JASA 2018;113:1094-1111) has the nominal coverage on average over all
    sets of pictures that might have been fitted on; by every second such set the coverage is lower. The rank taken is
    the lowest that has it with `CONFIDENCE` (Vovk, Machine Learning 2013;92:349-376, proposition 2a): the coverage of
    the k-th of n exceeds the level with the probability that a binomial count of n at that level is below k.
    """
    below = 0.0
    for rank in range(1, count + 1):
        met = rank - 1
        ways = lgamma(count + 1) - lgamma(met + 1) - lgamma(count - met + 1)
        below += exp(ways + met * log(level) + (count - met) * log1p(-level))
        if below >= CONFIDENCE and rank >= (count + 1) * level:
            return rank
    return count + 1


def interval(signals: UncertaintyFeatures, model: IntervalModel) -> tuple[float, float]:
    """(low, high) in months around the estimate of one picture; no child is younger than 0."""
    months, half = float(signals.months), float(model.half_width(signals))
    return max(0.0, months - half), months + half


def mixture_interval(
    parts: Sequence[UncertaintyFeatures], probabilities: Sequence[float], model: IntervalModel
) -> tuple[float, float]:
    """(low, high) in months where it is open which of several estimates of one picture holds, as with an unknown sex.

    Each part has the predictive distribution that the conformal factors imply: symmetric about its estimate, with
    `level` of it within that level's half width. Between the levels, and beyond the last, the normal score of the
    level is linear in the half width. The interval leaves (1 - `COVERAGE`) / 2 of the mixture on either side; with
    one part certain it is `interval`.

    Args:
        parts: of one picture each, ().
        probabilities: of each part; their sum is 1.
        model: of all parts.
    """
    estimates = [float(part.months) for part in parts]
    scales = [float(model.scale.measure(part)) for part in parts]
    tail = (1.0 - COVERAGE) / 2.0

    def below(months: float) -> float:
        """The share of the mixture below so many months."""
        return sum(
            probability * (0.5 + copysign(_share_within(abs(months - estimate) / scale, model) / 2, months - estimate))
            for estimate, scale, probability in zip(estimates, scales, probabilities, strict=True)
        )

    halves = [model.factors[COVERAGE] * scale for scale in scales]
    ends = [[estimate + side * half for estimate, half in zip(estimates, halves, strict=True)] for side in (-1, 1)]
    # Each part has exactly `tail` beyond its own end, so the mixture's quantile lies between the parts' ends.
    low, high = (_solve(below, share, min(own), max(own)) for share, own in zip((tail, 1 - tail), ends, strict=True))
    return max(0.0, low), high


def _share_within(ratio: float, model: IntervalModel) -> float:
    """Which share of errors over their scale the model expects within this ratio, 0 to 1."""
    levels = sorted(model.factors)
    ratios = [0.0, *(model.factors[level] for level in levels)]
    scores = [0.0, *(NormalDist().inv_cdf((1.0 + level) / 2.0) for level in levels)]
    if ratio <= ratios[-1]:
        score = float(np.interp(ratio, ratios, scores))
    else:
        rise = (scores[-1] - scores[-2]) / max(ratios[-1] - ratios[-2], 1e-9)
        score = scores[-1] + rise * (ratio - ratios[-1])
    return 2.0 * NormalDist().cdf(score) - 1.0


def _solve(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where a rising function reaches the value, to `RESOLUTION_MONTHS`, by bisection."""
    while high - low > RESOLUTION_MONTHS:
        middle = (low + high) / 2.0
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2.0


def pairs(predicted: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 (n,)."""
    return np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
