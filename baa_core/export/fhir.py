"""The report as a FHIR R4 Observation.

Codes: LOINC 85151-9 "XR Bone age" (Qn, in months) with 85150-1 "Bone age method"; DICOM (PS3.16) 121416 "Z-Score of
measurement" and 121033 "Subject Age"; UCUM `mo`. The interval has no code of its own and is named in text.
LOINC is copyright Regenstrief Institute, Inc., and available at no cost under the license at loinc.org/license.
"""

from __future__ import annotations

from html import escape
from typing import Any

from ..reference.growth import CENTRES
from ..types import DISCLAIMER
from .content import SCALE, ReportContent

LOINC, UCUM, DCM = "http://loinc.org", "http://unitsofmeasure.org", "http://dicom.nema.org/resources/ontology/DCM"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
INTERPRETATIONS = {"delayed": ("L", "Low"), "within": ("N", "Normal"), "advanced": ("H", "High")}
DIGITS = 2


def fhir_observation(content: ReportContent) -> dict[str, Any]:
    """An Observation with status "preliminary", ready for `json.dumps`.

    Without an identity it has no subject, no date of the examination and no UID.
    """
    report, growth = content.report, content.growth
    low, high = content.interval_months
    components: list[dict[str, Any]] = [
        {
            "code": _code(LOINC, "85150-1", "Bone age method"),
            "valueCodeableConcept": {"text": f"{SCALE}; ensemble of neural networks, recipe {report.recipe}"},
        },
        {
            "code": {"text": "90 % prediction interval of the bone age"},
            "valueRange": {"low": _months(low), "high": _months(high)},
        },
    ]
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "text": {"status": "generated", "div": _narrative(content)},
        "contained": [_device(content)],
        "status": "preliminary",
        "category": [_code("http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging")],
        "code": _code(LOINC, "85151-9", "XR Bone age") | {"text": "Bone age from a radiograph of the hand"},
        "issued": content.made_at.isoformat(timespec="seconds"),
        "valueQuantity": _months(content.bone_age_months),
        "note": [{"text": text} for text in (DISCLAIMER, *content.impression(), *(c.message for c in report.cautions))],
        "method": {"text": f"Ensemble of neural networks, recipe {report.recipe}"},
        "device": {"reference": "#software"},
        "component": components,
    }
    if report.chronological_age_months is not None:
        components.append(
            {"code": _code(DCM, "121033", "Subject Age"), "valueQuantity": _months(report.chronological_age_months)}
        )
    if growth is not None and growth.sd_score is not None:
        letter, word = INTERPRETATIONS[growth.classification]
        interpretation = [_code(INTERPRETATION, letter, word) | {"text": growth.classification}]
        observation["interpretation"] = interpretation
        observation["referenceRange"] = [_reference_range(content)]
        components.append(
            {
                "code": _code(DCM, "121416", "Z-Score of measurement")
                | {"text": f"SD score of the bone age about {CENTRES[growth.convention]}"},
                "valueQuantity": {"value": growth.sd_score, "unit": "SD", "system": UCUM, "code": "{SD}"},
                "interpretation": interpretation,
            }
        )
    if content.identity is not None:
        observation |= _about_patient(content)
    return observation


def _about_patient(content: ReportContent) -> dict[str, Any]:
    """Subject and date, for a report that shall name the patient."""
    who = content.identity
    about: dict[str, Any] = {}
    subject: dict[str, Any] = {"type": "Patient"}
    if who is not None and who.patient_id:
        subject["identifier"] = {"value": who.patient_id}
    if who is not None and who.shown_name:
        subject["display"] = who.shown_name
    if len(subject) > 1:
        about["subject"] = subject
    if who is not None and who.study_date is not None:
        about["effectiveDateTime"] = who.study_date.isoformat()
    return about


def _reference_range(content: ReportContent) -> dict[str, Any]:
    growth = content.growth
    if growth is None or growth.centre_months is None or growth.sd_months is None:
        raise ValueError("a reference range needs a reference")
    low, high = (growth.centre_months + steps * growth.sd_months for steps in (-2, 2))
    text = f"2 SD about {CENTRES[growth.convention]}: {growth.reference}; {growth.population}"
    return {"low": _months(low), "high": _months(high), "text": text}


def _device(content: ReportContent) -> dict[str, Any]:
    """The software with its versions, and the weights with their sha256."""
    versions = [{"type": {"text": name}, "value": version} for name, version in content.report.versions.items()]
    return {
        "resourceType": "Device",
        "id": "software",
        "deviceName": [{"name": "Bone age assessor (baa_core)", "type": "user-friendly-name"}],
        "type": {"text": "Software for research and education; not a medical device"},
        "version": versions,
    }


def _narrative(content: ReportContent) -> str:
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in (*content.impression(), DISCLAIMER))
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{said}</div>'


def _code(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _months(value: float) -> dict[str, Any]:
    return {"value": round(value, DIGITS), "unit": "months", "system": UCUM, "code": "mo"}
