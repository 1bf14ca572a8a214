import json

import numpy as np
import pytest

from baa_core.errors import WeightsCorrupt
from baa_core.estimation.calibration import (
    Calibration,
    LinearBias,
    calibrate,
    check_sex,
    choose_mismatch_probability,
    fit_bias,
)
from baa_core.estimation.conformal import (
    CONFIDENCE,
    COVERAGE,
    LEVELS,
    Difficulty,
    IntervalModel,
    UncertaintyFeatures,
    combine,
    fit_interval,
    interval,
    mixture_interval,
    tolerance_rank,
)
from baa_core.types import MeasuredError, NetworkOutput, Sex

RANGES = {"female": (1.0, 216.0), "male": (1.0, 228.0)}
ERRORS = {
    "female": {"young": MeasuredError(7, 11.2), "old": MeasuredError(0)},
    "male": {"young": MeasuredError(0), "old": MeasuredError(3, 9.0)},
}
EVEN = Difficulty((0.0,), (1.0,), 0.0, 0.0, 0.5)


def signals(months: object, deviation: object = 0.0, spread: object = 0.0) -> UncertaintyFeatures:
    """Pictures with the same or their own doubts."""
    return UncertaintyFeatures(*np.broadcast_arrays(*(np.asarray(part, float) for part in (months, deviation, spread))))


def test_deeplasias_correction_by_hand() -> None:
    """FIELD.md section 1: b0 at 512 px has slope 0.0375 and intercept -3.8066."""
    assert LinearBias(0.0375, -3.8066).correct(100.0) == pytest.approx(100 - (3.75 - 3.8066))


def test_a_straight_bias_is_undone() -> None:
    true = np.linspace(10, 220, 50)
    predicted = 20 + 0.8 * true  # what shrinkage to the mean looks like
    bias = fit_bias(predicted, true)
    assert [bias.correct(p) for p in predicted] == pytest.approx(list(true))


def test_a_few_gross_errors_do_not_tilt_the_bias_line() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(30, 210, 60)
    predicted = true + rng.normal(0, 8, 60)
    plain = fit_bias(predicted, true)
    predicted[:2] = true[:2] - 90
    spoilt = fit_bias(predicted, true)
    assert spoilt.correct(120) == pytest.approx(plain.correct(120), abs=0.5)
    assert spoilt.slope == pytest.approx(plain.slope, abs=0.02)


def test_the_quantile_is_the_finite_sample_one() -> None:
    """Of 19 errors the 19th: under it 90 % of children are held with 1 - 0.9**19 = 0.86, under the 18th with 0.58 only.

    With under 14 pictures no finite width can promise 90 % with a confidence of 0.75, since 0.9**13 > 0.25.
    """
    model = fit_interval(signals(100 + np.arange(1.0, 20.0)), np.full(19, 100.0), EVEN)
    assert model.factors[COVERAGE] == 19.0
    assert 0.95 not in model.factors
    few = fit_interval(signals(np.arange(14.0)), np.zeros(14), EVEN)
    assert few.factors[COVERAGE] == 13.0
    with pytest.raises(ValueError, match="too few"):
        fit_interval(signals(np.arange(13.0)), np.zeros(13), EVEN)


@pytest.mark.parametrize(("count", "level"), [(19, 0.5), (100, 0.9), (100, 0.95), (596, 0.8)])
def test_the_rank_keeps_its_promise_with_the_confidence_and_no_lower_one_does(count: int, level: float) -> None:
    """The share held by the k-th of n uniform errors is that error itself."""
    errors = np.sort(np.random.default_rng(1).random((4000, count)), axis=1)
    rank = tolerance_rank(count, level)
    assert np.mean(errors[:, rank - 1] >= level) >= CONFIDENCE - 0.02
    assert np.mean(errors[:, rank - 2] >= level) < CONFIDENCE + 0.02


