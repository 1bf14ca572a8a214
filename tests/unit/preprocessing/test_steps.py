from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from baa_core.errors import LandmarksNotFound
from baa_core.phantom import draw_phantom
from baa_core.preprocessing import clustering
from baa_core.preprocessing.picture import IDENTITY, Picture, Step, compose, invert
from baa_core.preprocessing.steps import (
    CAPITATE_ROW,
    REGISTERED_SHAPE,
    TIP_ROW,
    CropToCluster,
    CropToHand,
    CropToPoints,
    CutRegion,
    Equalise,
    FitInto,
    LargestObject,
    MaskBackground,
    PadSquare,
    Register,
    Resize,
    Standardise,
    StretchContrast,
    Upright,
    WindowFromPeak,
)
from tests.unit.preprocessing.test_clustering import QUICK

ALL = (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.15), Resize(320))
TILTS = [0.0, 17.0, -38.0, 90.0, -90.0, 180.0, 133.0]


def blob(height: int, width: int, row: float, column: float) -> np.ndarray:
    """A smooth bright spot, float32 (H, W)."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 5.0**2)).astype(np.float32)


def centre(pixels: np.ndarray) -> tuple[float, float]:
    """(row, column) of the brightness's centre of gravity, faint values left out."""
    bright = np.where(pixels > 0.2 * pixels.max(), pixels, 0.0)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return float((bright * rows).sum() / bright.sum()), float((bright * columns).sum() / bright.sum())


def spot_picture(row: float, column: float, tilt_degrees: float = 0.0, shape: tuple[int, int] = (700, 520)) -> Picture:
    """A spot on a large elliptic hand."""
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (shape[1] // 2, shape[0] // 2), (shape[1] // 3, int(shape[0] / 2.5)), 20, 0, 360, 1, -1)
    return Picture(blob(*shape, row, column), mask.astype(bool), IDENTITY, tilt_degrees)


def home(picture: Picture, row: float, column: float) -> tuple[float, float]:
    """A place of the picture as (row, column) of the radiograph."""
    back_column, back_row = picture.to_radiograph @ (column, row, 1.0)
    return float(back_row), float(back_column)


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("place", [(210.0, 300.0), (420.0, 190.0)])
@pytest.mark.parametrize("steps", [ALL, (PadSquare(), Resize(512)), (PadSquare(), Upright(), Resize(900))])
def test_places_come_home_within_a_pixel(steps: tuple[Step, ...], place: tuple[float, float], tilt: float) -> None:
    picture = spot_picture(*place, tilt)
    for step in steps:
        picture = step(picture)
    assert home(picture, *centre(picture.pixels)) == pytest.approx(place, abs=0.5)


@pytest.mark.parametrize("step", [*ALL, PadSquare(), Resize(900), Standardise()], ids=repr)
def test_each_step_keeps_the_way_home_and_its_input(step: Step) -> None:
    before = spot_picture(250.0, 260.0, tilt_degrees=25.0)
    pixels, mask = before.pixels.copy(), before.mask.copy()
    after = step(before)
    assert home(after, *centre(after.pixels)) == pytest.approx((250.0, 260.0), abs=0.5)
    assert np.array_equal(before.pixels, pixels)
    assert np.array_equal(before.mask, mask)
    assert after.pixels.dtype == np.float32
    assert after.mask.dtype == bool
    assert after.pixels.shape == after.mask.shape


def test_composing_with_the_inverse_is_the_identity() -> None:
    affine = np.array([[0.8, -0.3, 12.0], [0.4, 1.1, -7.0]])
    assert compose(affine, invert(affine)) == pytest.approx(IDENTITY)


@pytest.mark.parametrize("tilt", TILTS)
def test_upright_turns_the_fingers_up(tilt: float) -> None:
    """Fingers pointing `tilt` clockwise of up end above the wrist; nothing of the frame is lost."""
    wrist, length = np.array([300.0, 300.0]), 150.0
    direction = np.array([-np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))])
    row, column = wrist + length * direction
    turned = Upright()(Picture(blob(601, 601, row, column), np.ones((601, 601), bool), IDENTITY, tilt))
    centre_row, centre_column = (np.array(turned.pixels.shape) - 1) / 2
    assert centre(turned.pixels) == pytest.approx((centre_row - length, centre_column), abs=0.5)
    assert turned.tilt_degrees == 0.0


def test_small_tilts_are_left_alone_within_tolerance() -> None:
    picture = spot_picture(250.0, 260.0, tilt_degrees=4.0)
    assert Upright(tolerance_degrees=5.0)(picture) is picture


