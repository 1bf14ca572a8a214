"""Secondary Capture and Structured Report, read back by pydicom and highdicom: DICOM in, the same months out."""

import io
import json
import shutil
import subprocess
import warnings
from contextlib import suppress

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from baa_core.errors import BoneAgeError, ReportNotPossible
from baa_core.export.content import collect
from baa_core.export.dicom import identity_in, secondary_capture, structured_report
from baa_core.export.fhir import fhir_observation
from baa_core.export.forms import FORMS as FORMS_BY_NAME
from baa_core.export.forms import check_forms
from baa_core.export.plain import json_report
from baa_core.io import read_radiograph, read_source_header
from baa_core.types import DISCLAIMER
from tests.unit.export.conftest import NAME, PATIENT_ID, dicom_hand
from tests.unit.export.test_plain import SECRETS

FORMS = (secondary_capture, structured_report)
PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber", "StudyID")


def read(data: bytes):
    return dcmread(io.BytesIO(data))


def texts(dataset) -> list[str]:
    """Every text content item, however deep."""
    found = [str(dataset.TextValue)] if "TextValue" in dataset else []
    return found + [text for item in dataset.get("ContentSequence", []) for text in texts(item)]


@pytest.fixture(scope="module")
def capture(content, source):
    return read(secondary_capture(content, source))


@pytest.fixture(scope="module")
def structured(content, source):
    return highdicom.sr.srread(io.BytesIO(structured_report(content, source)))


def test_the_structured_report_gives_back_the_months_of_the_json(structured, content) -> None:
    result = json_report(content)
    assert structured.SOPClassUID.name == "Comprehensive SR Storage"
    (group,) = structured.content.get_image_measurement_groups()
    bone_age = highdicom.sr.CodedConcept("85151-9", "LN", "XR Bone age")
    estimate, low, high = group.get_measurements(bone_age)
    assert {m.unit.value for m in (estimate, low, high)} == {"mo"}
    assert [m.value for m in (estimate, low, high)] == [result["bone_age_months"], *result["interval_months"]]
    assert [m.derivation.value for m in (low, high)] == ["BA90L", "BA90H"]
    (score,) = group.get_measurements(codes.DCM.ZScoreOfMeasurement)
    (age,) = group.get_measurements(codes.DCM.SubjectAge)
    assert (score.value, age.value) == (result["growth"]["sd_score"], 120)
    properties = {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in estimate[0].ContentSequence}
    assert properties["Standard deviation of population"].value == 11.73
    assert properties["Mean Value of population"].value == 125.66
    assert properties["Normal Range Upper Limit"].value == 143.46
    assert "children of Ohio, 1930s" in properties["Population Description"].value
    (found,) = group.get_qualitative_evaluations()
    assert found.value.meaning == "within"


def test_dicom_fhir_and_json_agree(structured, content, report) -> None:
    (group,) = structured.content.get_image_measurement_groups()
    estimate = group.get_measurements(highdicom.sr.CodedConcept("85151-9", "LN", "XR Bone age"))[0].value
    assert (
        estimate == fhir_observation(content)["valueQuantity"]["value"] == round(report.prediction.bone_age_months, 2)
    )


def test_both_refer_to_the_source_image_and_lie_in_its_study(capture, structured, source) -> None:
    of = read(source)
    (reference,) = capture.SourceImageSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (of.SOPClassUID, of.SOPInstanceUID)
    (group,) = structured.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_sop_instance_uid == of.SOPInstanceUID
    (study,) = structured.CurrentRequestedProcedureEvidenceSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == of.SeriesInstanceUID
    for made in (capture, structured):
        assert made.StudyInstanceUID == of.StudyInstanceUID
        assert made.SeriesInstanceUID != of.SeriesInstanceUID and made.SOPInstanceUID != of.SOPInstanceUID


