import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from baa_core.reporting.charts import (
    bland_altman_figure,
    error_by_age_figure,
    hands_picture,
    interval_figure,
    predicted_figure,
    systems_figure,
    write_figure,
)
from baa_core.reporting.overlays import CONTOUR_RGB, downsample_for_display, encode_png, mask_picture, overlay
from baa_core.reporting.text import years_and_months
from baa_core.types import HandMask, Prediction, Radiograph, Report

PIXELS = np.linspace(0, 1, 80 * 60, dtype=np.float32).reshape(80, 60)
MASK = np.zeros((80, 60), bool)
MASK[20:60, 15:45] = True


def report(months: float = 121.3, age_today: float | None = 100.0) -> Report:
    return Report(
        file="a.png",
        recipe="tiny",
        prediction=Prediction(months, (months - 17, months + 17), {"one": months}, "female"),
        sex_entered="female",
        sex_predicted="female",
        sex_probability_male=0.1,
        sex_check="agrees",
        bone_age_if_female_months=months,
        bone_age_if_male_months=months + 12,
        chronological_age_months=age_today,
        cautions=(),
        versions={},
        seconds=1.0,
        radiograph=Radiograph(PIXELS.copy()),
        hand=HandMask(MASK.copy(), 1.0, 0.0, inverted=False),
    )


def test_plain_overlay_is_the_grey_radiograph() -> None:
    picture = overlay(PIXELS)
    assert (picture.shape, picture.dtype) == ((80, 60, 3), np.uint8)
    assert np.array_equal(picture[..., 0], np.rint(PIXELS * 255))
    assert np.ptp(picture, axis=2).max() == 0


def test_an_inverted_radiograph_is_shown_bone_bright() -> None:
    assert np.array_equal(overlay(PIXELS, inverted=True), 255 - overlay(PIXELS))


def test_the_hand_is_outlined_and_the_rest_darkened() -> None:
    bright = np.full((80, 60), 0.8, np.float32)
    picture = overlay(bright, mask=MASK)
    assert (picture[40, 30] == 204).all()  # inside, as it was
    assert (picture[5, 5] < 204).all()
    assert tuple(picture[20, 30]) == CONTOUR_RGB
    coloured = np.ptp(picture, axis=2) > 0
    assert coloured.sum() == 2 * (40 + 30) - 4  # the boundary of a 40 x 30 box, one pixel thick


def test_no_hand_has_no_outline() -> None:
    assert np.ptp(overlay(PIXELS, mask=np.zeros_like(MASK)), axis=2).max() == 0


def test_heat_is_drawn_only_where_it_is() -> None:
    heat = np.zeros((80, 60), np.float32)
    heat[30:50, 20:40] = 0.9
    picture = overlay(PIXELS, heat=heat)
    assert np.array_equal((np.ptp(picture, axis=2) > 0), heat > 0)
    assert np.array_equal(picture[heat == 0], overlay(PIXELS)[heat == 0])


def test_opacity_goes_from_nothing_to_the_pure_colour() -> None:
    heat = np.full((80, 60), 0.5, np.float32)
    assert np.array_equal(overlay(PIXELS, heat=heat, opacity=0), overlay(PIXELS))
    pure = overlay(PIXELS, heat=heat, opacity=1)
    assert (pure == pure[0, 0]).all()
    assert np.array_equal(overlay(PIXELS, heat=heat, opacity=7), pure)


