"""An outline that is wrong is never used in silence: drawn hands with the shipped networks."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from baa_core.errors import HandRefused
from baa_core.hand.outline import MOST_BESIDE_SHARE, missed_fingers, share_beside
from baa_core.hand_anatomy import FINGERS, LANDMARKS
from baa_core.phantom import EXAMPLES
from baa_core.types import HandMask, Landmarks, Radiograph
from baa_core.workflows.assess import VIEW_UNCHECKED, Assessor
from tests.drawn import draw_phantom
from train.reports.robustness import PICTURE_FAULTS, mask_faults


def seen(months: float, sex: str, seed: int) -> tuple[Radiograph, HandMask, Landmarks]:
    """A drawn hand, 500 px high, its exact mask and landmarks; the wrist's serves for radius and ulna."""
    drawn = draw_phantom(months, sex, seed=seed, height_px=500)  # type: ignore[arg-type]
    points = {name: drawn.landmarks.get(name, drawn.landmarks["wrist"]) for name in LANDMARKS}
    return drawn.radiograph, HandMask(drawn.mask.copy(), 1.0, 0.0, False), Landmarks(points, {})


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_a_whole_outline_brings_no_caution(label: str, months: float, sex: str, seed: int) -> None:
    radiograph, hand, landmarks = seen(months, sex, seed)
    assert missed_fingers(radiograph, hand, landmarks) == []
    assert share_beside(hand, landmarks) < 0.003


@pytest.mark.parametrize("finger", FINGERS)
def test_the_finger_that_an_outline_misses_is_named(assessor: Assessor, finger: str) -> None:
    radiograph, hand, landmarks = seen(120.0, "male", 1)
    row, column = (round(value) for value in landmarks.points[f"{finger}4"])
    gap = np.zeros(hand.pixels.shape, np.uint8)
    cv2.circle(gap, (column, row), 34, 1, -1)
    cut = replace(hand, pixels=hand.pixels & (gap == 0))
    assert missed_fingers(radiograph, cut, landmarks) == [finger]
    name = {"forefinger": "index finger", "pinky_finger": "little finger"}.get(finger, finger.replace("_", " "))
    (caution,) = assessor.about_outline(radiograph, assessor.place_landmarks(radiograph, cut))
    assert caution.code == "outline_doubtful"
    assert f"misses the tip of the {name}" in caution.message


@pytest.mark.parametrize("fault", ["thumb missing", "fingertip missing", "edge of the field"])
def test_a_fault_of_the_outline_is_told(assessor: Assessor, fault: str) -> None:
    radiograph, hand, landmarks = seen(120.0, "male", 1)
    made = {name: (mask, bright) for name, mask, bright in mask_faults(hand, landmarks, np.random.default_rng(0))}
    mask, bright = made[fault]
    pixels = np.where(bright, np.clip(radiograph.pixels + 0.3, 0, 1), radiograph.pixels).astype(np.float32)
    placed = assessor.place_landmarks(Radiograph(pixels), mask)
    assert "outline_doubtful" in [caution.code for caution in assessor.about_outline(Radiograph(pixels), placed)]


@pytest.mark.parametrize("change", PICTURE_FAULTS)
def test_a_picture_that_was_changed_gets_no_number_in_silence(assessor: Assessor, change: str) -> None:
    pixels = PICTURE_FAULTS[change](seen(120.0, "male", 1)[0].pixels)
    radiograph = Radiograph(np.ascontiguousarray(pixels))
    try:
        hand = assessor.find_hand(radiograph)
        said = hand.cautions + assessor.check_pose(hand, "changed.png")
    except HandRefused:
        return
    assert {caution.code for caution in said} & {"outline_doubtful", "outline_unchecked", "pose_rare"}


def test_the_outline_of_a_drawn_hand_is_found_sound(assessor: Assessor) -> None:
    assert not assessor.find_hand(seen(120.0, "male", 1)[0]).cautions


def test_a_system_that_cannot_check_the_view_says_so(tiny_assessor: Assessor) -> None:
    assert tiny_assessor.recipe.landmarks is None
    assert tiny_assessor.check_pose(seen(120.0, "male", 1)[1], "hand.png") == (VIEW_UNCHECKED,)


def test_a_tip_placed_on_the_background_is_no_missing_finger() -> None:
    radiograph, hand, landmarks = seen(120.0, "male", 1)
    row, column = landmarks.points["ring_finger4"]
    astray = Landmarks({**landmarks.points, "ring_finger4": (row - 40, column)}, {})
    assert missed_fingers(radiograph, hand, astray) == []


def test_a_forearm_that_bends_belongs_to_the_hand() -> None:
    _, hand, landmarks = seen(120.0, "male", 1)
    height, width = hand.pixels.shape
    bent = np.zeros((height + 200, width + 400), np.uint8)
    bent[:height, 200:-200] = hand.pixels
    wrist = [round(value) for value in landmarks.points["wrist"]]
    bent[wrist[0] + 30 :] = 0
    cv2.line(bent, (wrist[1] + 200, wrist[0]), (wrist[1] + 330, wrist[0] + 170), 1, 90)
    moved = Landmarks({name: (row, column + 200) for name, (row, column) in landmarks.points.items()}, {})
    assert share_beside(HandMask(bent > 0, 1.0, 0.0, False), moved) < MOST_BESIDE_SHARE
