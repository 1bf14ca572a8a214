"""DICOM, decoded by pydicom: this folder is its one door, and it is imported only when a DICOM file comes."""

from __future__ import annotations

import datetime
import io
import math
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnreadableImage
from ..types import OLDEST_MONTHS, Caution, Radiograph, Sex
from .grey import stretch, to_grey
from .isolated import MOST_SECONDS
from .refusals import FAULTS, MOST_INFLATED_BYTES, check_size, damaged, several, too_large

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PLAIN_RADIOGRAPHY = {"", "CR", "DX", "RG", "XR", "SC", "OT", "XC", "IO"}  # DICOM modalities that may hold a hand film
DAYS_PER_MONTH = 365.25 / 12
DICOM_KEYWORDS = (  # no name, no identifier: what is not listed is skipped while parsing
    "Modality", "PatientSex", "PatientAge", "PatientBirthDate", "StudyDate", "PixelSpacing", "ImagerPixelSpacing",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData",
    "DoubleFloatPixelData", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "VOILUTFunction", "WindowCenter", "WindowWidth", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)  # fmt: skip
DEFLATED, EXPLICIT = "1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"
JPEG_BASELINE, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
# A JPEG or JPEG-LS frame header (height, width) and a JPEG 2000 one (right, bottom, left, top).
JPEG_HEADER = re.compile(rb"\xff[\xc0-\xc3\xf7]..[\x02-\x10](....)", re.DOTALL)
JPEG2000_HEADER = re.compile(rb"\xff\x4f\xff\x51....(.{16})", re.DOTALL)
AGE_WORD = re.compile(r"(\d{1,3})([DWMY])")
MONTHS_PER_UNIT = {"D": 1 / DAYS_PER_MONTH, "W": 7 / DAYS_PER_MONTH, "M": 1.0, "Y": 12.0}


def read_dicom(data: bytes, name: str) -> Radiograph:
    """Read DICOM bytes, as `read_radiograph` describes it."""
    from pydicom import dcmread  # 0.2 s, which ordinary pictures need not wait for

    try:
        data = _inflated(data, name)
        dataset = dcmread(io.BytesIO(data), specific_tags=list(DICOM_KEYWORDS))
        _check_dicom(dataset, name)
        photometric = str(dataset.get("PhotometricInterpretation", ""))
        modality = str(dataset.get("Modality") or "")[:16]
    except _faults() as fault:
        raise damaged(name, "DICOM") from fault
    stored = _decoded(dataset, data, name)
    if stored.ndim == 2:
        values, cautions = _as_displayed(stored, dataset)
    else:
        values, cautions = to_grey(stored, name)
    pixels = stretch(values, name)
    if photometric == "MONOCHROME1":
        pixels = 1 - pixels
    if modality not in PLAIN_RADIOGRAPHY:
        text = f"The file says it is of the kind {modality}; a plain radiograph (CR or DX) is expected."
        cautions.append(Caution("not_plain_radiography", text))
    return Radiograph(
        pixels=pixels,
        name=name,
        source="dicom",
        spacing_mm=_spacing_mm(dataset),
        sex_in_file=_sex_in_file(dataset),
        age_in_file_months=_age_in_file_months(dataset),
        polarity_stated=photometric in ("MONOCHROME1", "MONOCHROME2"),
        cautions=tuple(cautions),
    )