def test_more_heat_is_lighter_and_fades_in() -> None:
    heat = np.linspace(0.4, 1, 50, dtype=np.float32)[None]
    rgb = overlay(np.zeros_like(heat), heat=heat, opacity=1)
    lightness = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] - lightness[0] > 60
    faint = overlay(np.full((1, 1), 0.5, np.float32), heat=np.full((1, 1), 0.01, np.float32))
    assert np.abs(faint.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("layer", ["mask", "heat"])
def test_a_layer_on_another_grid_is_an_error(layer: str) -> None:
    with pytest.raises(ValueError, match=f"the {layer} is"):
        overlay(PIXELS, **{layer: MASK[1:].astype(bool if layer == "mask" else np.float32)})


def test_mask_picture_has_two_values() -> None:
    picture = mask_picture(MASK)
    assert picture.dtype == np.uint8
    assert set(np.unique(picture)) == {0, 255}
    assert np.array_equal(picture > 0, MASK)


def test_png_round_trip_keeps_colours() -> None:
    picture = overlay(PIXELS, mask=MASK)
    back = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(back, picture)
    grey = cv2.imdecode(np.frombuffer(encode_png(mask_picture(MASK)), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(grey, mask_picture(MASK))


def test_downsampling_keeps_aspect_and_kind() -> None:
    assert downsample_for_display(PIXELS, 80) is PIXELS
    assert downsample_for_display(PIXELS, 40).shape == (40, 30)
    small = downsample_for_display(MASK, 40)
    assert small.dtype == np.bool_
    assert small[10:30, 8:22].all()
    assert small.sum() == pytest.approx(MASK.sum() / 4, rel=0.1)


@pytest.mark.parametrize(
    ("months", "words"),
    [
        (0.0, "0 months"),
        (1.2, "1 month"),
        (12, "1 year"),
        (13.4, "1 year 1 month"),
        (23.7, "2 years"),
        (121.3, "10 years 1 month"),
        (-2.0, "minus 2 months"),
    ],
)
def test_years_and_months(months: float, words: str) -> None:
    assert years_and_months(months) == words


def test_interval_figure_shows_every_estimate_in_years() -> None:
    figure = interval_figure(report())
    at = {trace.y[0]: trace.x[0] for trace in figure.data if trace.mode == "markers+text"}
    expected = {"Bone age": 121.3, "Age today": 100.0, "If female": 121.3, "If male": 133.3}
    assert at == pytest.approx({name: months / 12 for name, months in expected.items()})
    interval = next(trace for trace in figure.data if trace.mode == "lines")
    assert interval.x == pytest.approx((104.3 / 12, 138.3 / 12))
    start, end = figure.layout.xaxis.range
    assert start < 100 / 12 < 138.3 / 12 < end


def test_interval_figure_leaves_out_an_unknown_age() -> None:
    names = {trace.y[0] for trace in interval_figure(report(age_today=None)).data}
    assert names == {"Bone age", "If female", "If male"}


def test_interval_figure_of_an_infant_stays_at_birth() -> None:
    infant = report(months=6.0, age_today=None)
    infant = replace(infant, prediction=replace(infant.prediction, interval_months=(0.0, 18.0)))
    assert -0.5 < interval_figure(infant).layout.xaxis.range[0] <= 0


def test_evaluation_figures_hold_every_point(tmp_path: Path) -> None:
    reference, predicted = np.array([100.0, 60.0, 30.0]), np.array([110.0, 50.0, 33.0])
    bands = {
        "24-60 months": {"mae_months": 3.0, "mae_interval_months": [3.0, 3.0], "n": 1},
        "60-96 months": {"mae_months": float("nan"), "mae_interval_months": [float("nan")] * 2, "n": 0},
    }
    sex = ["female", "male", "male"]
    figures = [
        predicted_figure(reference, predicted, sex),
        bland_altman_figure(reference, predicted, sex),
        error_by_age_figure(reference, predicted, sex, bands),
    ]
    for figure in figures:
        assert sum(len(trace.x) for trace in figure.data if trace.name in ("female", "male")) == 3
    levels = [shape.y0 for shape in figures[1].layout.shapes]
    assert levels[0] == pytest.approx(1.0)  # differences +10, -10, +3
    assert [trace.x for trace in figures[2].data if trace.name not in ("female", "male")] == [(3.5,)]
    nothing = np.array([])
    assert bland_altman_figure(nothing, nothing, []).layout.shapes == ()


def test_a_written_figure_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "figure.html"
    write_figure(interval_figure(report()), path)
    html = path.read_text(encoding="utf-8")
    assert "Bone age" in html
    assert not re.findall(r"""(?:<script[^>]+src|<link[^>]+href|<img[^>]+src)\s*=\s*["']?(?:https?:)?//""", html)


def test_each_system_is_a_dot_with_its_own_interval() -> None:
    one, other = Prediction(120.0, (108.0, 138.0), {}, "male"), Prediction(132.0, (120.0, 144.0), {}, "male")
    figure = systems_figure([("One", one), ("None", None), ("Other", other)])
    (dots,) = figure.data
    assert dict(zip(dots.y, dots.x, strict=True)) == {"One": 10.0, "Other": 11.0}
    assert (dots.error_x.array, dots.error_x.arrayminus) == ((1.5, 1.0), (1.0, 1.0))
    assert [(note.y, note.text) for note in figure.layout.annotations] == [("None", "not assessed")]


def test_several_hands_are_outlined_and_named() -> None:
    sides = np.zeros((2, 300, 400), bool)
    sides[0, 50:250, 30:170] = sides[1, 50:250, 230:370] = True
    hands = [HandMask(side, 1.0, 0.0, inverted=False) for side in sides]
    picture = hands_picture(Radiograph(np.full((300, 400), 0.5, np.float32)), hands)
    coloured = np.ptp(picture, axis=2) > 0
    for left in (30, 230):
        assert coloured[50:250, left].all(), "the outline"
        assert coloured[60:240, left + 10 : left + 130].any(), "the name"
    assert not coloured[:, 175:225].any()
