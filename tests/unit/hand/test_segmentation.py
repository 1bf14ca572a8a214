import cv2
import numpy as np
import pytest

from baa_core.errors import SeveralHands
from baa_core.hand.quality import measure_framing
from baa_core.hand.segmentation import field_box
from baa_core.phantom import EXAMPLES
from baa_core.reporting.cautions import about_picture
from baa_core.types import HandChoice, Radiograph
from baa_core.workflows.assess import Assessor
from tests.drawn import draw_phantom


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Clockwise, in a frame that holds all of it, black corners around it."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (int(np.ceil(height * sine + width * cosine)), int(np.ceil(height * cosine + width * sine)))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR), np.float32)


def pair(gap_px: int) -> np.ndarray:
    """Two drawn hands beside one another, right and left, as one picture; 500 px high."""
    one, other = (draw_phantom(120.0, "male", seed=seed, height_px=500).radiograph.pixels for seed in (1, 2))
    return np.ascontiguousarray(np.hstack([one, np.zeros((500, gap_px), np.float32), other[:, ::-1]]))


def test_two_hands_are_refused_with_the_outlines_of_both(assessor: Assessor) -> None:
    pixels = pair(40)
    with pytest.raises(SeveralHands, match=r"2 hands were found in hand\.png.*left.*right.*largest") as refused:
        assessor.find_hand(Radiograph(pixels, "hand.png"))
    left, right = refused.value.hands
    middle = pixels.shape[1] // 2
    assert left.pixels[:, :middle].sum() > 0.98 * left.pixels.sum()
    assert right.pixels[:, middle:].sum() > 0.98 * right.pixels.sum()


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_hand_chosen_of_two_is_assessed_as_if_it_were_alone(assessor: Assessor, side: HandChoice) -> None:
    pixels = pair(40)
    chosen = assessor.find_hand(Radiograph(pixels), side)
    half = pixels.shape[1] // 2
    alone = assessor.find_hand(Radiograph(pixels[:, :half] if side == "left" else pixels[:, half:]))
    part = chosen.pixels[:, :half] if side == "left" else chosen.pixels[:, half:]
    assert dice(part, alone.pixels) > 0.99
    (caution,) = chosen.cautions
    assert caution.code == "one_of_several_hands"
    assert f"the {side} one" in caution.message


