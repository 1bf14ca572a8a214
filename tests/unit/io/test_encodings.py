"""Every way that hand radiographs are stored in is read like the plain 8-bit picture of the same hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from baa_core.io import read_radiograph
from tests.encodings import BAND_PX, CASES, DARK, twelve, twin
from tests.hostile import dicom_bytes, drawn_hand, encoded

HAND = drawn_hand()
TWIN = read_radiograph(twin()).pixels
EXPECTED_CAUTIONS = {"window_ignored"}


@pytest.mark.parametrize("name", CASES)
def test_read_like_the_plain_picture(name: str) -> None:
    case = CASES[name]
    radiograph = read_radiograph(case.make(HAND), name=f"{name}.bin")
    assert tuple(caution.code for caution in radiograph.cautions) == case.cautions
    assert radiograph.shape == TWIN.shape
    away = np.s_[15:, BAND_PX:]  # from labels and padding, which are no part of the hand
    assert np.abs(radiograph.pixels - TWIN)[away].max() <= case.most


@pytest.mark.parametrize("name", DARK)
def test_a_header_that_contradicts_the_picture_changes_nothing_but_the_polarity(name: str) -> None:
    """The hand is read whole, with bone dark: the picture's own test turns it over (`masking`)."""
    radiograph = read_radiograph(DARK[name].make(HAND), name=name)
    assert np.abs(radiograph.pixels - (1 - TWIN)).max() <= 1.5 / 255


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("padding") and "not_declared" not in name])
def test_declared_padding_is_black(name: str) -> None:
    assert read_radiograph(CASES[name].make(HAND)).pixels[:, :BAND_PX].max() == 0


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_header_at_odds_with_itself_states_no_polarity(photometric: str, shape: str) -> None:
    name = f"{photometric.lower()}_{shape.lower()}_DX"
    agree = (photometric == "MONOCHROME1") == (shape == "INVERSE")
    assert read_radiograph(CASES[name].make(HAND)).polarity_stated == agree


@pytest.mark.parametrize("at", [np.s_[4:14, 4:24], np.s_[4, 20]], ids=["label", "dead pixel"])
@pytest.mark.parametrize("kind", ["DICOM", "PNG"])
def test_a_hand_that_uses_half_of_its_bits_keeps_its_greys_beside_a_label(kind: str, at: tuple[object, ...]) -> None:
    """12 bits in 16, and something at full scale: stretched by its greatest value it had eight greys left."""
    stored = twelve(0.5 * HAND)
    stored[at] = 65535
    data = dicom_bytes(stored) if kind == "DICOM" else encoded(Image.fromarray(stored), "PNG")
    assert np.abs(read_radiograph(data).pixels - TWIN)[15:, BAND_PX:].max() <= 0.02
