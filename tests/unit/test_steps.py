from dataclasses import replace

import cv2
import numpy as np
import pytest

from baa_core.steps import (
    IDENTITY,
    CropToHand,
    MaskBackground,
    PadSquare,
    Picture,
    Resize,
    Standardise,
    Step,
    StretchContrast,
    Upright,
    compose,
    invert,
)

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
