"""The report as DICOM: a Secondary Capture picture and a Structured Report (TID 1500), both of the source's study.

This is the one door of highdicom, loaded when such a report is asked for. Both objects name the source image by its
UIDs, are marked as research, preliminary and unverified, and copy nothing of the patient unless an identity was given.
"""

from __future__ import annotations

import io
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import ReportNotPossible
from ..io import SourceHeader, read_source_header
from ..reference.growth import CENTRES
from ..reporting.overlays import Bytes, downsample_for_display, overlay
from ..reporting.text import years_and_months
from ..types import DISCLAIMER, ManualEdits
from .content import PRELIMINARY, SCALE, WEIGHTS, Identity, ReportContent

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER, MODEL = "baa_core contributors", "Bone age assessor (baa_core)"
SERIES = "Bone age (research, not for diagnosis)"
LONGEST_PX = 2048  # of the picture in a Secondary Capture; larger radiographs are reduced
STRIP_SHARE = 0.024  # height of a letter in the strip below the picture, of the picture's width
LEAST_LETTER_PX = 9
UNICODE = "ISO_IR 192"
DEVICE_UID = "2.25.264612158913904098973914395737428131383"  # of this software as an observer; drawn once (UUID)
PRIVATE_SCHEME = "99BAA"  # for what no public scheme has a code: the ends of the interval, and the class
SERIES_NUMBERS = {"SC": 9001, "SR": 9002}  # high, so that they follow the examination's own
PATIENT_VALUES = {  # DICOM attribute: of `Identity`
    "PatientID": "patient_id", "PatientName": "name", "PatientSex": "sex", "PatientBirthDate": "birth_date",
    "StudyDate": "study_date", "AccessionNumber": "accession_number", "StudyID": "study_id",
}  # fmt: skip
ORIENTATION = re.compile(r"[AFHLRP]{1,3}")
OPPOSITE = str.maketrans("AFHLRP", "PHFRLA")  # of the directions of PatientOrientation
LONG_STRING, SHORT_TEXT, LONG_TEXT = 64, 1024, 10240  # most characters of these DICOM values (LO, ST, LT)


def identity_in(source: bytes, name: str = "radiograph") -> Identity:
    """Who the patient is, by the header of a DICOM file; for a report that shall say so.

    Raises:
        ReportNotPossible: this is no DICOM file, or its header names nobody.
        UnreadableImage: a damaged DICOM file.
    """
    header = read_source_header(source, name)
    said = {} if header is None else header.patient
    if not said.get("PatientID") and not said.get("PatientName"):
        raise ReportNotPossible(
            f"{name} does not say who the patient is, so a report cannot. A DICOM file with a patient's name or ID is "
            "expected. Leave the identity out, or export the file with it."
        )
    return Identity(
        patient_id=said["PatientID"] or None,
        name=said["PatientName"] or None,
        birth_date=_date(said["PatientBirthDate"]),
        study_date=_date(said["StudyDate"]),
        accession_number=said["AccessionNumber"] or None,
        study_id=said["StudyID"] or None,
        sex=said["PatientSex"] or None,
    )


def secondary_capture(content: ReportContent, source: bytes) -> bytes:
    """A picture for the archive: the radiograph with hand outline and heatmap, and the answer in a strip below it.

    Args:
        content: of the report.
        source: the DICOM file that was assessed.

    Returns:
        a DICOM file (Secondary Capture Image, RGB) of the same study in a series of its own.

    Raises:
        ReportNotPossible: the source is no DICOM file, has no valid UIDs, or is of another picture.
    """
    import highdicom

    header = _source(content, source)
    picture = _captured(content)
    stated = len(header.orientation) == 2 and all(map(ORIENTATION.fullmatch, header.orientation))
    made: Dataset = highdicom.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=header.uids["StudyInstanceUID"],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBERS["SC"],
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=_version(content),
        series_description=SERIES,
        content_qualification="RESEARCH",
        specific_character_set=UNICODE,
        patient_orientation=("L", "F"),  # the library insists; what the source says follows
    )
    made.PatientOrientation = list(_oriented(header.orientation, content.report.radiograph.edits)) if stated else None
    made.Laterality = header.laterality if header.laterality in ("R", "L") else None
    _say_who(made, content.identity, content.report.file)
    made.ConversionType = "WSD"
    derived = f"Hand outline, heatmap and estimate by {MODEL}.", *content.changes, DISCLAIMER
    made.DerivationDescription = _cut(" ".join(derived), SHORT_TEXT)
    made.ImageComments = _cut(" ".join([*content.impression(), DISCLAIMER]), LONG_TEXT)
    reference = _reference(header)
    if (preserved := _locations_preserved(content)) is not None:
        reference.SpatialLocationsPreserved = preserved
    made.SourceImageSequence = [reference]
    if header.burned_in in ("YES", "NO"):  # what is written below names nobody; the radiograph itself may
        made.BurnedInAnnotation = header.burned_in
    return _file(made)


