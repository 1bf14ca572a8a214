"""Reports of one assessment: text, JSON, PDF, FHIR and DICOM, all with the same content.

    Report, earlier assessments, identity ─► collect ─► ReportContent ─┬─► text_report        str
                                                                       ├─► json_report        dict, see report_schema
                                                                       ├─► pdf_report         bytes, one page
                                                                       ├─► fhir_observation   dict, FHIR R4
                                                                       ├─► secondary_capture  bytes, DICOM picture
                                                                       └─► structured_report  bytes, DICOM TID 1500

No report holds an identifier of the patient unless `collect` is given an `Identity`. Every one says that it is for
research and education only. The libraries of a form are loaded when that form is asked for. `FORMS` holds them by name.
"""

from .content import Identity, ReportContent, collect
from .dicom import identity_in, secondary_capture, structured_report
from .fhir import fhir_observation
from .forms import FORMS, Form, check_forms
from .pdf import pdf_report
from .plain import json_report, report_schema
from .text import text_report

__all__ = [
    "FORMS",
    "Form",
    "Identity",
    "ReportContent",
    "check_forms",
    "collect",
    "fhir_observation",
    "identity_in",
    "json_report",
    "pdf_report",
    "report_schema",
    "secondary_capture",
    "structured_report",
    "text_report",
]
