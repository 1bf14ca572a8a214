"""The series of small pictures that the Learn tab moves through is what the phantom draws."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from baa_core.phantom import bone_outlines, draw_phantom
from baa_core.phantom.series import HEIGHT_PX, SEED, STOPS, contact_sheet, draw_stop, read_series
from baa_core.types import SEXES, Sex

MOST_BYTES = 3_000_000  # of both series: they are in the repository and travel to the browser


@pytest.fixture(scope="module")
def series() -> dict[Sex, Any]:
    return {sex: json.loads(gzip.decompress(read_series(sex))) for sex in SEXES}


@pytest.mark.parametrize("sex", SEXES)
def test_kept_pictures_are_those_the_phantom_draws(series: dict[Sex, Any], sex: Sex) -> None:
    kept = series[sex]
    assert [stop["months"] for stop in kept["stops"]] == list(STOPS)
    for stop in kept["stops"][::8]:
        drawn = bone_outlines(stop["months"], sex, seed=SEED, height_px=HEIGHT_PX)
        assert list(stop["bones"]) == list(drawn)
    for number in (30, 60):
        stop, again = kept["stops"][number], draw_stop(STOPS[number], sex)
        assert stop["bones"] == again["bones"]
        before, after = (
            cv2.imdecode(np.frombuffer(base64.b64decode(one["picture"]), np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
            for one in (stop, again)
        )
        assert before.shape == (kept["height"], kept["width"])
        assert np.abs(before - after).mean() < 0.5  # of 255


def test_the_series_is_small_enough_to_travel() -> None:
    assert sum(len(read_series(sex)) for sex in SEXES) < MOST_BYTES


@pytest.mark.parametrize("months", [3, 100, 170, 228])
def test_an_outline_lies_on_its_bone(months: float) -> None:
    drawn = draw_phantom(months, "male", seed=4, height_px=600, markers=False)
    for name, outline in bone_outlines(months, "male", seed=4, height_px=600).items():
        inside = np.zeros(drawn.mask.shape, np.uint8)
        cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
        beside = cv2.dilate(inside, np.ones((9, 9))) - inside
        beside[~drawn.mask] = 0
        if name.startswith(("metacarpal", "proximal")) and inside.any():
            pixels = drawn.radiograph.pixels
            assert np.median(pixels[inside > 0]) > np.median(pixels[beside > 0]), name
        assert (inside > 0)[drawn.mask].sum() > 0.95 * inside.sum(), name


def test_an_open_plate_leaves_two_parts_and_a_closed_one_leaves_one() -> None:
    young, adult = (bone_outlines(months, "female", height_px=400) for months in (100, 228))
    assert {"metacarpal3", "metacarpal3 epiphysis", "radius epiphysis", "capitate"} <= set(young)
    assert not [name for name in adult if name.endswith("epiphysis")]
    assert len(adult) == 2 + 19 + 9


def test_the_contact_sheet_in_the_docs_is_that_of_the_series() -> None:
    """Drawn anew by `python -m baa_core.phantom.series --sheet docs/drawn_hands.png`."""
    kept = cv2.imread(str(Path(__file__).resolve().parents[3] / "docs" / "drawn_hands.png"), cv2.IMREAD_GRAYSCALE)
    now = contact_sheet()
    assert kept is not None and kept.shape == now.shape
    assert np.abs(kept.astype(float) - now).mean() < 1  # WebP decoders differ by a grey or two


def test_a_contact_sheet_shows_24_ages_of_each_sex() -> None:
    assert contact_sheet().shape == (4 * 220, 12 * 176)
