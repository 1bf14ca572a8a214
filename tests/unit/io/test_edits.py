"""Pictures changed by hand are as a file that was changed so, and places on them lead back to the file."""

import itertools

import cv2
import numpy as np
import pytest

from baa_core.errors import InvalidEdits, UnsupportedImage
from baa_core.io import box_in_file, read_radiograph
from baa_core.reporting.wording import edits_words
from baa_core.types import ManualEdits

GREY = np.random.default_rng(0).integers(0, 256, (180, 240), np.uint8)
FILE = cv2.imencode(".png", GREY)[1].tobytes()
EVERY = [
    ManualEdits(crop, turns, mirrored, inverted)
    for crop, turns, mirrored, inverted in itertools.product(
        (None, (10, 20, 150, 175)), range(4), (False, True), (None, True)
    )
]


def by_another_program(edits: ManualEdits) -> bytes:
    """The file as OpenCV changes it: crop, turn, mirror, invert."""
    left, top, right, bottom = edits.crop or (0, 0, 240, 180)
    grey = GREY[top:bottom, left:right]
    for _ in range(edits.quarter_turns):
        grey = cv2.rotate(grey, cv2.ROTATE_90_CLOCKWISE)
    grey = cv2.flip(grey, 1) if edits.mirrored else grey
    return cv2.imencode(".png", 255 - grey if edits.inverted else grey)[1].tobytes()


@pytest.mark.parametrize("edits", EVERY)
def test_an_edited_picture_is_the_one_another_program_would_save(edits: ManualEdits) -> None:
    edited, saved = read_radiograph(FILE, "a.png", edits), read_radiograph(by_another_program(edits))
    assert edited.shape == saved.shape
    assert np.allclose(edited.pixels, saved.pixels, atol=1e-6)
    assert edited.shape_in_file == ((180, 240) if edits else None)


@pytest.mark.parametrize("edits", EVERY)
def test_a_rectangle_drawn_on_the_edited_picture_is_found_in_the_file(edits: ManualEdits) -> None:
    edited = read_radiograph(FILE, "a.png", edits)
    again = ManualEdits(box_in_file(edited, (15, 5, 125, 120)), edits.quarter_turns, edits.mirrored, edits.inverted)
    cropped = read_radiograph(FILE, "a.png", again)
    assert np.corrcoef(cropped.pixels.ravel(), edited.pixels[5:120, 15:125].ravel())[0, 1] > 0.99999


@pytest.mark.parametrize("edits", EVERY)
def test_one_turn_more_turns_what_is_seen_clockwise(edits: ManualEdits) -> None:
    before, after = (read_radiograph(FILE, "a.png", each).pixels for each in (edits, edits.turned()))
    assert np.array_equal(after, np.rot90(before, -1))


def test_impossible_edits_are_refused_with_a_way_out() -> None:
    for crop in ((5, 5, 5, 100), (-1, 0, 100, 100), (0, 90, 100, 20)):
        with pytest.raises(InvalidEdits, match=r"holds no picture\. Give left and top from 0 up"):
            ManualEdits(crop)
    with pytest.raises(InvalidEdits, match="Give 90, 180 or 270"):
        ManualEdits(quarter_turns=4)
    with pytest.raises(InvalidEdits, match=r"a\.png has 240 × 180 px\. Give a rectangle"):
        read_radiograph(FILE, "a.png", ManualEdits((0, 0, 241, 180)))
    with pytest.raises(UnsupportedImage, match=r"The crop of a\.png is too small"):
        read_radiograph(FILE, "a.png", ManualEdits((0, 0, 99, 180)))


def test_edits_are_told_in_the_order_they_were_done() -> None:
    assert edits_words(ManualEdits()) == ""
    assert edits_words(ManualEdits((1, 2, 130, 140), 3, True, True)) == (
        "cropped to columns 1 to 130 and rows 2 to 140 of the file, turned by 270 degrees clockwise, "
        "mirrored left to right, greys inverted"
    )
    assert edits_words(ManualEdits(inverted=False)) == "greys kept as in the file"
