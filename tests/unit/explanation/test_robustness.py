"""Radiographs changed in ways that should not matter, and what is made of their estimates."""

import numpy as np
import pytest

from baa_core.explanation.robustness import BRIGHTER, LESS_CONTRAST, TRANSFORMS, TURN_DEGREES, measure_robustness
from baa_core.phantom import draw_phantom
from baa_core.types import HandMask, Radiograph


@pytest.fixture(scope="module")
def segmented() -> tuple[Radiograph, HandMask]:
    """A drawn hand with a marker, and where it is."""
    drawn = draw_phantom(120.0, "male", seed=1, height_px=400)
    return drawn.radiograph, HandMask(drawn.mask.copy(), 1.0, 0.0, inverted=False)


def changed(name: str, segmented: tuple[Radiograph, HandMask]) -> np.ndarray:
    return TRANSFORMS[name](*segmented).pixels


def test_every_change_gives_a_radiograph_and_leaves_the_one_it_was_given(
    segmented: tuple[Radiograph, HandMask],
) -> None:
    radiograph, hand = segmented
    before, mask = radiograph.pixels.copy(), hand.pixels.copy()
    for name, change in TRANSFORMS.items():
        made = change(radiograph, hand)
        assert made.pixels.dtype == np.float32, name
        assert made.pixels.flags.c_contiguous
        assert made.pixels.min() < made.pixels.max()
        assert made.name == radiograph.name
        assert made.shape != radiograph.shape or not np.array_equal(made.pixels, radiograph.pixels), name
    assert np.array_equal(radiograph.pixels, before)
    assert np.array_equal(hand.pixels, mask)


def test_the_seven_kinds_are_there_by_hand(segmented: tuple[Radiograph, HandMask]) -> None:
    pixels = segmented[0].pixels
    assert np.array_equal(changed("mirrored", segmented), pixels[:, ::-1])
    assert np.array_equal(changed("upside down", segmented), np.rot90(pixels, 2))
    assert np.allclose(changed("greys reversed", segmented), 1 - pixels, atol=1e-6)
    assert np.allclose(changed("brighter", segmented), np.minimum(pixels * BRIGHTER, 1), atol=1e-6)
    assert changed("less contrast", segmented).std() == pytest.approx(LESS_CONTRAST * pixels.std(), rel=0.01)
    assert changed("less contrast", segmented).mean() == pytest.approx(pixels.mean(), rel=0.01)
    assert changed("half the resolution", segmented).shape == (pixels.shape[0] // 2, pixels.shape[1] // 2)


def test_a_turn_is_clockwise_and_loses_nothing() -> None:
    pixels = np.zeros((101, 61), np.float32)
    pixels[5:10, 28:33] = 1.0  # at the top, in the middle
    turned = TRANSFORMS["turned 15 degrees"](
        Radiograph(pixels), HandMask(np.zeros((101, 61), bool), 1.0, 0.0, inverted=False)
    ).pixels
    rows, columns = np.nonzero(turned > 0.5)
    middle = (turned.shape[0] - 1) / 2, (turned.shape[1] - 1) / 2
    angle = np.degrees(np.arctan2(columns.mean() - middle[1], middle[0] - rows.mean()))
    assert angle == pytest.approx(TURN_DEGREES, abs=1.5)
    assert turned.sum() == pytest.approx(pixels.sum(), rel=0.05)


def test_a_marker_is_added_beside_the_hand_and_taken_away_again(segmented: tuple[Radiograph, HandMask]) -> None:
    radiograph, hand = segmented
    added = changed("marker added", segmented) != radiograph.pixels
    assert 0.0005 < added.mean() < 0.02
    assert not (added & hand.pixels).any()
    bare = changed("marker removed", segmented)
    assert np.array_equal(bare[hand.pixels], radiograph.pixels[hand.pixels])
    beside = bare[(bare != radiograph.pixels) & ~hand.pixels]
    assert np.unique(beside).size == 1  # one grey, the background's median
    assert beside[0] == pytest.approx(np.median(radiograph.pixels[~hand.pixels]), abs=0.05)


def test_on_a_radiograph_that_is_all_hand_there_is_no_marker_to_remove() -> None:
    radiograph = Radiograph(np.random.default_rng(0).random((40, 30)).astype(np.float32))
    whole = HandMask(np.ones((40, 30), bool), 1.0, 0.0, inverted=False)
    assert np.array_equal(TRANSFORMS["marker removed"](radiograph, whole).pixels, radiograph.pixels)


def test_reversed_greys_are_no_longer_what_the_file_says(segmented: tuple[Radiograph, HandMask]) -> None:
    stated = Radiograph(segmented[0].pixels.copy(), polarity_stated=True)
    assert not TRANSFORMS["greys reversed"](stated, segmented[1]).polarity_stated
    assert TRANSFORMS["mirrored"](stated, segmented[1]).polarity_stated


def test_drift_is_the_difference_of_estimates_and_refusals_are_said(segmented: tuple[Radiograph, HandMask]) -> None:
    radiograph, hand = segmented
    own = 100 * float(radiograph.pixels.mean())

    def brightness(name: str, changed: Radiograph) -> float | str:
        return 100 * float(changed.pixels.mean()) if changed.shape == radiograph.shape else f"{name}: too small."

    found = measure_robustness(brightness, radiograph, hand, own)
    assert list(found.by_change()) == list(TRANSFORMS)
    assert found.months["mirrored"] == pytest.approx(0.0, abs=1e-4)
    assert found.months["darker"] == pytest.approx(-0.2 * own, abs=1e-3)
    assert found.months["greys reversed"] == pytest.approx(100 - 2 * own, abs=1e-3)
    assert found.by_change()["half the resolution"] is None
    assert found.refusals["half the resolution"] == "half the resolution: too small."
    assert set(found.refusals) == {"half the resolution", "turned 15 degrees"}


def test_upside_down_is_a_turn_not_a_mirror_image(segmented: tuple[Radiograph, HandMask]) -> None:
    """Turned back by 180 degrees, the thumb is on the side where it was."""
    assert np.array_equal(np.rot90(changed("upside down", segmented), 2), segmented[0].pixels)