def test_both_are_research_preliminary_and_say_so(capture, structured, content) -> None:
    assert capture.ContentQualification == structured.ContentQualification == "RESEARCH"
    assert (structured.PreliminaryFlag, structured.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert DISCLAIMER in capture.DerivationDescription and DISCLAIMER in capture.ImageComments
    said = texts(structured)
    assert DISCLAIMER in said and content.growth.sentence in said
    assert any("not reviewed by a physician" in text for text in said)
    assert all(any(sha in text for text in said) for sha in content.weights_sha256.values())


def test_the_capture_shows_radiograph_outline_and_heat_above_a_strip_of_words(capture, report) -> None:
    picture = capture.pixel_array.astype(int)
    height, width = report.radiograph.shape
    assert picture.shape[1:] == (width, 3) and picture.shape[0] > height
    assert capture.PhotometricInterpretation == "RGB" and capture.ConversionType == "WSD"
    above, strip = picture[:height], picture[height:]
    outline = np.abs(above - (64, 224, 255)).max(axis=2) < 8
    assert outline.sum() > 300
    assert ((above[:, :, 0] - above[:, :, 2]) > 60).mean() > 0.05  # heat
    assert (strip.max(axis=2) > 200).mean() > 0.02 and strip[0].max() < 40  # white letters on black
    assert (strip[:, -3:] < 60).all()  # no line is longer than the picture is wide


def test_the_capture_is_itself_a_picture_that_can_be_opened(content, source) -> None:
    assert read_radiograph(secondary_capture(content, source), "sc.dcm").shape[1] == content.report.radiograph.shape[1]


def test_neither_names_the_patient_unless_asked(content, source) -> None:
    for form in FORMS:
        data = form(content, source)
        assert not [secret for secret in SECRETS if secret.encode() in data], form.__name__
        assert not any(read(data)[keyword].value for keyword in PATIENT)


def test_an_identity_from_the_header_comes_out_as_it_went_in(report, source, identity) -> None:
    assert identity_in(source) == identity
    named = collect(report, identity=identity_in(source))
    for form in FORMS:
        made, of = read(form(named, source)), read(source)
        assert [made[keyword].value for keyword in PATIENT] == [of[keyword].value for keyword in PATIENT]
        assert made.PatientName == NAME and made.PatientID == PATIENT_ID


@pytest.mark.parametrize(
    ("charset", "name"), [("ISO_IR 100", "Müller^Jürgen"), ("ISO_IR 192", "Yamada^Tarou=山田^太郎")]
)
def test_names_in_other_letters_survive(report, charset: str, name: str) -> None:
    foreign = dicom_hand(SpecificCharacterSet=charset, PatientName=name)
    for form in FORMS:
        assert str(read(form(collect(report, identity=identity_in(foreign)), foreign)).PatientName) == name


def test_a_name_without_carets_makes_no_noise(report) -> None:
    plain = dicom_hand(PatientName="Mustermann")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in FORMS:
            assert read(form(collect(report, identity=identity_in(plain)), plain)).PatientName == "Mustermann"


@pytest.mark.parametrize("form", FORMS)
def test_a_validator_of_the_standard_finds_no_error(content, source, tmp_path, form) -> None:
    """David Clunie's dciodvfy (package dicom3tools), where it is installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    (tmp_path / "made.dcm").write_bytes(form(content, source))
    said = subprocess.run(["dciodvfy", tmp_path / "made.dcm"], capture_output=True, text=True, timeout=60, check=False)
    assert "Error" not in said.stderr + said.stdout


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_dicom_without_uids_is_one_clear_sentence(content, form, missing: str) -> None:
    with pytest.raises(ReportNotPossible, match=rf"^hand.dcm has no valid {missing}, so no DICOM report can refer"):
        form(content, dicom_hand(**{missing: None}))


@pytest.mark.parametrize("form", FORMS)
def test_a_source_that_is_no_dicom_file_or_another_picture_is_refused(content, form) -> None:
    with pytest.raises(ReportNotPossible, match="is no DICOM file, so no DICOM report can refer to it"):
        form(content, b"\x89PNG\r\n\x1a\n" + bytes(300))
    other = dicom_hand(Rows=50, Columns=4, PixelData=bytes(400))
    with pytest.raises(ReportNotPossible, match="Give the file that was assessed"):
        form(content, other)


def test_a_header_that_names_nobody_cannot_give_an_identity() -> None:
    with pytest.raises(ReportNotPossible, match="does not say who the patient is"):
        identity_in(dicom_hand(PatientID=None, PatientName=None), "a.dcm")
    with pytest.raises(ReportNotPossible, match="does not say who the patient is"):
        identity_in(b"\x89PNG\r\n\x1a\n" + bytes(300), "a.png")


def test_an_identity_that_dicom_does_not_allow_is_refused_in_words(report, source, identity) -> None:
    from dataclasses import replace

    wrong = collect(report, identity=replace(identity, patient_id="x" * 80))
    with pytest.raises(ReportNotPossible, match=r"The PatientID given with hand\.dcm is none that DICOM allows"):
        structured_report(wrong, source)


def test_a_file_cut_anywhere_is_refused_or_read_never_a_crash(source) -> None:
    for end in range(0, 1400, 7):
        with suppress(BoneAgeError):
            read_source_header(source[:end], "cut.dcm")
    damaged = bytearray(source[:2000])
    random = np.random.default_rng(5)
    for _ in range(150):
        bent = damaged.copy()
        bent[int(random.integers(132, 1300))] = int(random.integers(256))
        with suppress(BoneAgeError):
            read_source_header(bytes(bent), "bent.dcm")


@pytest.mark.parametrize("burned_in", ["YES", "NO", None])
def test_words_burned_into_the_source_stay_declared(content, burned_in) -> None:
    made = read(secondary_capture(content, dicom_hand(**({"BurnedInAnnotation": burned_in} if burned_in else {}))))
    assert made.get("BurnedInAnnotation") == burned_in


def test_without_an_age_there_are_no_scores_in_the_structured_report(report, source) -> None:
    from dataclasses import replace

    data = structured_report(collect(replace(report, chronological_age_months=None)), source)
    (group,) = highdicom.sr.srread(io.BytesIO(data)).content.get_image_measurement_groups()
    assert len(group.get_measurements()) == 3
    assert not group.get_qualitative_evaluations()
    assert json.dumps(group.tracking_identifier)


def test_every_form_of_the_menu_is_made_with_its_own_kind_of_file(content, source) -> None:
    begins = {
        "text": b"EXAM",
        "pdf": b"%PDF-",
        "json": b"{",
        "fhir": b"{",
        "sr": bytes(128) + b"DICM",
        "sc": bytes(128) + b"DICM",
    }
    for name, form in FORMS_BY_NAME.items():
        assert form.make(content, source).startswith(begins[name]), name
        assert form.suffix.startswith(".") and "/" in form.media_type
    assert [name for name, form in FORMS_BY_NAME.items() if form.needs_dicom] == ["sr", "sc"]
    check_forms(["text", "pdf", "json", "fhir"], b"no DICOM", "a.png")
    with pytest.raises(ReportNotPossible, match="is no DICOM file"):
        check_forms(["text", "sr"], b"no DICOM", "a.png")
