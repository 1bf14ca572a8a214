"""What the picture's edge cuts off is said beside a wider interval, or refused: drawn and real hands."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from baa_core.errors import HandCutOff, InvalidTable, WeightsCorrupt
from baa_core.estimation.calibration import Calibration
from baa_core.hand.cut import MOST_PLATE_SPREAD_HANDS, find_cuts
from baa_core.hand_anatomy import LANDMARKS
from baa_core.io import read_radiograph
from baa_core.phantom import Phantom, draw_phantom
from baa_core.types import HandMask, Landmarks, Patient, Prediction, Radiograph
from baa_core.workflows.assess import Assessor
from tests.conftest import Labelled
from tests.everyday import png
from train.reports.cuts import fit_factors, landmarks_of, upright_pixels


@pytest.fixture(scope="module")
def drawn() -> Phantom:
    """A girl of ten years, 500 x 400 px."""
    return draw_phantom(120.0, "female", seed=10, height_px=500)


def hand_length(at: Mapping[str, tuple[float, float]]) -> float:
    return float(np.hypot(*np.subtract(at["middle_finger4"], at["wrist"])))


def without_wrist(pixels: np.ndarray, at: Mapping[str, tuple[float, float]], hands: float) -> np.ndarray:
    """The picture ends so many hand lengths below the wrist."""
    return np.ascontiguousarray(pixels[: round(at["wrist"][0] + hands * hand_length(at))])


def without_tips(pixels: np.ndarray, at: Mapping[str, tuple[float, float]], share: float) -> np.ndarray:
    """So much of the last bone of the middle finger is cut off."""
    tip, joint = at["middle_finger4"][0], at["middle_finger3"][0]
    return np.ascontiguousarray(pixels[round(tip + share * (joint - tip)) :])


def without_thumb(pixels: np.ndarray, at: Mapping[str, tuple[float, float]], share: float) -> np.ndarray:
    """So much of the last bone of the thumb is cut off."""
    tip, joint = at["thumb4"][1], at["thumb3"][1]
    column = round(tip + share * (joint - tip))
    return np.ascontiguousarray(pixels[:, column:] if tip < joint else pixels[:, :column])


def test_a_whole_hand_brings_no_caution_and_the_interval_of_the_calibration(assessor: Assessor, drawn: Phantom) -> None:
    hand = assessor.find_hand(drawn.radiograph)
    assert (hand.cautions, hand.interval_factor) == ((), 1.0)


@pytest.mark.parametrize(
    ("cut", "amount", "code", "said", "part"),
    [
        (without_wrist, 0.06, "wrist_cut_off", "below the growth plates of radius and ulna", "wrist"),
        (without_tips, 0.5, "cut_off", "Fingers reach the edge", "fingertips"),
        (without_thumb, 1.0, "cut_off", "The thumb reaches the edge", "thumb"),
    ],
)
def test_a_small_cut_widens_the_interval_and_says_by_how_much(
    assessor: Assessor, drawn: Phantom, cut: object, amount: float, code: str, said: str, part: str
) -> None:
    hand = assessor.find_hand(Radiograph(cut(drawn.radiograph.pixels, drawn.landmarks, amount)))  # type: ignore[operator]
    factor = assessor.calibration.cut_factors[part]  # type: ignore[index]
    (caution,) = (caution for caution in hand.cautions if caution.code == code)
    assert said in caution.message
    assert hand.interval_factor == factor >= 1
    assert (f"widened by {100 * (factor - 1):.0f} %" in caution.message) == (factor > 1)


@pytest.mark.parametrize(
    ("cut", "amount", "said"), [(without_wrist, 0.0, "The wrist in"), (without_tips, 2.5, "The fingers in")]
)
def test_a_cut_that_takes_more_away_is_refused(
    assessor: Assessor, drawn: Phantom, cut: object, amount: float, said: str
) -> None:
    pixels = cut(drawn.radiograph.pixels, drawn.landmarks, amount)  # type: ignore[operator]
    with pytest.raises(HandCutOff, match=rf"{said} cut\.png .*cut off.*use the whole radiograph"):
        assessor.find_hand(Radiograph(pixels, "cut.png"))


def test_the_report_of_a_cut_hand_holds_the_wider_interval(assessor: Assessor, drawn: Phantom) -> None:
    """The caution stands once, and JSON says the factor."""
    content = png(without_tips(drawn.radiograph.pixels, drawn.landmarks, 0.5))
    report = assessor.assess(content, Patient("female"))
    plain = assessor.predict(assessor.prepare(report.radiograph, report.hand), "female")
    (_, high), (_, plain_high) = report.prediction.interval_months, plain.interval_months
    factor = report.to_dict()["interval_factor"]
    assert factor == assessor.calibration.cut_factors["fingertips"]
    assert high - report.prediction.bone_age_months == pytest.approx(factor * (plain_high - plain.bone_age_months))
    assert [caution.code for caution in report.cautions].count("cut_off") == 1


def test_a_system_whose_intervals_were_not_measured_on_cut_hands_refuses_them(
    assessor: Assessor, drawn: Phantom
) -> None:
    unmeasured = replace(assessor, calibration=replace(assessor.calibration, cut_factors={}))
    cut = Radiograph(without_wrist(drawn.radiograph.pixels, drawn.landmarks, 0.06), "cut.png")
    with pytest.raises(HandCutOff, match=r"The wrist in cut\.png"):
        unmeasured.find_hand(cut)


@pytest.mark.parametrize(("forearm_px", "refused"), [(300, False), (20, True)])
def test_growth_plates_that_are_hard_to_place_are_not_cut_off_where_the_forearm_goes_on(
    forearm_px: int, refused: bool
) -> None:
    """An infant's have hardly any bone to show."""
    mask = np.zeros((200 + forearm_px, 160), bool)
    mask[100:200, 30:130] = mask[20:100, 70:90] = mask[200:, 40:120] = True
    points = dict.fromkeys(LANDMARKS, (200.0, 80.0)) | {"middle_finger4": (20.0, 80.0)}
    spread = dict.fromkeys(LANDMARKS, 2 * MOST_PLATE_SPREAD_HANDS * 180)
    hand, landmarks = HandMask(mask, 1.0, 0.0, False), Landmarks(points, spread)
    if refused:
        with pytest.raises(HandCutOff, match="growth plates"):
            find_cuts(hand, landmarks, "hand")
    else:
        assert find_cuts(hand, landmarks, "hand") == ()


