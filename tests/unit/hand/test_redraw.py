"""Uncertain outlines: which they are, what is shown of them, and that drawing them again mends them."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from baa_core.hand.redraw import (
    MOST_UNCERTAIN,
    USUAL_BACKGROUND,
    USUAL_GREYS,
    USUAL_PERCENTS,
    redraw_channels,
    uncertainty,
    with_parts_joined,
    with_usual_greys,
    without_blank_end,
)
from baa_core.hand.segmentation import find_hand
from baa_core.preprocessing.picture import IDENTITY, Picture
from baa_core.types import Radiograph
from baa_core.workflows.assess import Assessor
from tests.drawn import draw_phantom
from train.hand.collimation import CutOut, collimated, cut_out, draw_hands


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("tone", [lambda x: 0.02 + 0.12 * x, lambda x: 0.6 + 0.4 * x, lambda x: x**3, lambda x: x**0.3])
def test_an_overexposed_or_underexposed_hand_is_shown_with_the_greys_of_other_hands(
    tone: Callable[[np.ndarray], np.ndarray],
) -> None:
    drawn = draw_phantom(120.0, "male", seed=4, height_px=512)
    pixels = tone(drawn.radiograph.pixels).astype(np.float32)
    pixels[:30] = 1.0  # a bright surround is no background
    shown = with_usual_greys(Picture(pixels, np.ones(pixels.shape, bool), IDENTITY), drawn.mask).pixels
    inside = np.percentile(shown[drawn.mask], USUAL_PERCENTS)
    assert np.allclose(inside, USUAL_GREYS, atol=0.03)
    background = np.median(shown[40:][~drawn.mask[40:]])
    assert background == pytest.approx(USUAL_BACKGROUND, abs=0.03)
    assert np.all(np.diff(np.interp(np.linspace(0, 1, 9), np.sort(pixels.ravel()), np.sort(shown.ravel()))) >= -1e-6)


def test_a_sloping_field_in_a_dark_surround_is_shown_as_an_even_background() -> None:
    drawn = draw_phantom(120.0, "male", seed=4, height_px=512)
    height, width = drawn.mask.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pixels = 0.5 + 0.15 * columns / width - 0.1 * rows / height + 0.15 * drawn.radiograph.pixels
    ends = np.flatnonzero(drawn.mask.any(axis=0))[-1] + 6  # the field does, beside the little finger
    pixels[:, ends:] = 0.02
    shown = with_usual_greys(Picture(pixels, np.ones(pixels.shape, bool), IDENTITY), drawn.mask).pixels
    field = ~drawn.mask
    field[:, ends:] = False
    assert np.percentile(shown[field], (5, 50, 95)) == pytest.approx(USUAL_BACKGROUND, abs=0.06)
    assert np.percentile(shown[drawn.mask], 50) == pytest.approx(USUAL_GREYS[3], abs=0.03)


def test_a_crisp_outline_is_certain_and_a_frayed_one_is_not() -> None:
    generator = np.random.default_rng(1)
    mask = draw_phantom(120.0, "male", seed=4, height_px=512).mask.astype(np.float32)
    crisp = cv2.GaussianBlur(mask, (0, 0), 0.5)  # as certain as in most radiographs
    noise = cv2.GaussianBlur(generator.standard_normal(mask.shape).astype(np.float32), (0, 0), 6)
    frayed = np.clip(cv2.GaussianBlur(mask, (0, 0), 8) + 3 * noise, 0, 1)
    assert uncertainty(crisp) < MOST_UNCERTAIN < uncertainty(frayed)
    assert uncertainty(np.zeros_like(mask)) == 0.0


def test_the_second_network_sees_three_ranges_of_grey_and_the_first_outline() -> None:
    drawn = draw_phantom(120.0, "male", seed=4, height_px=512)
    pixels = 0.3 + 0.2 * drawn.radiograph.pixels
    probability = 0.8 * drawn.mask.astype(np.float32)
    shown = Picture(pixels.astype(np.float32), np.ones(pixels.shape, bool), IDENTITY)
    channels = redraw_channels(shown, (0.3, 0.5), probability, drawn.mask)
    assert channels.shape == (4, *pixels.shape) and channels.dtype == np.float32
    assert np.allclose(channels[:3].mean(axis=(1, 2)), 0, atol=1e-3)
    assert np.allclose(channels[:3].std(axis=(1, 2)), 1, atol=1e-3)
    assert set(np.unique(channels[3]).round(4)) == {np.float32(-1.0), np.float32(0.6)}
    darkest, palest = (channels[i][drawn.mask].std() for i in (0, 2))
    assert darkest != pytest.approx(palest, rel=0.05)


def test_a_thumb_whose_root_is_faint_is_part_of_the_hand_and_a_speck_or_another_thing_is_not() -> None:
    palm, thumb, other = np.s_[100:200, 100:200], np.s_[110:140, 50:80], np.s_[110:140, 220:250]
    second, first = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.float32)
    second[palm] = second[thumb] = second[other] = 0.9
    second[112:138, 80:100] = 0.1
    assert with_parts_joined(second, first) is second
    first[100:200, 40:200] = 0.9
    joined = with_parts_joined(second, first)
    assert (joined[112:138, 80:100] > 0.5).all()
    assert (joined[112:138, 200:220] < 0.5).all()
    second[thumb] = 0.1
    second[120:124, 60:64] = 0.9
    assert with_parts_joined(second, first) is second


@pytest.mark.parametrize("surround", [0.0, 0.4, 1.0])
def test_an_outline_does_not_go_on_beyond_the_field_where_nothing_is_seen(surround: float) -> None:
    drawn = draw_phantom(120.0, "male", seed=4, height_px=512)
    pixels, guessed = drawn.radiograph.pixels.copy(), drawn.mask.copy()
    edge = int(np.flatnonzero(drawn.mask.any(axis=1))[-1]) - 50
    pixels[edge:] = surround
    shown = Picture(pixels, np.ones(pixels.shape, bool), IDENTITY)
    kept = without_blank_end(guessed.astype(np.float32), shown) > 0.5
    assert not kept[edge + 8 :].any()
    assert np.array_equal(kept[: edge - 8], drawn.mask[: edge - 8])


def test_a_forearm_that_is_seen_stays() -> None:
    for seed, (offset, contrast) in enumerate([(0.0, 1.0), (0.5, 0.1), (0.6, 0.4)]):
        drawn = draw_phantom(120.0, "male", seed=seed, height_px=512)
        pixels = (offset + contrast * drawn.radiograph.pixels).astype(np.float32)
        probability = drawn.mask.astype(np.float32)
        shown = Picture(pixels, np.ones(pixels.shape, bool), IDENTITY)
        assert np.array_equal(without_blank_end(probability, shown), probability)


@pytest.fixture(scope="module")
def hands() -> list[CutOut]:
    """Drawn hands that no training saw, cut out by their true masks."""
    found = [cut_out(each) for each in draw_hands(range(90_000, 90_004), 400, marked_share=0.0)]
    return [hand for hand in found if hand is not None]


@pytest.mark.parametrize("frame", [10, 17, 39])
def test_an_uncertain_outline_drawn_again_comes_nearer_to_the_hand(
    assessor: Assessor, hands: list[CutOut], frame: int
) -> None:
    """Synthetic collimated frames whose first outlines had Dice 0.85, 0.94 and 0.95."""
    generator = np.random.default_rng((6, frame))
    made = collimated(hands[frame % len(hands)], generator, hands, [], fill=(0.3, 0.9), shadows=False)
    network, spec, redraw = assessor.outline_networks
    first, again = (find_hand(Radiograph(made.pixels), network, spec, second).pixels for second in (None, redraw))
    assert dice(again, made.mask > 0) > max(0.95, dice(first, made.mask > 0) + 0.02)


class Blank(nn.Module):
    """A second network that sees no hand, or sees one everywhere."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.full_like(image[:, :1], self.logit)


@pytest.mark.parametrize("logit", [-9.0, 9.0])
def test_an_outline_stays_where_the_second_network_draws_no_hand_or_another_thing(
    assessor: Assessor, logit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baa_core.hand.segmentation.MOST_UNCERTAIN", 0.0)
    drawn = draw_phantom(120.0, "male", seed=4, height_px=512)
    network, spec, _ = assessor.outline_networks
    kept = find_hand(drawn.radiograph, network, spec, Blank(logit))
    assert np.array_equal(kept.pixels, find_hand(drawn.radiograph, network, spec).pixels)
