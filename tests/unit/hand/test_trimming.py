"""What a network's outline takes in that is no hand is cut off, and no part of the hand with it."""

import cv2
import numpy as np
import pytest

from baa_core.hand.trimming import without_background, without_bridges, without_strips
from baa_core.io import read_radiograph
from baa_core.phantom import EXAMPLES
from baa_core.workflows.assess import Assessor
from tests.conftest import Labelled
from tests.drawn import draw_phantom


@pytest.mark.parametrize("height_px", [400, 1200])
def test_what_hangs_on_by_a_thin_bridge_is_cut_off(height_px: int) -> None:
    """A hand-sized block, a marker-sized one beside it, and between them a bridge of under 1 % of the side."""
    unit = height_px // 100
    region = np.zeros((height_px, height_px * 4 // 5), np.uint8)
    region[20 * unit : 80 * unit, 30 * unit : 70 * unit] = 1
    hand = region.copy()
    region[40 * unit : 50 * unit, 15 * unit : 22 * unit] = 1
    region[45 * unit : 46 * unit - 1, 22 * unit : 30 * unit] = 1
    kept = without_bridges(region)
    assert kept[hand > 0].mean() > 0.999  # a corner may be rounded
    assert not kept[:, : 28 * unit].any()


def test_a_finger_is_no_bridge() -> None:
    region = np.zeros((500, 400), np.uint8)
    region[250:450, 120:280] = 1
    region[60:250, 190:205] = 1  # an infant's finger: 3 % of the side
    assert np.array_equal(without_bridges(region), region)


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
@pytest.mark.parametrize("row", [-16, -60])
def test_an_edge_of_the_field_at_the_wrist_is_cut_off_and_no_finger(
    label: str, months: float, sex: str, seed: int, row: int
) -> None:
    hand = draw_phantom(months, sex, seed=seed).mask.astype(np.uint8)  # type: ignore[arg-type]
    edged = hand.copy()
    edged[1000 + row : 1016 + row] = 1
    kept = without_strips(edged)
    assert kept[hand > 0].mean() > 0.999
    assert kept[:, :40].sum() < 0.1 * edged[:, :40].sum()
    assert np.array_equal(without_strips(hand), hand)


@pytest.mark.parametrize("finger", ["thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger"])
def test_a_finger_that_the_network_drew_too_narrow_at_a_joint_stays(finger: str) -> None:
    """As in a clear radiograph of dark exposure that lost its ring finger."""
    drawn = draw_phantom(120.0, "female", seed=4)
    hand = np.asarray(drawn.mask, np.bool_)
    start, end = (np.array(drawn.landmarks[f"{finger}{joint}"]) for joint in (2, 4))
    axis = (end - start) / np.hypot(*(end - start))
    away = np.moveaxis(np.indices(hand.shape), 0, -1) - start
    along, across = away @ axis, np.abs(away @ np.array([-axis[1], axis[0]]))
    palm_px = cv2.distanceTransform(hand.astype(np.uint8), cv2.DIST_L2, 5).max()
    narrow = (np.abs(along) < 4) & (across > 0.06 * palm_px) & (across < 1.2 * palm_px)
    kept = without_strips((hand & ~narrow).astype(np.uint8))
    assert kept[tuple(end.round().astype(int))]
    assert kept[hand & ~narrow].mean() > 0.99


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_a_piece_of_background_at_the_outline_is_cut_off(label: str, months: float, sex: str, seed: int) -> None:
    """Beside the forearm, at the tip of the middle finger, and the gap between two fingers."""
    drawn = draw_phantom(months, sex, seed=seed, markers=False)  # type: ignore[arg-type]
    hand, pixels = np.asarray(drawn.mask, np.bool_), drawn.radiograph.pixels
    palm_px = cv2.distanceTransform(hand.astype(np.uint8), cv2.DIST_L2, 5).max()
    tips = [drawn.landmarks[f"{finger}{joint}"] for finger, joint in (("middle_finger", 4), ("pinky_finger", 4))]
    gap = np.mean([drawn.landmarks[f"{finger}3"] for finger in ("middle_finger", "ring_finger")], axis=0)
    rows, columns = np.nonzero(hand)
    forearm = rows.max() - palm_px, columns[rows > rows.max() - palm_px].max()
    for row, column in (*tips, gap, forearm):
        wide = cv2.circle(hand.astype(np.uint8), (round(float(column)), round(float(row))), round(0.5 * palm_px), 1, -1)
        wrong = (wide > 0) & ~hand
        kept = without_background((wide > 0), pixels)
        assert kept[wrong].mean() < 0.5
        assert kept[hand].mean() > 0.99
    assert np.array_equal(without_background(hand, pixels), hand)


def test_real_hands_stay_whole(assessor: Assessor, sharp_val: list[Labelled]) -> None:
    for labelled in sharp_val[:6]:
        radiograph = read_radiograph(labelled.content, labelled.name)
        (hand,) = assessor.find_hands(radiograph)
        pixels = 1 - radiograph.pixels if hand.inverted else radiograph.pixels
        assert np.array_equal(without_background(hand.pixels, pixels), hand.pixels)


def test_a_long_thin_region_takes_no_more_memory_than_a_hand() -> None:
    region = np.zeros((6000, 6000), np.bool_)
    region[2990:3010] = True
    pixels = np.where(region, np.float32(0.6), np.float32(0.1))
    assert np.array_equal(without_background(region, pixels), region)