def test_background_becomes_black_and_the_skin_line_stays() -> None:
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:150] = True
    after = MaskBackground(widen_share=0.02)(Picture(np.ones((200, 200), np.float32), mask, IDENTITY))
    assert after.pixels[100, 46] == 1.0
    assert after.pixels[100, 45] == 0.0
    assert np.array_equal(after.mask, after.pixels > 0)


def test_contrast_is_measured_inside_the_hand() -> None:
    pixels = np.zeros((100, 100), np.float32)
    pixels[20:80, 20:80] = np.linspace(0.4, 0.6, 3600, dtype=np.float32).reshape(60, 60)
    after = StretchContrast()(Picture(pixels, pixels > 0, IDENTITY)).pixels
    assert (float(after.min()), float(after.max())) == (0.0, 1.0)
    assert float(np.median(after[20:80, 20:80])) == pytest.approx(0.5, abs=0.02)
    assert after[0, 0] == 0.0


@pytest.mark.parametrize("margin", [1.0, 1.15, 1.6])
def test_crop_is_a_square_around_the_hand(margin: float) -> None:
    mask = np.zeros((300, 200), bool)
    mask[10:290, 60:120] = True
    after = CropToHand(margin)(Picture(mask.astype(np.float32), mask, IDENTITY))
    assert after.pixels.shape == (round(280 * margin), round(280 * margin))
    assert after.mask.sum() == mask.sum()
    rows, columns = np.nonzero(after.mask)
    assert rows.mean() == pytest.approx((after.pixels.shape[0] - 1) / 2, abs=1)
    assert columns.mean() == pytest.approx((after.pixels.shape[1] - 1) / 2, abs=1)


def test_without_a_hand_the_whole_frame_is_kept() -> None:
    picture = replace(spot_picture(250.0, 260.0), mask=np.zeros((700, 520), bool))
    assert CropToHand()(picture).pixels.shape == (700, 700)
    assert np.isfinite(StretchContrast()(picture).pixels).all()


def test_a_flat_picture_is_standardised_without_dividing_by_zero() -> None:
    flat = Picture(np.full((9, 9), 0.5, np.float32), np.ones((9, 9), bool), IDENTITY)
    assert np.array_equal(Standardise()(flat).pixels, np.zeros((9, 9), np.float32))


def test_standardised_means_zero_and_one() -> None:
    after = Standardise()(spot_picture(250.0, 260.0)).pixels
    assert float(after.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(after.std()) == pytest.approx(1.0, abs=1e-4)


# A right-way-up hand, thumb on the right, as (row, column): what registration goes by.
HAND_POINTS = {"middle_finger4": (80.0, 240.0), "thumb4": (330.0, 420.0), "capitate": (520.0, 260.0)}


def turned_points(degrees: float, mirrored: bool) -> dict[str, tuple[float, float]]:
    """The same points of a hand that lies otherwise in its radiograph."""
    angle = np.deg2rad(degrees)
    found = {}
    for name, (row, column) in HAND_POINTS.items():
        down, right = row - 350, (260 - column) if mirrored else (column - 260)
        found[name] = (
            350 + down * np.cos(angle) + right * np.sin(angle),
            260 - down * np.sin(angle) + right * np.cos(angle),
        )
    return found


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 25.0, -70.0, 180.0])
def test_register_brings_every_hand_to_the_papers_place(degrees: float, mirrored: bool) -> None:
    points = turned_points(degrees, mirrored)
    picture = Register(1040)(replace(spot_picture(*points["thumb4"]), points=points))
    assert picture.pixels.shape == (1040, REGISTERED_SHAPE[1] // 2)
    tip, capitate, thumb = (picture.place(name) for name in ("middle_finger4", "capitate", "thumb4"))
    assert tip == pytest.approx((399.5, TIP_ROW / 2), abs=0.5)
    assert capitate == pytest.approx((399.5, CAPITATE_ROW / 2), abs=0.5)
    assert thumb[0] > 400, "the thumb belongs on the right"
    row, column = centre(picture.pixels)
    assert (column, row) == pytest.approx(thumb, abs=1.0), "the pixels move as the points do"
    assert home(picture, row, column) == pytest.approx(points["thumb4"], abs=0.7)


def test_register_refuses_points_on_top_of_each_other() -> None:
    points = {"middle_finger4": (500.0, 258.0), "thumb4": (330.0, 420.0), "capitate": (520.0, 260.0)}
    with pytest.raises(LandmarksNotFound, match="told apart"):
        Register(520)(replace(spot_picture(300, 300), points=points))


def test_regions_are_shares_of_the_frame_and_come_home() -> None:
    whole = spot_picture(420.0, 300.0)
    part = FitInto(120, 136)(CutRegion(0.5, 0.9, 0.2, 0.9)(whole))
    assert part.pixels.shape == (120, 136)
    assert home(part, *centre(part.pixels)) == pytest.approx((420.0, 300.0), abs=0.7)


def test_crop_to_points_holds_them_all_and_leaves_a_hand_without_points_whole() -> None:
    whole = spot_picture(420.0, 300.0)
    (said,) = CropToPoints()(whole).cautions
    assert said.code == "points_not_placed" and CropToPoints()(whole).pixels is whole.pixels
    cropped = CropToPoints(1.2)(replace(whole, points=HAND_POINTS))
    places = np.array([cropped.place(name) for name in HAND_POINTS])
    assert (places > 0).all() and (places < cropped.pixels.shape[0]).all()
    assert cropped.pixels.shape[0] == cropped.pixels.shape[1] == round(441 * 1.2)


def test_crop_to_cluster_says_when_the_clustering_found_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "cluster_hand", partial(clustering.cluster_hand, plan=QUICK))
    girl = draw_phantom(120, "female", seed=10, height_px=200)
    pixels = girl.radiograph.pixels
    agreeing = CropToCluster(1.0)(Picture(pixels, girl.mask, IDENTITY))
    assert agreeing.cautions == () and agreeing.mask.sum() == pytest.approx(girl.mask.sum(), rel=0.05)
    elsewhere = np.zeros(pixels.shape, bool)
    elsewhere[10:30, 5:25] = True
    for shown in (pixels, np.full_like(pixels, 0.5)):  # another region; none at all
        by_mask = CropToCluster(1.0)(Picture(shown, elsewhere, IDENTITY))
        assert [said.code for said in by_mask.cautions] == ["hand_not_clustered"]
        assert by_mask.pixels.shape == (20, 20) and by_mask.mask.all()


