"""The forms a report comes in, by name: for the command line, and for a menu."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from .content import ReportContent
from .dicom import check_source, secondary_capture, structured_report
from .fhir import fhir_observation
from .pdf import pdf_report
from .plain import json_report
from .text import text_report

FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True)
class Form:
    """One form of a report.

    Attributes:
        title: for people.
        suffix: of its file.
        media_type: of its bytes.
        needs_dicom: it can be made of a DICOM file only.
        make: content and the bytes of the file that was assessed -> bytes.
    """

    title: str
    suffix: str
    media_type: str
    needs_dicom: bool
    make: Callable[[ReportContent, bytes], bytes]


FORMS: dict[str, Form] = {
    "text": Form("Text", ".txt", "text/plain", False, lambda content, _: text_report(content).encode()),
    "pdf": Form("PDF, one page", ".pdf", "application/pdf", False, lambda content, _: pdf_report(content)),
    "json": Form("JSON", ".json", "application/json", False, lambda content, _: _encoded(json_report(content))),
    "fhir": Form("FHIR R4", ".json", FHIR_JSON, False, lambda content, _: _encoded(fhir_observation(content))),
    "sr": Form("DICOM Structured Report", ".dcm", "application/dicom", True, structured_report),
    "sc": Form("DICOM picture (Secondary Capture)", ".dcm", "application/dicom", True, secondary_capture),
}  # fmt: skip


def check_forms(forms: list[str], source: bytes, name: str) -> None:
    """See, before any work, that the reports asked for can be made of this file.

    Args:
        forms: names in `FORMS`.
        source: the bytes of the file.
        name: what to call it.

    Raises:
        ReportNotPossible: a DICOM report was asked for, and this is no DICOM file or has no valid UIDs.
        UnreadableImage: a damaged DICOM file.
    """
    if any(FORMS[form].needs_dicom for form in forms):
        check_source(source, name)


def _encoded(values: object) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
