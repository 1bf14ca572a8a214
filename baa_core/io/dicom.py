"""DICOM, decoded by pydicom: this folder is its one door, and it is imported only when a DICOM file comes.

bytes ─► dicom (header, cautions) ─► stored (numbers as the detector wrote them) ─► shown (rescale, window) ─► grey
"""

from __future__ import annotations

import datetime
import io
import math
import re
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UnreadableImage
from ..types import OLDEST_MONTHS, Caution, Radiograph, Sex
from .compression import about_compression
from .grayscale import stretch, to_grey
from .integrity import jpeg_head
from .limits import (
    MOST_INFLATED_BYTES,
    MOST_ITEMS,
    Damaged,
    TooManyParts,
    check_size,
    damaged,
    decoding,
    of_decoder,
    several,
    too_large,
)
from .shown import as_shown
from .stored import JPEG2000_HEADER, PIXEL_KEYWORDS, padding_of, stored_values, syntax_of, whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PLAIN_RADIOGRAPHY = {
    "",
    "CR",
    "DX",
    "RG",
    "XR",
    "SC",
    "OT",
    "XC",
    "IO",
}  # DICOM modalities that may hold a hand radiograph
DAYS_PER_MONTH = 365.25 / 12
DICOM_KEYWORDS = (  # no name, no identifier: what is not listed is skipped while parsing
    *PIXEL_KEYWORDS, "SOPClassUID", "ImageType", "PresentationIntentType", "Modality", "PatientSex", "PatientAge",
    "PatientBirthDate", "StudyDate", "PixelSpacing", "ImagerPixelSpacing", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PresentationLUTShape",
)  # fmt: skip
MARK, MARK_AT = b"DICM", 128
DEFLATED, EXPLICIT = "1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"
ITEM, ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"  # the tag (FFFE,E000) in both orders of bytes
FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"  # Digital X-Ray Image Storage, for processing
RAW_WORDS = {"FOR PROCESSING", "RAW", "UNPROCESSED"}
# The first element of a dataset without file meta: group 0002 or 0008, then an explicit VR or a length of under 64 KiB.
BARE = re.compile(
    rb"(?:[\x02\x08]\0.[\0-\x3f]|\0[\x02\x08][\0-\x3f].)"
    rb"(?:AE|AS|AT|CS|DA|DS|DT|FD|FL|IS|LO|LT|OB|OW|PN|SH|SL|SQ|SS|ST|TM|UI|UL|UN|US|UT|..\0\0|\0\0..)",
    re.DOTALL,
)
AGE_WORD = re.compile(r"(\d{1,3})([DWMY])")
MONTHS_PER_UNIT = {"D": 1 / DAYS_PER_MONTH, "W": 7 / DAYS_PER_MONTH, "M": 1.0, "Y": 12.0}
# What the standard asks of PresentationLUTShape beside each photometric interpretation (PS3.3 C.8.11.3.1.2).
SHAPE_EXPECTED = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}

RAW_PICTURE = Caution(
    "raw_picture",
    "The file is marked as FOR PROCESSING: values of the detector before the processing for display. The networks "
    "learned from processed radiographs. Export the image FOR PRESENTATION and compare.",
)


def dicom_start(data: bytes) -> int | None:
    """Where a DICOM file begins: 0 with preamble and mark or with neither, 128 with a preamble alone; None for others.

    Without the mark only a guess is made here; `read_dicom` believes it if the dataset parses and its lengths fit.
    """
    if data[MARK_AT : MARK_AT + 4] == MARK or BARE.match(data):
        return 0
    return MARK_AT if not any(data[:MARK_AT]) and BARE.match(data, MARK_AT) else None


def read_dicom(data: bytes, name: str) -> Radiograph:
    """Read DICOM bytes, as `read_radiograph` describes it; they begin where `dicom_start` says."""
    with decoding(name, "DICOM"):
        dataset = parse_dicom(data, name)
        _check_dicom(dataset, name)
    photometric = str(offered(dataset, "PhotometricInterpretation") or "").strip()
    modality = str(offered(dataset, "Modality") or "")[:16]
    stored = stored_values(dataset, name)
    left_out = padding_of(stored, dataset) if stored.ndim == 2 else None
    if stored.ndim == 2:
        values, cautions = as_shown(stored, dataset, left_out)
    else:
        values, cautions = to_grey(stored, name)
    pixels = stretch(values, name, left_out)
    if photometric == "MONOCHROME1":
        pixels = 1 - pixels
    if left_out is not None:
        pixels[left_out] = 0.0
    if modality not in PLAIN_RADIOGRAPHY:
        text = f"The file says it is of the kind {modality}; a plain radiograph (CR or DX) is expected."
        cautions.append(Caution("not_plain_radiography", text))
    cautions += about_compression(pixels, None)
    if _is_raw(dataset):
        cautions.append(RAW_PICTURE)
    shape = str(offered(dataset, "PresentationLUTShape") or "").strip().upper()
    expected = SHAPE_EXPECTED.get(photometric)
    return Radiograph(
        pixels=pixels,
        name=name,
        sex_in_file=_sex_in_file(dataset),
        age_in_file_months=_age_in_file_months(dataset),
        polarity_stated=expected is not None and shape in ("", expected),
        cautions=tuple(cautions),
    )


