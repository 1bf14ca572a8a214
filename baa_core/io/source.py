"""What a report must know of the DICOM file it is about: its UIDs, and who the patient is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .dicom import DICOM_KEYWORDS, dicom_start, offered, parse_dicom
from .limits import decoding
from .stored import whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UID_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
PATIENT_KEYWORDS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "ReferringPhysicianName",
)  # fmt: skip
OTHER_KEYWORDS = ("SpecificCharacterSet", "BurnedInAnnotation", "PatientOrientation", "Laterality", "ImageLaterality")


@dataclass(frozen=True)
class SourceHeader:
    """A DICOM file's header, as far as a report needs it; "" where the file says nothing.

    Attributes:
        uids: each of `UID_KEYWORDS`.
        patient: each of `PATIENT_KEYWORDS`; a report uses them only if it shall name the patient.
        rows, columns: of the picture.
        burned_in: BurnedInAnnotation, "YES" or "NO".
        orientation: PatientOrientation of rows and columns.
        laterality: "R" or "L".
    """

    uids: dict[str, str]
    patient: dict[str, str] = field(repr=False)
    rows: int
    columns: int
    burned_in: str
    orientation: tuple[str, ...]
    laterality: str


def decode_source_header(data: bytes, name: str) -> SourceHeader | None:
    """The header of a DICOM file, parsed in this process; None if the bytes are none.

    Raises:
        UnreadableImage: a damaged DICOM file.
    """
    if dicom_start(data) is None:
        return None
    with decoding(name, "DICOM"):
        keywords = (*DICOM_KEYWORDS, *UID_KEYWORDS, *PATIENT_KEYWORDS, *OTHER_KEYWORDS)
        dataset = parse_dicom(data, name, tuple(dict.fromkeys(keywords)))
        orientation = offered(dataset, "PatientOrientation") or ()
        return SourceHeader(
            uids={keyword: _text(dataset, keyword) for keyword in UID_KEYWORDS},
            patient={keyword: _text(dataset, keyword) for keyword in PATIENT_KEYWORDS},
            rows=whole(dataset, "Rows"),
            columns=whole(dataset, "Columns"),
            burned_in=_text(dataset, "BurnedInAnnotation").upper(),
            orientation=(orientation,) if isinstance(orientation, str) else tuple(str(part) for part in orientation),
            laterality=_text(dataset, "ImageLaterality") or _text(dataset, "Laterality"),
        )


def _text(dataset: Dataset, keyword: str) -> str:
    value = offered(dataset, keyword)
    return "" if value is None else str(value).strip()
