"""Damage that a file's checksums, markers and lengths betray is refused; errors of our own are never called damage."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from baa_core.errors import UnreadableImage, UnsupportedImage
from baa_core.io import raster as picture
from baa_core.io import read_radiograph, stored
from baa_core.io.decode import decode_radiograph
from tests.encodings import bare, twelve_bit_jpeg
from tests.hostile import dicom_bytes, drawn_hand, encoded

HAND = drawn_hand()
GREY = Image.fromarray((HAND * 255).astype(np.uint8))
JPEG = encoded(GREY, "JPEG", quality=92)
RESTARTING = encoded(GREY, "JPEG", quality=92, restart_marker_rows=1)
DEFLATED = dicom_bytes(np.asarray(GREY), DeflatedExplicitVRLittleEndian)
PNG = encoded(GREY, "PNG")


def changed(data: bytes, at: int, by: int = 0x40) -> bytes:
    """One byte of a file with a bit turned over."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


def without_restart(data: bytes) -> bytes:
    """One restart marker renamed, so that they are out of order."""
    return data.replace(b"\xff\xd3", b"\xff\xd6", 1)


def tiff(compression: str) -> bytes:
    return encoded(GREY, "TIFF", compression=compression)


DAMAGED = {
    "png_pixels_checksum": changed(PNG, len(PNG) // 2),
    "png_last_checksum": changed(PNG, -20),
    "jpeg_without_end": JPEG[:-2],
    "jpeg_codes": JPEG[: len(JPEG) // 2] + bytes(80) + JPEG[len(JPEG) // 2 + 80 :],
    "jpeg_bytes_lost": JPEG[: len(JPEG) // 2] + JPEG[len(JPEG) // 2 + 200 :],
    "jpeg_restart_order": without_restart(RESTARTING),
    "tiff_deflate_checksum": changed(tiff("tiff_adobe_deflate"), 3000),
    "tiff_packbits": tiff("packbits")[:3000] + tiff("packbits")[3007:3500] + bytes(7) + tiff("packbits")[3500:],
    "tiff_jpeg": tiff("jpeg").replace(b"\xff\xd9", b"\xff\x00"),
    "tiff_cut": tiff("raw")[:-300],
    "webp_cut": encoded(GREY, "WEBP", quality=95)[:-40],
    "dicom_jpeg": dicom_bytes(np.asarray(GREY), JPEGBaseline8Bit, PixelData=encapsulate([JPEG[:-2] + b"\0\0"])),
    "dicom_deflated": DEFLATED[:9_000] + DEFLATED[9_100:],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_that_can_be_known_is_refused(name: str) -> None:
    with pytest.raises(UnreadableImage, match=r"damaged|cut short"):
        read_radiograph(DAMAGED[name], name=name)


def test_a_run_length_segment_that_is_too_short_is_refused() -> None:
    data = dicom_bytes((HAND * 4095).astype(np.uint16), RLELossless)
    with pytest.raises(UnreadableImage, match="damaged"):
        read_radiograph(data[:-4000] + data[-3900:] + bytes(100))


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_given: object, **_named: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [TypeError("a bug"), AttributeError("a bug"), IndexError("a bug")])
def test_a_bug_of_our_own_is_not_called_damage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(picture, "_samples", failing(error))
    with pytest.raises(type(error), match="a bug"):
        decode_radiograph(PNG, "a.png")
    monkeypatch.setattr(stored, "_without_other_bits", failing(error))
    with pytest.raises(type(error), match="a bug"):
        decode_radiograph(dicom_bytes((HAND * 4095).astype(np.uint16)), "a.dcm")


def test_lack_of_memory_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", failing(MemoryError()))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", failing(MemoryError()))
    with pytest.raises(UnreadableImage, match="not enough memory") as refusal:
        decode_radiograph(PNG, "a.png")
    assert "damaged" not in str(refusal.value)


def test_reading_leaves_the_warning_filters_of_other_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "catch_warnings", failing(AssertionError("changed for the whole process")))
    for data in (PNG, dicom_bytes((HAND * 255).astype(np.uint8))):
        assert decode_radiograph(data, "file").shape == HAND.shape


@pytest.mark.parametrize(
    ("elements", "raw"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, True),
        ({"PresentationIntentType": "FOR PRESENTATION"}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "RAW"]}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}, True),
    ],
)
def test_images_for_processing_are_marked_as_raw(elements: dict[str, object], raw: bool) -> None:
    radiograph = read_radiograph(dicom_bytes((HAND * 4095).astype(np.uint16), Modality="DX", **elements))
    assert ["raw_picture"] * raw == [caution.code for caution in radiograph.cautions]


def test_a_twelve_bit_jpeg_names_what_to_export() -> None:
    with pytest.raises(UnsupportedImage, match=r"12-bit JPEG.*DICOM or as 16-bit PNG"):
        read_radiograph(twelve_bit_jpeg((HAND * 4095).astype(np.uint16)), name="scan.jpg")


def test_what_only_begins_like_bare_dicom_is_refused_in_true_words() -> None:
    whole = bare(HAND, implicit=True)
    with pytest.raises(UnreadableImage, match="without its mark"):
        read_radiograph(whole[: len(whole) // 2], name="cut.dcm")
    with pytest.raises(UnreadableImage, match="neither carry the mark DICM nor are a DICOM dataset"):
        read_radiograph(b"This is a letter.\n" * 100, name="letter.dcm")