def test_a_second_hand_that_the_frame_cuts_off_is_no_choice_to_make(assessor: Assessor) -> None:
    pixels = pair(40)
    hand = assessor.find_hand(Radiograph(np.ascontiguousarray(pixels[:, : pixels.shape[1] * 7 // 10])))
    assert not hand.cautions
    assert hand.pixels[:, : pixels.shape[1] // 2].sum() > 0.98 * hand.pixels.sum()


@pytest.mark.parametrize("degrees", [30.0, 135.0, -60.0])
def test_an_oblique_hand_is_set_upright(assessor: Assessor, degrees: float) -> None:
    drawn = draw_phantom(120.0, "male", seed=1, height_px=500)
    hands = [assessor.find_hand(Radiograph(turned(drawn.radiograph.pixels, angle))) for angle in (0.0, degrees)]
    assert abs((hands[1].tilt_degrees - hands[0].tilt_degrees - degrees + 180) % 360 - 180) < 5


@pytest.mark.parametrize("surround", [0.0, 0.5, 1.0])
def test_a_small_hand_is_found_in_any_surround(assessor: Assessor, surround: float) -> None:
    """A third of the frame; refused or merged with its surround when only the whole frame was segmented."""
    drawn = draw_phantom(120.0, "male", seed=1, height_px=500)
    pixels, truth = np.full((1500, 1500), surround, np.float32), np.zeros((1500, 1500), bool)
    place = np.s_[700:1200, 300:700]
    pixels[place], truth[place] = drawn.radiograph.pixels, drawn.mask
    hand = assessor.find_hand(Radiograph(pixels))
    assert dice(hand.pixels, truth) > 0.96
    assert not hand.inverted


def test_the_picture_decides_about_polarity_whatever_the_header_says(assessor: Assessor) -> None:
    drawn = draw_phantom(120.0, "male", seed=1, height_px=500)
    stated = Radiograph(1.0 - drawn.radiograph.pixels, polarity_stated=True)
    hand = assessor.find_hand(stated)
    assert hand.inverted
    assert next(caution.code for caution in about_picture(stated, hand)) == "polarity_contradicted"


def test_hands_that_touch_are_two_hands(assessor: Assessor) -> None:
    """Their thumbs overlap by a few pixels. Before, this was called a wrist that is cut off."""
    drawn = draw_phantom(120.0, "male", seed=1, height_px=500)
    columns = np.flatnonzero(drawn.mask.any(axis=0))
    one = drawn.radiograph.pixels
    thumb_side = one if drawn.landmarks["thumb4"][1] > drawn.landmarks["pinky_finger4"][1] else one[:, ::-1]
    room = one.shape[1] - int(columns[-1]) if thumb_side is one else int(columns[0])
    width = one.shape[1] - room - 4  # of each half, up to within its thumb
    pixels = np.ascontiguousarray(np.hstack([thumb_side[:, : width + 2], thumb_side[:, : width + 2][:, ::-1]]))
    with pytest.raises(SeveralHands) as refused:
        assessor.find_hand(Radiograph(pixels))
    assert len(refused.value.hands) == 2
    alone = assessor.find_hand(Radiograph(np.ascontiguousarray(thumb_side)))
    left = assessor.find_hand(Radiograph(pixels), "left")
    assert dice(left.pixels[:, : width + 2], alone.pixels[:, : width + 2]) > 0.97


@pytest.mark.parametrize(("label", "months", "sex", "seed"), EXAMPLES)
def test_every_drawn_example_is_one_whole_hand(
    assessor: Assessor, label: str, months: float, sex: str, seed: int
) -> None:
    drawn = draw_phantom(months, sex, seed=seed)  # type: ignore[arg-type]
    hand = assessor.find_hand(drawn.radiograph)
    assert dice(hand.pixels, drawn.mask) > 0.975
    assert not hand.cautions


@pytest.mark.parametrize("times", [2, 4])
def test_of_a_long_forearm_only_the_end_belongs_to_the_hand(assessor: Assessor, times: int) -> None:
    """A forearm 2 or 4 times as long as drawn; the hand was shown to the age networks the smaller for it."""
    drawn = draw_phantom(120.0, "male", seed=1, height_px=500)
    pixels = drawn.radiograph.pixels
    more = [pixels[-22:-2], pixels[-22:-2][::-1]] * round(0.22 * len(pixels) * (times - 1) / 40)
    long = assessor.find_hand(Radiograph(np.ascontiguousarray(np.vstack([pixels[:-2], *more]))))
    plain = assessor.find_hand(drawn.radiograph)
    assert measure_framing(long).wrist_reach_palms < 1.8
    height = round(0.85 * len(pixels))
    assert dice(long.pixels[:height], plain.pixels[:height]) > 0.97


@pytest.mark.parametrize("surround", [0.0, 0.4, 1.0])
def test_a_collimated_field_is_found_in_its_surround(surround: float) -> None:
    frame = np.full((400, 600), surround, np.float32)
    frame[100:300, 200:320] = np.random.default_rng(0).uniform(0.05, 0.95, (200, 120))
    box = field_box(frame)
    assert box is not None
    assert np.abs(np.array(box) - (90, 190, 310, 330)).max() <= 6  # the field with a margin of 5 %


def test_a_frame_without_surround_is_no_field() -> None:
    assert field_box(np.random.default_rng(0).uniform(0, 1, (300, 400)).astype(np.float32)) is None
    assert field_box(np.full((300, 400), 0.5, np.float32)) is None