def test_errors_are_ranked_by_scale() -> None:
    """Twice the error where the scale is twice as large is no larger."""
    model = fit_interval(
        signals(100 + np.tile([10.0, 20.0], 10), np.tile([1.0, 2.0], 10)), np.full(20, 100.0), doubt_only(5.0)
    )
    assert set(model.factors.values()) == {2.0}
    assert list(model.half_width(signals(100.0, [1.0, 2.0, 3.0]))) == [10.0, 20.0, 30.0]


def doubt_only(per_deviation: float) -> Difficulty:
    return Difficulty((0.0,), (0.0,), per_deviation, 0.0, 0.1)


def test_intervals_cover_what_they_promise_at_every_level() -> None:
    random = np.random.default_rng(0)

    def children(count: int) -> tuple[UncertaintyFeatures, np.ndarray]:
        found = signals(random.uniform(12, 216, count), random.uniform(3, 12, count), random.uniform(0, 8, count))
        sizes = np.interp(found.months, [12, 120, 216], [3, 10, 6]) + found.deviation_months
        return found, found.months + random.normal(size=count) * sizes

    scale = Difficulty((12.0, 120.0, 216.0), (3.0, 10.0, 6.0), 1.0, 0.0, 1.0)
    inside: dict[float, list[float]] = {level: [] for level in LEVELS}
    for _ in range(40):
        model = fit_interval(*children(100), scale)
        found, true = children(500)
        for level in LEVELS:
            inside[level].append(float(np.mean(np.abs(found.months - true) <= model.half_width(found, level))))
    for level, shares in inside.items():
        assert level <= np.mean(shares) <= level + 0.06
        assert np.mean(np.array(shares) >= level) >= CONFIDENCE - 0.15  # forty draws of a share of 0.75 or more


def test_no_interval_reaches_below_birth() -> None:
    assert interval(signals(5.0), IntervalModel(EVEN, {COVERAGE: 12.0})) == (0.0, 17.0)


NORMAL = IntervalModel(EVEN, {0.5: 0.6745, COVERAGE: 1.6449, 0.95: 1.96})  # errors with a deviation of 1


def test_one_part_for_certain_has_its_own_interval() -> None:
    for months in (100.0, 1.0):
        parts = [signals(months), signals(150.0)]
        assert mixture_interval(parts, (1.0, 0.0), NORMAL) == pytest.approx(interval(parts[0], NORMAL), abs=1e-3)
        assert mixture_interval(parts[:1] * 2, (0.3, 0.7), NORMAL) == pytest.approx(
            interval(parts[0], NORMAL), abs=1e-3
        )


@pytest.mark.parametrize(("male", "gap"), [(0.5, 20.0), (0.9, 20.0), (0.2, 3.0), (0.97, 8.0)])
def test_the_interval_of_a_mixture_holds_nine_tenths_of_it(male: float, gap: float) -> None:
    """Drawn anew: as many below it as above it."""
    random = np.random.default_rng(0)
    drawn = 100 + gap * (random.random(200_000) < male) + random.normal(size=200_000)
    low, high = mixture_interval([signals(100.0), signals(100.0 + gap)], (1 - male, male), NORMAL)
    assert np.mean(drawn < low) == pytest.approx(0.05, abs=0.003)
    assert np.mean(drawn > high) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("factors", [{COVERAGE: 1.0}, {0.5: 1.0, 0.8: 1.0, COVERAGE: 1.0}, {0.5: 0.2, COVERAGE: 1.0}])
def test_a_mixture_holds_the_likelier_estimate_whatever_the_factors(factors: dict[float, float]) -> None:
    model = IntervalModel(EVEN, factors)
    for male in (0.5, 0.7, 0.94):
        low, high = mixture_interval([signals(100.0), signals(130.0)], (1 - male, male), model)
        assert 98.5 < low < 130 < high < 131.5


