"""Pages and grids are told from radiographs before any network runs."""

import cv2
import numpy as np
import pytest

from baa_core.errors import SeveralPictures
from baa_core.io import read_radiograph
from baa_core.io.gridlines import without_grid
from baa_core.io.panels import check_one_picture, count_panels
from baa_core.types import Radiograph
from tests.conftest import Labelled
from tests.everyday import VARIANTS, Hand, drawn_hand, png

PAGES = {"page of four": 4, "page of six": 6, "screen of four": 4}


@pytest.fixture(scope="module")
def hand() -> Hand:
    return drawn_hand(height_px=320)  # small, so that frames in which it fills 28 % are quick


def made(hand: Hand, name: str) -> Radiograph:
    return read_radiograph(png(VARIANTS[name](hand, np.random.default_rng(3))), "picture.png")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_several_pictures_is_refused_as_one(hand: Hand, name: str) -> None:
    with pytest.raises(SeveralPictures, match=f"{PAGES[name]} separate pictures"):
        check_one_picture(made(hand, name))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in PAGES and name != "120 px copy"])
def test_one_radiograph_is_no_page_whatever_lies_around_it(hand: Hand, name: str) -> None:
    assert count_panels(made(hand, name)) <= 1


@pytest.mark.parametrize("height_px", [500, 1000])
def test_the_lines_of_an_alignment_grid_are_filled_in_and_named(height_px: int) -> None:
    hand = drawn_hand(height_px=700)
    gridded = VARIANTS["alignment grid"](hand, np.random.default_rng(3))
    size = (round(0.8 * height_px), height_px)
    small, plain = (cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) for pixels in (gridded, hand.pixels))
    freed = without_grid(Radiograph(np.ascontiguousarray(np.clip(small, 0, 1))))
    assert [caution.code for caution in freed.cautions] == ["grid_removed"]
    assert np.abs(freed.pixels - plain).mean() < 0.25 * np.abs(small - plain).mean()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "alignment grid"])
def test_no_other_picture_loses_lines(hand: Hand, name: str) -> None:
    pixels = np.ascontiguousarray(np.clip(VARIANTS[name](hand, np.random.default_rng(3)), 0, 1), np.float32)
    assert np.array_equal(without_grid(Radiograph(pixels)).pixels, pixels)


def test_a_real_radiograph_is_one_picture_without_a_grid(sharp_val: list[Labelled]) -> None:
    for labelled in sharp_val[::3]:
        radiograph = read_radiograph(labelled.content, labelled.name)
        assert count_panels(radiograph) <= 1
        assert "grid_removed" not in {caution.code for caution in radiograph.cautions}