def test_equalise_spreads_the_hand_evenly_and_keeps_removed_background() -> None:
    rng = np.random.default_rng(1)
    pixels = np.zeros((200, 200), np.float32)
    pixels[50:150, 50:150] = 0.2 + 0.6 * rng.random((100, 100), np.float32) ** 3
    made = Equalise()(Picture(pixels, pixels > 0, IDENTITY)).pixels
    assert (made[pixels == 0] == 0).all()
    shares = np.histogram(made[pixels > 0], bins=4, range=(0, 1))[0] / 10_000
    assert shares == pytest.approx(np.full(4, 0.25), abs=0.12)


def test_window_blackens_the_dark_peak_and_nothing_bright() -> None:
    rng = np.random.default_rng(1)
    pixels = np.clip(rng.normal(0.1, 0.02, (200, 200)), 0, 1).astype(np.float32)
    pixels[60:140, 60:140] = np.clip(rng.normal(0.6, 0.05, (80, 80)), 0, 1)
    made = WindowFromPeak()(Picture(pixels, pixels > 0.3, IDENTITY)).pixels
    assert (made[pixels < 0.11] == 0).all() and (made[pixels > 0.45] == pixels[pixels > 0.45]).all()


def test_windowing_looks_past_the_black_around_the_beam_but_keeps_the_hand() -> None:
    rng = np.random.default_rng(1)
    pixels = np.zeros((200, 200), np.float32)
    pixels[20:180, 20:180] = np.clip(rng.normal(0.3, 0.02, (160, 160)), 0, 1)
    pixels[60:140, 60:140] = np.clip(rng.normal(0.7, 0.05, (80, 80)), 0, 1)
    made = WindowFromPeak()(Picture(pixels, pixels > 0.5, IDENTITY)).pixels
    assert (made[25:55, 25:55] == 0).mean() > 0.9, "the grey field around the hand"
    assert (made[60:140, 60:140] > 0).all()
    # Nothing but black and the hand: the leftmost peak beyond black is the hand itself.
    pixels = np.where(pixels < 0.5, np.float32(0.0), pixels)
    made = WindowFromPeak()(Picture(pixels, pixels > 0.5, IDENTITY)).pixels
    assert (made[60:140, 60:140] > 0).mean() > 0.9


def test_largest_object_drops_the_smaller() -> None:
    mask = np.zeros((300, 300), bool)
    mask[50:250, 50:150] = mask[100:140, 220:260] = True
    made = LargestObject()(Picture(np.full((300, 300), 0.5, np.float32), mask, IDENTITY))
    assert made.pixels[120, 240] == 0 and made.pixels[150, 100] == 0.5
    assert made.mask.sum() == pytest.approx(20_000, rel=0.02)