def _faults() -> tuple[type[Exception], ...]:
    """`FAULTS` and pydicom's own, looked up only when something was raised."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*FAULTS, BytesLengthException, InvalidDicomError)


def _inflated(data: bytes, name: str) -> bytes:
    """The same file with a deflated body unpacked, but never beyond `MOST_INFLATED_BYTES`; others unchanged."""
    from pydicom.filereader import read_dataset

    stream = io.BytesIO(data)
    stream.seek(132)
    head = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if head.get("TransferSyntaxUID") != DEFLATED:
        return data
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpacker.decompress(stream.read(), MOST_INFLATED_BYTES)
    if unpacker.unconsumed_tail:
        raise too_large(name, f"over {MOST_INFLATED_BYTES / 2**20:.0f} MB when unpacked")
    if not unpacker.eof:
        raise damaged(name, "DICOM")
    return data[:132] + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(EXPLICIT)) + EXPLICIT + body


def _check_dicom(dataset: Dataset, name: str) -> None:
    """Refuse, before decoding, what is no single picture of the size its header tells."""
    from pydicom.encaps import get_frame

    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
        raise UnreadableImage(
            f"{name} is a DICOM file without a picture: a report or plan, or cut short. "
            "Export the radiograph itself again."
        )
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise several(name, f"{frames} frames")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    check_size(rows, columns, name)
    stored = (rows, columns)
    if "PixelData" in dataset and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if match := JPEG2000_HEADER.match(frame):
            right, bottom, left, top = struct.unpack(">4I", match[1])
            stored = (bottom - top, right - left)
        elif frame[:2] == b"\xff\xd8" and (match := JPEG_HEADER.search(frame)):
            stored = struct.unpack(">2H", match[1])
    elif "PixelData" in dataset and dataset.PhotometricInterpretation != "YBR_FULL_422":
        row_bytes = columns * int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated) / 8
        stored = (int(len(dataset.PixelData) / row_bytes), columns)  # padding of less than a row is usual
    if stored != (rows, columns):
        raise UnreadableImage(
            f"{name} is a DICOM file whose header says {columns} × {rows} px, but its picture has "
            f"{stored[1]} × {stored[0]} px; it may be cut short. Export it again."
        )


def _decoded(dataset: Dataset, data: bytes, name: str) -> NDArray[Any]:
    """Stored values (H, W), or colours (H, W, 3)."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if syntax == JPEG_BASELINE:
            values = pixel_array(dataset, decoding_plugin="pillow")
        elif syntax == RLE or not syntax.is_encapsulated:
            values = pixel_array(dataset)
        else:
            values = _decoded_apart(data)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
        if values.ndim != 2 and (values.dtype.kind != "u" or values.ndim != 3):
            raise ValueError("neither grey nor colours of positive whole numbers")
        return values
    except _faults() as fault:
        raise UnreadableImage(
            f"{name} is a DICOM file whose picture ({syntax.name[:60]}) cannot be decoded: "
            "it is damaged, cut short, or compressed in an unusual way. Export it again, uncompressed or as PNG."
        ) from fault


def _decoded_apart(data: bytes) -> NDArray[Any]:
    """Decode in a process of its own, about half a second; see `isolated` for why.

    Raises:
        ValueError: it failed, crashed or took too long.
    """
    command = [sys.executable, "-P", str(Path(__file__).with_name("isolated.py")), *DICOM_KEYWORDS]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=MOST_SECONDS, check=True)
    except subprocess.SubprocessError as fault:
        raise ValueError("the decoder failed") from fault
    values: NDArray[Any] = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return values


def _as_displayed(stored: NDArray[Any], dataset: Dataset) -> tuple[NDArray[Any], list[Caution]]:
    """Stored values after the modality (rescale) and VOI (window or table) transformations of DICOM PS3.4 N.2."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    values = stored
    try:
        values = apply_modality_lut(stored, dataset)
        if dataset.get("VOILUTSequence"):
            values = np.rint(values).astype(np.int32)  # a table is looked up by whole numbers
        displayed = apply_voi_lut(values, dataset)
        if displayed.min() < displayed.max() or values.min() == values.max():
            return displayed, []
    except _faults():
        pass  # a wrong window is no reason to refuse a good picture; the Caution tells
    message = "The display window or rescaling in the file could not be used; the full range of grey was taken."
    return values, [Caution("window_ignored", message)]


def _offered(dataset: Dataset, keyword: str) -> Any:
    """A header value, or None where it is missing or malformed: an offer is never a reason to refuse."""
    try:
        return dataset.get(keyword)
    except _faults():
        return None


def _spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            row, column = (float(value) for value in _offered(dataset, keyword))
        except (TypeError, ValueError):
            continue
        if 0 < row < math.inf and 0 < column < math.inf:
            return row, column
    return None


def _sex_in_file(dataset: Dataset) -> Sex | None:
    words: dict[str, Sex] = {"F": "female", "M": "male"}
    return words.get(str(_offered(dataset, "PatientSex")).strip().upper())


def _age_in_file_months(dataset: Dataset) -> float | None:
    """The age as stated; refined by the dates where they agree with it, as 010Y may mean up to 11 months more."""
    stated: float | None = None
    unit = 0.0
    if match := AGE_WORD.fullmatch(str(_offered(dataset, "PatientAge")).strip().upper()):
        unit = MONTHS_PER_UNIT[match[2]]
        stated = int(match[1]) * unit
    age = stated
    try:
        born, seen = (
            datetime.datetime.strptime(str(_offered(dataset, keyword)), "%Y%m%d")
            for keyword in ("PatientBirthDate", "StudyDate")
        )
        between = (seen - born).days / DAYS_PER_MONTH
        if stated is None or stated <= between < stated + unit:
            age = between
    except ValueError:
        pass  # dates missing or malformed: the stated age stands
    return age if age is not None and 0 <= age <= OLDEST_MONTHS else None
