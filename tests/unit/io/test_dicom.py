"""Reading DICOM: every transfer syntax there is an encoder for, grey transformations, and what the header offers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from baa_core.errors import UnreadableImage
from baa_core.io import read_radiograph
from tests.hostile import dicom_bytes, drawn_hand, encoded, patched

HAND = drawn_hand()
HAND_8 = (HAND * 255).astype(np.uint8)
HAND_12 = (HAND * 4095).astype(np.uint16)
HAND_16 = (HAND * 65535).astype(np.uint16)


def stretched(values: NDArray[Any]) -> NDArray[Any]:
    """What the reader promises: darkest 0, brightest 1."""
    numbers = values.astype(np.float64)
    return (numbers - numbers.min()) / np.ptp(numbers)


def jpeg_baseline() -> bytes:
    frame = encoded(Image.fromarray(HAND_8), "JPEG", quality=98)
    return dicom_bytes(HAND_8, JPEGBaseline8Bit, PixelData=encapsulate([frame]))


def jpeg_lossless(folder: Path) -> bytes:
    gdcm = pytest.importorskip("gdcm")
    plain, packed = folder / "plain.dcm", folder / "packed.dcm"
    plain.write_bytes(dicom_bytes(HAND_16))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return packed.read_bytes()


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_dicom_syntaxes_keep_every_bit(syntax: UID) -> None:
    data = dicom_bytes(HAND_16, syntax) if syntax != ExplicitVRBigEndian else big_endian()
    radiograph = read_radiograph(data)
    assert radiograph.polarity_stated
    assert np.abs(radiograph.pixels - stretched(HAND_16)).max() < 0.5 / 65535


def big_endian() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(HAND_16)))
    dataset.PixelData = HAND_16.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return stream.getvalue()


def test_dicom_lossless_jpeg_keeps_every_bit(tmp_path: Path) -> None:
    data = jpeg_lossless(tmp_path)
    assert np.abs(read_radiograph(data).pixels - stretched(HAND_16)).max() < 0.5 / 65535
    crashing = patched(data, b"\xff\xd8\xff\xc3\x00\x0b", b"\xff")  # 255 bits a sample: gdcm 3.2.6 dies of it
    with pytest.raises(UnreadableImage, match="cannot be decoded"):
        read_radiograph(crashing)


def test_dicom_baseline_jpeg() -> None:
    radiograph = read_radiograph(jpeg_baseline())
    assert np.abs(radiograph.pixels - stretched(HAND_8)).max() < 0.05


@pytest.mark.parametrize(
    "name",
    ["JPEG2000.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"],
)
def test_dicom_files_of_others(name: str) -> None:
    """Files pydicom ships: other modalities are read with a caution, as the hand network has the last word."""
    radiograph = read_radiograph(get_testdata_file(name, download=False))
    assert radiograph.pixels.max() == 1
    assert "not_plain_radiography" in {caution.code for caution in radiograph.cautions}


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan.dcm", "reportsi.dcm", "no_meta.dcm"])
def test_dicom_files_of_others_refused(name: str) -> None:
    with pytest.raises(UnreadableImage):
        read_radiograph(get_testdata_file(name, download=False))


def test_monochrome1_is_the_inverse_of_monochrome2() -> None:
    two = read_radiograph(dicom_bytes(HAND_12))
    one = read_radiograph(
        dicom_bytes(4095 - HAND_12, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    )
    assert one.polarity_stated
    assert np.abs(one.pixels - two.pixels).max() < 1e-6


def test_monochrome1_over_the_whole_signed_range() -> None:
    signed = (HAND_16.astype(np.int32) - 32768).astype(np.int16)
    radiograph = read_radiograph(dicom_bytes(signed, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(radiograph.pixels - (1 - stretched(HAND_16))).max() < 1e-6


def test_monochrome1_with_a_window() -> None:
    window = {"WindowCenter": "2048", "WindowWidth": "2000", "BitsStored": 12, "HighBit": 11}
    two = read_radiograph(dicom_bytes(HAND_12, **window))
    one = read_radiograph(dicom_bytes(4095 - HAND_12, PhotometricInterpretation="MONOCHROME1", **window))
    assert np.abs(one.pixels - two.pixels).max() < 2e-3


def test_a_window_clips_what_lies_beyond_three_times_its_width() -> None:
    radiograph = read_radiograph(dicom_bytes(HAND_12, WindowCenter=["2250", "9"], WindowWidth=["1200", "9"]))
    expected = np.clip((HAND_12.astype(float) - 450) / 3600, 0, 1)
    assert np.abs(radiograph.pixels - expected).max() < 3e-3


def test_rescale_then_window_in_rescaled_units() -> None:
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-1000"}
    radiograph = read_radiograph(dicom_bytes(HAND_12, **rescale, WindowCenter="3500", WindowWidth="2700"))
    expected = stretched(np.clip(HAND_12 * 2.0 - 1000, -550, 7550))
    assert np.abs(radiograph.pixels - expected).max() < 3e-3


def test_negative_slope_is_honoured() -> None:
    radiograph = read_radiograph(dicom_bytes(4095 - HAND_12, RescaleSlope="-1", RescaleIntercept="4095"))
    assert np.abs(radiograph.pixels - stretched(HAND_12)).max() < 1e-6


def test_voi_table_is_looked_up() -> None:
    table = Dataset()
    curve = (np.linspace(0, 1, 4096) ** 2 * 65535).astype(np.uint16)
    table.LUTDescriptor = [4096, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.LUTData = curve.tobytes()
    table["LUTData"].VR = "OW"
    radiograph = read_radiograph(dicom_bytes(HAND_12, VOILUTSequence=[table], RescaleSlope="1", RescaleIntercept="0"))
    assert np.abs(radiograph.pixels - curve[HAND_12] / 65535).max() < 1e-4


@pytest.mark.parametrize("window", [("90000", "10"), ("100", "0")])
def test_useless_window_is_ignored_with_a_caution(window: tuple[str, str]) -> None:
    radiograph = read_radiograph(dicom_bytes(HAND_12, WindowCenter=window[0], WindowWidth=window[1]))
    assert [caution.code for caution in radiograph.cautions] == ["window_ignored"]
    assert np.abs(radiograph.pixels - stretched(HAND_12)).max() < 1e-6


def test_grey_stored_as_colour_dicom() -> None:
    radiograph = read_radiograph(dicom_bytes(np.stack([HAND_8] * 3, -1)))
    assert not radiograph.polarity_stated
    assert np.abs(radiograph.pixels - stretched(HAND_8)).max() < 1e-6


def test_a_preamble_may_hide_a_tiff_but_dicom_is_read() -> None:
    data = dicom_bytes(HAND_16)
    assert read_radiograph(b"II*\0" + data[4:], name="both.tif").polarity_stated


@pytest.mark.parametrize(
    ("elements", "months"),
    [
        ({"PatientAge": "010Y"}, 120),
        ({"PatientAge": "121M"}, 121),
        ({"PatientAge": "520W"}, 520 * 7 * 12 / 365.25),
        ({"PatientAge": "900D"}, 900 * 12 / 365.25),
        ({"PatientBirthDate": "20100115", "StudyDate": "20200715"}, 126),
        ({"PatientAge": "010Y", "PatientBirthDate": "20100115", "StudyDate": "20200715"}, 126),  # finer, and agrees
        ({"PatientAge": "010Y", "PatientBirthDate": "19000101", "StudyDate": "20200715"}, 120),  # a made-up birth date
        ({"PatientAge": "099Y"}, None),
        ({"PatientBirthDate": "20210115", "StudyDate": "20200715"}, None),
        ({"PatientBirthDate": "20210115"}, None),
        ({}, None),
    ],
)
def test_age_is_offered(elements: dict[str, str], months: float | None) -> None:
    offered = read_radiograph(dicom_bytes(HAND_12, **elements)).age_in_file_months
    assert offered == (None if months is None else pytest.approx(months, abs=0.1))


@pytest.mark.parametrize(("word", "sex"), [("F", "female"), ("M", "male"), ("O", None), ("", None)])
def test_sex_is_offered(word: str, sex: str | None) -> None:
    assert read_radiograph(dicom_bytes(HAND_12, PatientSex=word)).sex_in_file == sex


def test_no_name_or_number_of_the_patient_is_kept() -> None:
    shown = repr(read_radiograph(dicom_bytes(HAND_12, PatientSex="F", PatientAge="010Y")))
    assert "SECRET" not in shown.upper()