def parse_dicom(data: bytes, name: str, keywords: Sequence[str] = DICOM_KEYWORDS) -> Dataset:
    """Elements by keyword, and file meta with a transfer syntax, whether the file has one or not.

    Args:
        data: begins where `dicom_start` says.
        name: what to call it in messages.
        keywords: which elements; those of `stored.PIXEL_KEYWORDS` must be among them. Others are skipped.
    """
    from pydicom import dcmread  # 0.2 s, which ordinary pictures need not wait for
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    marked = data[MARK_AT : MARK_AT + 4] == MARK
    given = data if marked else data[dicom_start(data) or 0 :]
    data = _inflated(given, name) if marked else given
    inflated = data is not given
    if data.count(ITEM) + data.count(ITEM_BIG) > MOST_ITEMS:  # pydicom takes 30 microseconds and 700 bytes for each
        raise TooManyParts(f"over {MOST_ITEMS} sequence items or fragments")
    dataset = dcmread(io.BytesIO(data), specific_tags=list(keywords), force=True)
    if not dataset.get("file_meta"):
        dataset.file_meta = FileMetaDataset()
    if not marked and not _lengths_fit(dataset):
        raise UnreadableImage(
            f"{name} begins like DICOM without its mark (DICM at byte 128), but does not go on as such. "
            "Export it again from the viewer, as a DICOM file or as PNG."
        )
    if inflated and not _ends_rightly(dataset, data):
        raise Damaged("the deflated dataset does not end with its picture")
    if "TransferSyntaxUID" not in dataset.file_meta and "PixelData" in dataset:
        dataset.file_meta.TransferSyntaxUID = syntax_of(dataset)
    if not isinstance(dataset.file_meta.get("TransferSyntaxUID", UID("")), UID):
        raise Damaged("the transfer syntax is no UID")
    return dataset


def _ends_rightly(dataset: Dataset, data: bytes) -> bool:
    """Whether nothing but what may follow a picture follows it; a deflated stream carries no checksum."""
    raw: Any = dataset.get_item("PixelData")  # as it was parsed: where it lies, not its value
    if not hasattr(raw, "value_tell"):
        return True
    rest = data[raw.value_tell + raw.length :]
    return raw.value_tell + raw.length <= len(data) and (
        not rest.strip(b"\0") or rest[:2] in (b"\xfa\xff", b"\xfc\xff")
    )


def _lengths_fit(dataset: Dataset) -> bool:
    """Whether a dataset without the mark holds a picture, and as many bytes as its header asks for."""
    try:
        sides = whole(dataset, "Rows"), whole(dataset, "Columns")
        bits = whole(dataset, "SamplesPerPixel", 1) * whole(dataset, "BitsAllocated")
        found = len(dataset["PixelData"].value or b"")
        encapsulated = dataset["PixelData"].is_undefined_length
    except Exception as fault:
        if not of_decoder(fault):
            raise
        return False
    needed = math.ceil(sides[0] * sides[1] * bits / 8)
    return found > 0 and (encapsulated or needed <= found <= needed + 1)


def _is_raw(dataset: Dataset) -> bool:
    """Whether the header says that the picture was not processed for display."""
    kind = offered(dataset, "ImageType")
    words = {str(word).strip().upper() for word in ([kind] if isinstance(kind, str) else kind or ())}
    words.add(str(offered(dataset, "PresentationIntentType") or "").strip().upper())
    return bool(words & RAW_WORDS) or str(offered(dataset, "SOPClassUID")) == FOR_PROCESSING_CLASS


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

    if not any(offered(dataset, keyword) for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnreadableImage(
            f"{name} is a DICOM file without a picture: a report or plan, or cut short. "
            "Export the radiograph itself again."
        )
    if (frames := whole(dataset, "NumberOfFrames", 1)) > 1:
        raise several(name, f"{frames} frames")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    check_size(rows, columns, name)
    stored = (rows, columns)
    if "PixelData" in dataset and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if match := JPEG2000_HEADER.search(frame[:200]):
            right, bottom, left, top = struct.unpack(">4I", match[1])
            stored = (bottom - top, right - left)
        elif head := jpeg_head(frame):
            stored = (head.height, head.width)
    elif "PixelData" in dataset and offered(dataset, "PhotometricInterpretation") != "YBR_FULL_422":
        row_bytes = columns * whole(dataset, "SamplesPerPixel", 1) * whole(dataset, "BitsAllocated") / 8
        if row_bytes <= 0:
            raise Damaged("no bits or no samples")
        stored = (int(len(dataset.PixelData) / row_bytes), columns)  # padding of less than a row is usual
    if stored != (rows, columns):
        raise UnreadableImage(
            f"{name} is a DICOM file whose header says {columns} × {rows} px, but its picture has "
            f"{stored[1]} × {stored[0]} px; it may be cut short. Export it again."
        )


def offered(dataset: Dataset, keyword: str) -> Any:
    """A header value, or None where it is missing or malformed: an offer is never a reason to refuse."""
    try:
        return dataset.get(keyword)
    except Exception as fault:
        if not of_decoder(fault):
            raise
        return None


def _sex_in_file(dataset: Dataset) -> Sex | None:
    words: dict[str, Sex] = {"F": "female", "M": "male"}
    return words.get(str(offered(dataset, "PatientSex")).strip().upper())


def _age_in_file_months(dataset: Dataset) -> float | None:
    """The age as stated; refined by the dates where they agree with it, as 010Y may mean up to 11 months more."""
    stated: float | None = None
    unit = 0.0
    if match := AGE_WORD.fullmatch(str(offered(dataset, "PatientAge")).strip().upper()):
        unit = MONTHS_PER_UNIT[match[2]]
        stated = int(match[1]) * unit
    age = stated
    try:
        born, seen = (
            datetime.datetime.strptime(str(offered(dataset, keyword)), "%Y%m%d")
            for keyword in ("PatientBirthDate", "StudyDate")
        )
        between = (seen - born).days / DAYS_PER_MONTH
        if stated is None or stated <= between < stated + unit:
            age = between
    except ValueError:
        pass  # dates missing or malformed: the stated age stands
    return age if age is not None and 0 <= age <= OLDEST_MONTHS else None
