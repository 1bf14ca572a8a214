import numpy as np
import pytest

from baa_core.calibration import (
    Calibration,
    IntervalModel,
    LinearBias,
    calibrate,
    choose_mismatch_probability,
    fit_bias,
    fit_interval,
    fit_scale,
    interval,
)
from baa_core.errors import WeightsCorrupt

RANGES = {"female": (1.0, 216.0), "male": (1.0, 228.0)}


def test_deeplasias_correction_by_hand() -> None:
    """FIELD.md section 1: b0 at 512 px has slope 0.0375 and intercept -3.8066."""
    assert LinearBias(0.0375, -3.8066).correct(100.0) == pytest.approx(100 - (3.75 - 3.8066))


def test_a_straight_bias_is_undone() -> None:
    true = np.linspace(10, 220, 50)
    predicted = 20 + 0.8 * true  # what shrinkage to the mean looks like
    bias = fit_bias(predicted, true)
    assert [bias.correct(p) for p in predicted] == pytest.approx(list(true))


def test_the_quantile_is_the_finite_sample_one() -> None:
    """Of errors 1 to 19, ceil(20 * 0.9) = 18th; with under 9 pictures no finite width can promise 90 %."""
    errors = np.arange(1.0, 20.0)
    assert fit_interval(100 + errors, np.full(19, 100.0)).half_widths_months == (18.0,)
    assert fit_interval(np.arange(9.0), np.zeros(9)).half_widths_months == (8.0,)
    with pytest.raises(ValueError, match="too few"):
        fit_interval(np.arange(8.0), np.zeros(8))


@pytest.mark.parametrize("scaled", [False, True])
def test_intervals_cover_what_they_promise(scaled: bool) -> None:
    random = np.random.default_rng(0)

    def children(count: int) -> tuple[np.ndarray, np.ndarray]:
        predicted = random.uniform(12, 216, count)
        return predicted, predicted + random.normal(size=count) * np.interp(predicted, [12, 120, 216], [3, 10, 6])

    scale = fit_scale(*children(2000), knots_months=(24, 72, 120, 168, 204)) if scaled else None
    inside, widths_young = [], []
    for _ in range(40):
        model = fit_interval(*children(100), scale)
        predicted, true = children(500)
        inside.append(np.mean(np.abs(predicted - true) <= model.half_width(predicted)))
        widths_young.append(float(model.half_width(20.0)))
    assert 0.89 < np.mean(inside) < 0.93
    assert (np.mean(widths_young) < 10) == scaled


def test_no_interval_reaches_below_birth() -> None:
    assert interval(5.0, IntervalModel((0.0,), (12.0,))) == (0.0, 17.0)


def test_widths_are_interpolated_between_knots_and_kept_beyond() -> None:
    model = IntervalModel((50.0, 100.0), (10.0, 20.0))
    assert list(model.half_width([0.0, 50.0, 75.0, 200.0])) == [10.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize(
    ("knots", "widths"), [((), ()), ((1.0,), (1.0, 2.0)), ((2.0, 1.0), (1.0, 1.0)), ((1.0,), (0.0,))]
)
def test_impossible_widths_are_refused(knots: tuple[float, ...], widths: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"interval needs|must rise"):
        IntervalModel(knots, widths)


def test_the_mismatch_threshold_keeps_false_alarms_down() -> None:
    right = np.random.default_rng(0).beta(4, 1, size=200)
    threshold = choose_mismatch_probability(right, max_false_alarm=0.01)
    assert threshold > 0.5
    assert (1 - right > threshold).sum() == 2
    assert choose_mismatch_probability(np.full(200, 0.99)) == 0.5  # never against the likelier sex


def make_calibration() -> Calibration:
    bias = {"a": LinearBias(0.0, 2.0), "b": LinearBias(0.1, 0.0)}
    return Calibration(bias, IntervalModel((0.0,), (10.0,)), 0.97, 48.0, RANGES)


def test_each_member_is_corrected_before_averaging() -> None:
    prediction = calibrate({"a": 102.0, "b": 100.0}, "male", make_calibration())
    assert dict(prediction.members) == pytest.approx({"a": 100.0, "b": 90.0})
    assert prediction.bone_age_months == pytest.approx(95.0)
    assert prediction.interval_months == pytest.approx((85.0, 105.0))
    assert prediction.sex_used == "male"


def test_no_estimate_below_birth() -> None:
    assert calibrate({"a": 1.0}, "male", make_calibration()).bone_age_months == 0.0


def test_a_member_without_its_line_is_an_error() -> None:
    with pytest.raises(WeightsCorrupt, match="no bias correction for c"):
        calibrate({"a": 1.0, "c": 1.0}, "female", make_calibration())


def test_plain_values_and_back() -> None:
    assert Calibration.from_dict(make_calibration().to_dict()) == make_calibration()


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("bias", None),
        ("bias", {"a": {"slope": 0.1, "offset": 3}}),
        ("interval", {"knots_months": [1, 0], "half_widths_months": [1, 1]}),
        ("interval", {"half_widths_months": [1]}),
        ("sex_mismatch", {"probability": "high", "youngest_months": 1}),
        ("sex_mismatch", None),
        ("trained_range_months", {"female": [1, 2]}),
        ("trained_range_months", {"female": [1, 2, 3], "male": [1, 2]}),
    ],
)
def test_a_wrong_calibration_is_refused(section: str, value: object) -> None:
    values = make_calibration().to_dict() | {section: value}
    with pytest.raises(WeightsCorrupt, match="calibration"):
        Calibration.from_dict(values)
