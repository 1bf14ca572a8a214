"""Widening a mask costs the same at any radius, and gives what a round kernel gives."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from baa_core.preprocessing.picture import widen
from tests.hostile import drawn_hand


@pytest.mark.parametrize(("radius_px", "most_off_px"), [(1, 0), (16, 0), (17, 1), (60, 1), (140, 5)])
def test_widening_is_that_of_a_round_kernel(radius_px: int, most_off_px: int) -> None:
    mask = drawn_hand(900, 700) > 0.3
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    exact = cv2.dilate(mask.astype(np.uint8), kernel)
    wide = widen(mask, radius_px).astype(np.uint8)
    slack = np.ones((2 * most_off_px + 1, 2 * most_off_px + 1), np.uint8)
    assert not (wide > cv2.dilate(exact, slack)).any()
    assert np.count_nonzero(cv2.erode(exact, slack) > wide) < 5
    assert not (mask & (wide == 0)).any()
    assert np.mean(wide != exact) < 0.004 * (1 + most_off_px)


def test_an_empty_mask_stays_empty() -> None:
    assert not widen(np.zeros((50, 40), np.bool_), 30).any()


def test_the_widest_hand_that_is_read_takes_seconds_not_minutes() -> None:
    mask = np.zeros((8000, 6200), np.bool_)
    mask[500:7500, 900:5300] = True
    started = time.process_time()
    widen(mask, 700)
    assert time.process_time() - started < 2