def structured_report(content: ReportContent, source: bytes) -> bytes:
    """The numbers for the archive: a Measurement Report (TID 1500) that refers to the source image.

    Bone age (LOINC 85151-9, UCUM `mo`) with mean, SD and +-2 SD of the reference as its properties, both ends of the
    90 % interval, the SD score (DCM 121416), the class, and cautions and disclaimer as comments.

    Args:
        content: of the report.
        source: the DICOM file that was assessed.

    Returns:
        a DICOM file (Comprehensive SR) of the same study in a series of its own, preliminary and unverified.

    Raises:
        ReportNotPossible: as `secondary_capture`.
    """
    import highdicom
    from highdicom import sr
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    header = _source(content, source)
    device = sr.DeviceObserverIdentifyingAttributes(DEVICE_UID, MODEL, MANUFACTURER, MODEL, _version(content))
    observer = sr.ObserverContext(codes.DCM.Device, device)
    measured = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("24724-7", "LN", "Views bone age XR"),
        imaging_measurements=[_measured(content, header)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    for sentence in (DISCLAIMER, *content.impression(), *(c.message for c in content.report.cautions)):
        comment = sr.TextContentItem(codes.DCM.Comment, sentence, sr.RelationshipTypeValues.CONTAINS)
        measured[0].ContentSequence.append(comment)
    made = sr.ComprehensiveSR(
        evidence=[_evidence(header)],
        content=measured[0],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBERS["SR"],
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=_version(content),
        series_description=SERIES,
        content_qualification="RESEARCH",
        specific_character_set=UNICODE,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = PRIVATE_SCHEME, MODEL
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    made.CodingSchemeIdentificationSequence = [scheme]
    _say_who(made, content.identity, content.report.file)
    return _file(made)


def _measured(content: ReportContent, header: SourceHeader) -> Any:
    """The group of measurements: bone age, ends of its interval, SD score, class."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    report, growth = content.report, content.growth
    month = sr.CodedConcept("mo", "UCUM", "month")
    bone_age = sr.CodedConcept("85151-9", "LN", "XR Bone age")
    low, high = content.interval_months
    measurements = [sr.Measurement(bone_age, content.bone_age_months, month, properties=_properties(content))]
    for code, meaning, months in (("BA90L", "Lower", low), ("BA90H", "Upper", high)):
        end = sr.CodedConcept(code, PRIVATE_SCHEME, f"{meaning} end of the 90 % prediction interval")
        measurements.append(sr.Measurement(bone_age, round(months, 2), month, derivation=end))
    if report.chronological_age_months is not None:
        age = round(report.chronological_age_months, 2)
        measurements.append(sr.Measurement(codes.DCM.SubjectAge, age, month))
    evaluations = []
    if growth is not None:
        if growth.sd_score is not None:
            unit = sr.CodedConcept("{SD}", "UCUM", "SD")
            measurements.append(sr.Measurement(codes.DCM.ZScoreOfMeasurement, growth.sd_score, unit))
        name = sr.CodedConcept("GROWTH", PRIVATE_SCHEME, "Bone age beside the reference")
        code = growth.classification.upper().replace(" ", "_")
        value = sr.CodedConcept(code, PRIVATE_SCHEME, growth.classification)
        evaluations.append(sr.QualitativeEvaluation(name, value))
    weights = [f"{name} {value}" for name, value in report.versions.items() if name.startswith(WEIGHTS)]
    image = sr.SourceImageForMeasurementGroup(header.uids["SOPClassUID"], header.uids["SOPInstanceUID"])
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier="Bone age"),
        finding_type=codes.DCM.Finding,
        method=sr.CodedConcept("GP", PRIVATE_SCHEME, _cut(f"Neural networks, {SCALE}", LONG_STRING)),
        algorithm_id=sr.AlgorithmIdentification(
            f"{MODEL}, recipe {report.recipe}",
            _version(content),
            parameters=[f"sex {report.prediction.sex_used}", *content.changes, *weights],
        ),
        finding_sites=[sr.FindingSite(codes.SCT.Hand, laterality=_laterality(header))],
        measurements=measurements,
        qualitative_evaluations=evaluations,
        source_images=[image],
    )


def _properties(content: ReportContent) -> Any:
    """Mean, SD and +-2 SD of the reference at this age (TID 310); None without a reference."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    growth = content.growth
    if growth is None or growth.mean_months is None or growth.sd_months is None or growth.centre_months is None:
        return None
    month = sr.CodedConcept("mo", "UCUM", "month")

    def number(name: Any, months: float) -> Any:
        has = sr.RelationshipTypeValues.HAS_PROPERTIES
        return sr.NumContentItem(name, round(months, 2), month, relationship_type=has)

    population = [
        number(codes.SCT.MeanValueOfPopulation, growth.mean_months),
        number(codes.DCM.StandardDeviationOfPopulation, growth.sd_months),
    ]
    limits = [
        number(codes.SCT.NormalRangeLowerLimit, growth.centre_months - 2 * growth.sd_months),
        number(codes.SCT.NormalRangeUpperLimit, growth.centre_months + 2 * growth.sd_months),
    ]
    words = f"{growth.population}; SD score about {CENTRES[growth.convention]}"
    return sr.MeasurementProperties(
        measurement_statistical_properties=sr.MeasurementStatisticalProperties(population, words, growth.reference),
        normal_range_properties=sr.NormalRangeProperties(
            limits, f"2 SD about {CENTRES[growth.convention]}", growth.reference
        ),
    )


def check_source(source: bytes, name: str) -> SourceHeader:
    """The header of a DICOM file to which a report can refer.

    Raises:
        ReportNotPossible: it is no DICOM file, or has no valid UIDs.
        UnreadableImage: a damaged DICOM file.
    """
    from pydicom.uid import UID

    header = read_source_header(source, name)
    if header is None:
        raise ReportNotPossible(
            f"{name} is no DICOM file, so no DICOM report can refer to it. Save the report as PDF, text, JSON or FHIR, "
            "or assess the DICOM file."
        )
    missing = [keyword for keyword, value in header.uids.items() if not value or not UID(value).is_valid]
    if missing:
        raise ReportNotPossible(
            f"{name} has no valid {', '.join(missing)}, so no DICOM report can refer to it. Export it from the archive "
            "again, or save the report as PDF, text, JSON or FHIR."
        )
    return header


def _source(content: ReportContent, source: bytes) -> SourceHeader:
    """The header of the file that was assessed.

    Raises:
        ReportNotPossible: see `secondary_capture`.
    """
    name, radiograph = content.report.file, content.report.radiograph
    shape = radiograph.shape_in_file or radiograph.shape
    header = check_source(source, name)
    if (header.rows, header.columns) != shape:
        raise ReportNotPossible(
            f"{name} has {header.columns} × {header.rows} px, but the picture that was assessed has "
            f"{shape[1]} × {shape[0]} px. Give the file that was assessed."
        )
    return header


def _oriented(orientation: tuple[str, ...], edits: ManualEdits) -> tuple[str, str]:
    """PatientOrientation (along rows, down columns) of a picture that was turned and mirrored by hand."""
    along, down = orientation
    for _ in range(edits.quarter_turns):  # clockwise: rows now run where columns ran up
        along, down = down.translate(OPPOSITE), along
    return (along.translate(OPPOSITE) if edits.mirrored else along), down


def _locations_preserved(content: ReportContent) -> str | None:
    """SpatialLocationsPreserved of an edited picture; None for one that lies as the source does, strip aside."""
    radiograph = content.report.radiograph
    if not (radiograph.edits.crop or radiograph.edits.quarter_turns or radiograph.edits.mirrored):
        return None
    whole = radiograph.edits.crop is None and max(radiograph.shape) <= LONGEST_PX
    return "REORIENTED_ONLY" if whole else "NO"


def _captured(content: ReportContent) -> Bytes:
    """(H, W, 3) uint8: the radiograph with outline and heatmap, and the strip of text below it."""
    report = content.report
    layers = [report.radiograph.pixels, report.hand.pixels]
    pixels, mask = (downsample_for_display(layer, LONGEST_PX) for layer in layers)
    heat = None if report.explanation is None else downsample_for_display(report.explanation.heat, LONGEST_PX)
    picture = overlay(pixels, inverted=report.hand.inverted, mask=mask, heat=heat)
    return np.concatenate([picture, _strip(content, picture.shape[1])])


def _strip(content: ReportContent, width: int) -> Bytes:
    """The answer in white on black, (h, width, 3); names nobody."""
    report, growth = content.report, content.growth
    low, high = content.interval_months
    said = [
        f"Bone age {years_and_months(content.bone_age_months)} "
        f"({content.bone_age_months:.1f} months), estimated for {report.prediction.sex_used} sex",
        f"90 % interval {years_and_months(low)} to {years_and_months(high)} ({low:.1f} to {high:.1f} months)",
    ]
    if growth is not None:
        said.append(growth.sentence)
    said += content.changes
    if report.cautions:
        said.append(f"Cautions: {len(report.cautions)}; see the report")
    said += [PRELIMINARY, DISCLAIMER]
    size = max(LEAST_LETTER_PX, round(width * STRIP_SHARE))
    font = ImageFont.load_default(size)
    margin = size // 2
    lines = [line for sentence in said for line in _wrapped(sentence, font, width - 2 * margin)]
    height = round(1.3 * size)
    strip = Image.new("RGB", (width, len(lines) * height + 2 * margin))
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((margin, margin + number * height), line, font=font, fill="white")
    return np.asarray(strip)


def _wrapped(sentence: str, font: Any, width: int) -> list[str]:
    """The sentence in lines that fit."""
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _reference(header: SourceHeader) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = header.uids["SOPClassUID"]
    item.ReferencedSOPInstanceUID = header.uids["SOPInstanceUID"]
    return item


def _evidence(header: SourceHeader) -> Dataset:
    """The source image as highdicom wants it: its UIDs, and nothing of the patient."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.SpecificCharacterSet = UNICODE
    for keyword, value in header.uids.items():
        setattr(item, keyword, value)
    for keyword in (*PATIENT_VALUES, "StudyTime", "ReferringPhysicianName"):
        setattr(item, keyword, None)
    return item


def _say_who(dataset: Dataset, identity: Identity | None, name: str) -> None:
    """Fill the attributes of patient and study that DICOM wants present; empty without an identity.

    Raises:
        ReportNotPossible: DICOM does not allow such a value.
    """
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    who = identity or Identity()
    for keyword, value in PATIENT_VALUES.items():
        said = getattr(who, value)
        try:
            said = f"{said:%Y%m%d}" if isinstance(said, date) else said
            validate_value(dictionary_VR(keyword), said, RAISE)
            setattr(dataset, keyword, said)
        except ValueError:
            raise ReportNotPossible(
                f"The {keyword} given with {name} is none that DICOM allows, so a DICOM report cannot hold it. Correct "
                "it, or leave the identity out."
            ) from None


def _laterality(header: SourceHeader) -> Any:
    from pydicom.sr.codedict import codes

    return {"R": codes.SCT.Right, "L": codes.SCT.Left}.get(header.laterality)


def _version(content: ReportContent) -> str:
    return content.software.get("baa_core", "unknown")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _date(value: str) -> date | None:
    try:
        return datetime.strptime(value, "%Y%m%d").date()
    except ValueError:
        return None


def _file(dataset: Any) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
