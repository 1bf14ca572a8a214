"""The drawn hand: repeatable, anatomically in order, and honest about its own truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from baa_core.errors import BoneAgeError, UnsupportedImage
from baa_core.hand_anatomy import REGIONS
from baa_core.phantom import EXAMPLES, Phantom, draw_phantom, to_png
from baa_core.phantom.ossification import CARPALS, EPIPHYSES, carpal_size, epiphysis_at, ossified_carpals
from baa_core.types import SEXES, Sex

HEIGHT_PX = 500
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


@pytest.fixture(scope="module")
def girl() -> Phantom:
    return draw_phantom(100, "female", seed=3, height_px=HEIGHT_PX)


def test_same_arguments_same_pixels(girl: Phantom) -> None:
    again = draw_phantom(100, "female", seed=3, height_px=HEIGHT_PX)
    np.testing.assert_array_equal(again.radiograph.pixels, girl.radiograph.pixels)
    other = draw_phantom(100, "female", seed=4, height_px=HEIGHT_PX)
    assert not np.array_equal(other.radiograph.pixels, girl.radiograph.pixels)


def test_looks_like_a_radiograph(girl: Phantom) -> None:
    pixels = girl.radiograph.pixels
    assert pixels.dtype == np.float32
    assert pixels.shape == girl.mask.shape == (HEIGHT_PX, round(0.8 * HEIGHT_PX))
    away = cv2.dilate(girl.mask.astype(np.uint8), np.ones((15, 15))) == 0
    radiograph, tissue = float(np.median(pixels[away])), float(np.median(pixels[girl.mask]))
    assert radiograph < 0.12 < 0.2 < tissue < 0.6
    assert np.percentile(pixels[girl.mask], 97) > tissue + 0.1  # bone stands out of soft tissue


def test_arrays_cannot_be_changed(girl: Phantom) -> None:
    for array in (girl.radiograph.pixels, girl.mask, *girl.regions.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize("age", [4, 40, 120, 220])
@pytest.mark.parametrize("mirrored", [False, True])
def test_truth_fits_the_hand(age: float, mirrored: bool) -> None:
    drawn = draw_phantom(age, "male", seed=int(age), height_px=HEIGHT_PX, mirrored=mirrored)
    assert set(drawn.landmarks) == {"wrist"} | {f"{finger}{number}" for finger in FINGERS for number in range(1, 5)}
    assert set(drawn.joints) == set(EPIPHYSES)
    for row, column in [*drawn.landmarks.values(), *drawn.joints.values()]:
        assert drawn.mask[round(row), round(column)]
    assert 0.15 < drawn.mask.mean() < 0.5
    rows, columns = np.nonzero(drawn.mask)
    assert rows.min() > 0  # no fingertip is cut off
    assert rows.max() == HEIGHT_PX - 1  # the forearm runs out of the picture
    assert columns.min() > 0
    assert columns.max() < drawn.mask.shape[1] - 1
    thumb_right = drawn.landmarks["thumb4"][1] > drawn.landmarks["pinky_finger4"][1]
    assert thumb_right != mirrored
    assert cv2.connectedComponents(drawn.mask.astype(np.uint8))[0] == 2  # background and one hand


def test_mirrored_is_the_same_hand_turned_over() -> None:
    left, right = (
        draw_phantom(90, "female", seed=1, height_px=HEIGHT_PX, markers=False, mirrored=mirrored)
        for mirrored in (False, True)
    )
    np.testing.assert_array_equal(left.radiograph.pixels[:, ::-1], right.radiograph.pixels)
    np.testing.assert_array_equal(left.mask[:, ::-1], right.mask)


def test_markers_stay_off_the_hand() -> None:
    plain, marked = (
        draw_phantom(90, "female", seed=2, height_px=HEIGHT_PX, markers=markers).radiograph.pixels
        for markers in (False, True)
    )
    mask = draw_phantom(90, "female", seed=2, height_px=HEIGHT_PX).mask
    letter = np.abs(marked - plain) > 0.5
    assert letter.any()
    assert not letter[mask].any()


@pytest.mark.parametrize(
    ("age", "sex", "count"),
    [(0, "female", 0), (6, "female", 2), (6, "male", 2), (30, "female", 3), (30, "male", 2), (40, "female", 4),
     (60, "female", 7), (84, "male", 7), (110, "female", 8), (125, "male", 8), (140, "female", 9), (160, "male", 9)],
)  # fmt: skip
def test_carpals_appear_on_time(age: float, sex: Sex, count: int) -> None:
    assert len(ossified_carpals(age, sex)) == count


@pytest.mark.parametrize("sex", SEXES)
def test_bone_only_ever_grows(sex: Sex) -> None:
    ages = range(0, 241, 3)
    for name in CARPALS:
        assert (np.diff([carpal_size(name, age, sex) for age in ages]) >= 0).all()
    for name in EPIPHYSES:
        states = [epiphysis_at(name, age, sex) for age in ages]
        for values in zip(*((state.width, state.capping, state.fusion) for state in states), strict=True):
            assert (np.diff(values) >= 0).all()
        assert states[0].width == 0
        assert states[-1].fusion == 1


def test_girls_are_ahead_of_boys() -> None:
    for name, (female, male) in CARPALS.items():
        assert female < male, name
    for name, stages in EPIPHYSES.items():
        for female, male in (stages.appears, stages.begins_to_fuse, stages.fused):
            assert female < male, name


def test_plates_close_in_the_atlas_order() -> None:
    for sex in (0, 1):
        fused = {name: stages.fused[sex] for name, stages in EPIPHYSES.items()}
        order = ["distal_phalanx3", "metacarpal3", "proximal_phalanx3", "middle_phalanx3", "ulna", "radius"]
        assert [fused[name] for name in order] == sorted(fused[name] for name in order)


def darkest_crossing(age: float, centre: str, towards: str, sex: Sex = "male") -> float:
    """How dark a line from an epiphysis into its shaft gets, beside the bone on it: near 1 is unbroken bone."""
    drawn = draw_phantom(age, sex, seed=5, height_px=1000, markers=False)
    start, end = np.array(drawn.joints[centre]), np.array(drawn.landmarks[towards])
    step = (end - start) / np.hypot(*(end - start))
    along = start + np.arange(0, 45)[:, None] * step
    smooth = cv2.GaussianBlur(drawn.radiograph.pixels, (0, 0), 1.2)
    profile = np.array([smooth[round(row), round(column)] for row, column in along])
    return float(profile.min() / np.median(profile))


def test_growth_plate_is_open_at_eight_and_closed_at_nineteen() -> None:
    assert darkest_crossing(96, "proximal_phalanx3", "middle_finger2") < 0.85
    assert darkest_crossing(228, "proximal_phalanx3", "middle_finger2") > 0.87


@pytest.mark.parametrize("region", REGIONS)
def test_altered_region_changes_only_that_region(region: str) -> None:
    plain, altered = (
        draw_phantom(60, "female", seed=8, height_px=HEIGHT_PX, altered_region=name, altered_age_months=age)
        for name, age in ((None, None), (region, 150))
    )
    change = np.abs(altered.radiograph.pixels - plain.radiograph.pixels)
    inside = cv2.dilate(plain.regions[region].astype(np.uint8), np.ones((9, 9))) > 0
    assert change[plain.regions[region]].max() > 0.05
    assert change[inside].sum() > 0.97 * change.sum()
    assert change[~inside].max() < 0.12
    np.testing.assert_array_equal(altered.mask, plain.mask)
    assert altered.landmarks == plain.landmarks


def test_regions_do_not_overlap(girl: Phantom) -> None:
    assert set(girl.regions) == set(REGIONS)
    count = sum(region.astype(int) for region in girl.regions.values())
    assert count.max() == 1
    assert not (count.astype(bool) & ~girl.mask).any()
    assert min(region.mean() for region in girl.regions.values()) > 0.005


def test_png_keeps_the_picture(girl: Phantom) -> None:
    grey = cv2.imdecode(np.frombuffer(to_png(girl.radiograph), np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey / 255, girl.radiograph.pixels, atol=0.002)


def test_name_says_what_it_is() -> None:
    assert draw_phantom(120, "female", height_px=200).radiograph.name == "drawn hand, girl 10 years"
    assert draw_phantom(18, "male", height_px=200).radiograph.name == "drawn hand, boy 1 year 6 months"


def test_examples_can_be_drawn() -> None:
    assert len({label for label, *_ in EXAMPLES}) == len(EXAMPLES) >= 5
    for _, age, sex, seed in EXAMPLES:
        assert draw_phantom(age, sex, seed=seed, height_px=200).bone_age_months == age


@pytest.mark.parametrize(
    "arguments",
    [
        {"bone_age_months": -1},
        {"bone_age_months": float("nan")},
        {"bone_age_months": 241},
        {"sex": "boy"},
        {"height_px": 50},
        {"height_px": 100_000},
        {"altered_region": "carpals"},
        {"altered_age_months": 100},
        {"altered_region": "elbow", "altered_age_months": 100},
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UnsupportedImage, match="Give") as caught:
        draw_phantom(**{"bone_age_months": 100.0, "sex": "female", **arguments})  # type: ignore[arg-type]
    assert isinstance(caught.value, BoneAgeError)