@pytest.mark.parametrize(
    ("entered", "male", "months", "found"),
    [
        (None, 0.99, 100.0, "not_checked"),
        ("male", 0.99, 47.0, "not_checked"),
        ("male", 0.99, 48.0, "agrees"),
        ("male", 0.55, 100.0, "inconclusive"),
        ("male", 0.45, 100.0, "inconclusive"),
        ("male", 0.04, 100.0, "inconclusive"),
        ("male", 0.02, 100.0, "differs"),
        ("female", 0.2, 100.0, "agrees"),
        ("female", 0.99, 100.0, "differs"),
    ],
)
def test_the_sex_check_has_a_band_where_it_settles_nothing(
    entered: Sex | None, male: float, months: float, found: str
) -> None:
    assert check_sex(entered, male, months, make_calibration()) == found


def test_widths_follow_age_doubt_and_disagreement() -> None:
    model = IntervalModel(Difficulty((50.0, 100.0), (10.0, 20.0), 0.5, 2.0, 12.0), {0.5: 1.0, COVERAGE: 2.0})
    assert list(model.half_width(signals([0.0, 50.0, 75.0, 200.0]))) == [24.0, 24.0, 30.0, 40.0]  # the floor is 12
    assert list(model.half_width(signals(75.0, [0.0, 4.0], 0.0))) == [30.0, 34.0]
    assert list(model.half_width(signals(75.0, 0.0, [0.0, 3.0]))) == [30.0, 42.0]
    assert float(model.half_width(signals(75.0), 0.5)) == 15.0


def test_members_are_combined_by_mean_and_spread() -> None:
    both = combine([[100.0, 50.0], [110.0, 50.0]], [[4.0, 0.0], [8.0, 0.0]], [1.0, 1.0])
    assert list(both.months) == [105.0, 50.0]
    assert list(both.deviation_months) == [6.0, 0.0]
    assert list(both.member_spread_months) == [5.0, 0.0]
    assert float(combine([100.0], [4.0], [1.0]).member_spread_months) == 0.0
    uneven = combine([100.0, 112.0], [4.0, 7.0], [2.0, 1.0])
    assert (float(uneven.months), float(uneven.deviation_months)) == (104.0, 5.0)
    assert float(uneven.member_spread_months) == pytest.approx(32**0.5)  # (2 * 16 + 64) / 3


@pytest.mark.parametrize(
    ("knots", "base", "others"),
    [
        ((), (), (0.0, 0.0, 1.0)),
        ((1.0,), (1.0, 2.0), (0.0, 0.0, 1.0)),
        ((2.0, 1.0), (1.0, 1.0), (0.0, 0.0, 1.0)),
        ((1.0,), (-1.0,), (0.0, 0.0, 1.0)),
        ((1.0,), (1.0,), (-0.1, 0.0, 1.0)),
        ((1.0,), (1.0,), (0.0, -0.1, 1.0)),
        ((1.0,), (1.0,), (0.0, 0.0, 0.0)),
        ((1.0,), (1.0,), (float("nan"), 0.0, 1.0)),
        ((1.0,), (float("inf"),), (0.0, 0.0, 1.0)),
    ],
)
def test_impossible_scales_are_refused(
    knots: tuple[float, ...], base: tuple[float, ...], others: tuple[float, float, float]
) -> None:
    with pytest.raises(ValueError, match=r"scale needs|must rise"):
        Difficulty(knots, base, *others)


@pytest.mark.parametrize(
    "factors",
    [{}, {0.5: 1.0}, {COVERAGE: 0.0}, {COVERAGE: float("nan")}, {0.5: 2.0, COVERAGE: 1.0}, {COVERAGE: 1.0, 1.0: 2.0}],
)
def test_impossible_factors_are_refused(factors: dict[float, float]) -> None:
    with pytest.raises(ValueError, match=r"interval needs|factors of an interval"):
        IntervalModel(EVEN, factors)


def test_the_mismatch_threshold_keeps_false_alarms_down() -> None:
    right = np.random.default_rng(0).beta(4, 1, size=200)
    threshold = choose_mismatch_probability(right, max_false_alarm=0.01)
    assert threshold > 0.5
    assert (1 - right > threshold).sum() == 2
    assert choose_mismatch_probability(np.full(200, 0.99)) == 0.5  # never against the likelier sex