def test_a_widened_interval_stays_above_birth() -> None:
    wide = Prediction(20.0, (5.0, 30.0), {}, "male").widened(1.5)
    assert (wide.bone_age_months, wide.interval_months) == (20.0, (0.0, 35.0))


@pytest.mark.parametrize("factors", [{"wrist": 0.9}, {"wrist": float("nan")}, {"elbow": 1.2}, {"wrist": "wide"}])
def test_a_factor_that_would_narrow_an_interval_is_refused(assessor: Assessor, factors: dict[str, object]) -> None:
    values = assessor.calibration.to_dict()
    kept = Calibration.from_dict(values).cut_factors
    assert kept == assessor.calibration.cut_factors
    with pytest.raises(WeightsCorrupt, match="calibration"):
        Calibration.from_dict(MappingProxyType({**values, "cut_factors": factors}))


def test_factors_follow_the_errors_of_cut_pictures_that_are_not_refused() -> None:
    """Of twice the whole ones' error where cut; refused ones, ten times as far off, do not count."""
    rng = np.random.default_rng(0)
    tables = []
    for cut, times in (("none", 1.0), ("wrist", 2.0), ("fingertips", 1.5), ("thumb", 0.5)):
        error = times * rng.uniform(0, 10, 4000)
        table = pd.DataFrame({"bone_age_months": 100.0 - error, "cut": cut, "refusal": "", "parts": cut})
        tables.append(table.assign(months=100.0, high=110.0))
    tables.append(tables[1].assign(refusal="HandCutOff", bone_age_months=0.0))
    table = pd.concat(tables, ignore_index=True)
    factors = fit_factors(table)
    assert factors == {"wrist": pytest.approx(2, abs=0.1), "fingertips": pytest.approx(1.5, abs=0.1), "thumb": 1.0}
    with pytest.raises(InvalidTable, match="thumb"):
        fit_factors(table[table.cut != "thumb"])


def test_real_hands_are_assessed_while_the_growth_plates_are_seen_and_refused_without(
    assessor: Assessor, sharp_val: list[Labelled]
) -> None:
    """By the outline alone most of those that end a little below them were refused."""
    told, gone = [], []
    for labelled in sharp_val[:10:3]:
        pixels = upright_pixels(assessor, read_radiograph(labelled.content, labelled.name).pixels)
        at = landmarks_of(assessor, Radiograph(pixels))
        plates = (at.points["radius"][0] + at.points["ulna"][0]) / 2
        for hands in (0.04, -0.1):
            cut = Radiograph(np.ascontiguousarray(pixels[: round(plates + hands * at.hand_length_px)]))
            try:
                hand = assessor.find_hand(cut)
            except HandCutOff as refused:
                gone.append(hands < 0 and "The wrist" in str(refused))
                continue
            told.append("wrist_cut_off" in {caution.code for caution in hand.cautions})
    assert gone.count(True) == 4
    assert told.count(True) >= 3