def make_calibration() -> Calibration:
    bias = {"a": LinearBias(0.0, 2.0), "b": LinearBias(0.1, 0.0)}
    model = IntervalModel(Difficulty((0.0,), (10.0,), 0.5, 1.0, 1.0), {0.5: 0.4, COVERAGE: 1.0}, 100)
    return Calibration(bias, model, 0.97, 0.8, 48.0, RANGES, ERRORS)


WEIGHTS = {"a": 1.0, "b": 1.0}


def answers(**months: float) -> dict[str, NetworkOutput]:
    return {name: NetworkOutput(value, 6.0) for name, value in months.items()}


def test_each_member_is_corrected_before_averaging() -> None:
    prediction = calibrate(answers(a=102.0, b=100.0), "male", make_calibration(), WEIGHTS)
    assert dict(prediction.members) == pytest.approx({"a": 100.0, "b": 90.0})
    assert prediction.bone_age_months == pytest.approx(95.0)
    assert prediction.interval_months == pytest.approx((77.0, 113.0))  # 10 + 0.5 * 6 + a spread of 5
    assert prediction.sex_used == "male"


def test_an_unsure_network_widens_the_interval() -> None:
    def width(deviation: float) -> float:
        low, high = calibrate(
            {"a": NetworkOutput(102.0, deviation)}, "male", make_calibration(), WEIGHTS
        ).interval_months
        return high - low

    assert width(12.0) == pytest.approx(width(4.0) + 2 * 0.5 * 8)


def test_no_estimate_below_birth() -> None:
    assert calibrate(answers(a=1.0), "male", make_calibration(), WEIGHTS).bone_age_months == 0.0


def test_without_a_bias_line_months_stay_as_they_are() -> None:
    plain = {name: value for name, value in make_calibration().to_dict().items() if name != "bias"}
    calibration = Calibration.from_dict(plain)
    assert "bias" not in calibration.to_dict()
    assert calibrate(answers(a=102.0, b=100.0), "male", calibration, WEIGHTS).bone_age_months == 101.0


def test_a_member_without_its_line_is_an_error() -> None:
    with pytest.raises(WeightsCorrupt, match="no bias correction for c"):
        calibrate(answers(a=1.0, c=1.0), "female", make_calibration(), WEIGHTS)


def test_plain_values_and_back() -> None:
    calibration = make_calibration()
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


SCALE = {"knots_months": [1], "base_months": [1], "per_deviation": 0, "per_member_spread": 0, "floor_months": 1}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("bias", None),
        ("bias", {"a": {"slope": 0.1, "offset": 3}}),
        ("interval", {"knots_months": [1], "half_widths_months": [1], "coverage": 0.9, "count": 9}),
        ("interval", {"scale": SCALE, "factors": {"0.5": 1}}),
        ("interval", {"scale": SCALE | {"base_months": [1, 2]}, "factors": {"0.9": 1}}),
        ("interval", {"scale": SCALE | {"surprise": 1}, "factors": {"0.9": 1}}),
        ("interval", {"scale": SCALE, "factors": {"most": 1}}),
        ("interval", {"scale": SCALE, "factors": {"0.9": 1}, "surprise": 1}),
        ("sex_mismatch", {"probability": "high", "agreement_probability": 0.8, "youngest_months": 1}),
        ("sex_mismatch", {"probability": 0.97, "youngest_months": 1}),
        ("sex_mismatch", None),
        ("trained_range_months", {"female": [1, 2]}),
        ("trained_range_months", {"female": [1, 2, 3], "male": [1, 2]}),
        ("range_error_months", None),
        ("range_error_months", {"female": {"young": {"n": 0}, "old": {"n": 0}}}),
        ("range_error_months", {sex: {"young": {"n": 4}, "old": {"n": 0}} for sex in RANGES}),
    ],
)
def test_a_wrong_calibration_is_refused(section: str, value: object) -> None:
    assert Calibration.from_dict(make_calibration().to_dict() | {"interval": {"scale": SCALE, "factors": {"0.9": 1}}})
    values = make_calibration().to_dict() | {section: value}
    with pytest.raises(WeightsCorrupt, match="calibration"):
        Calibration.from_dict(values)
